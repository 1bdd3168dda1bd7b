"""One training run as a value: data, network, losses, augmentation, optimisation. No heavy import."""

from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, JsonValue, model_validator

from geoseg.errors import SettingsError
from geoseg.model.spec import ClassSpec, Conversion, Dtype
from geoseg.presets import parse
from geoseg.section import Section
from geoseg.training.config_data import DataConfig
from geoseg.training.config_loss import CrossEntropyPart, LossPart

MetricName: TypeAlias = Literal["accuracy", "mean_accuracy", "mean_iou", "weighted_iou", "mean_dice", "kappa"]
"""Figures of `metrics.Confusion` that training may go by; more is better in all of them."""

FIRST_TRAINING_SEED = 1000
"""Procedural seeds below this belong to the demo and to tests, and may never be trained on."""


class WeightsConfig(Section):
    """Weights to start from, and how they are fitted to other bands or classes."""

    file: Path = Field(description="state dict: .safetensors, .pt, or the best of another run")
    part: Literal["network", "encoder"] = Field(
        default="network", description="what the file holds: the network, or its encoder alone, as torchvision has it"
    )
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$", description="of the file; null: not checked")
    head: Literal["same", "new"] = Field(default="same", description="new: classes are not those of the file")
    rgb: tuple[int, int, int] | None = Field(
        default=None, description="positions of red, green, blue among the bands, from 0, for a file of 3 bands"
    )


class NetworkConfig(Section):
    """The network that is trained."""

    architecture: str = Field(default="unet", description="a name of the registry: unet, fcn8s:vgg16, unet:resnet34")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="arguments of the architecture")
    weights: WeightsConfig | None = Field(default=None, description="to start from; none: random weights")
    freeze: tuple[str, ...] = Field(default=(), description="parameters whose name begins so stay as they are: encoder")
    in_channels: int = Field(default=3, ge=1, description="bands of the input")
    classes: int = Field(default=2, ge=2, le=200, description="classes, ids 0 … classes - 1")
    mean: tuple[float, ...] = Field(description="per band, physical units; subtracted before the network")
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(description="per band, physical units; divided by")


class CloudRule(Section):
    """Bright grey pixels labelled as a class in named images become ignored: clouds that were labelled land."""

    images: tuple[str, ...] = Field(default=(), description="names of the images the rule is applied to")
    label: int = Field(default=0, description="class id that clouds were given")
    blue_at_least: int = Field(default=64, description="display value of the last band from which a pixel is bright")
    red_over_blue_at_most: float = Field(default=1.05, description="grey, not bare soil: first band over last band")
    grow_px: int = Field(default=6, ge=0, description="pixels the bright core is grown by, within the same label")


class ProceduralConfig(Section):
    """Procedural scenes mixed in with the labelled tiles."""

    seeds: tuple[int, ...] = Field(default=(), description=f"all at least {FIRST_TRAINING_SEED}")
    size_px: int = Field(default=512, ge=512, description="height and width of each scene")
    share: float = Field(default=0.25, ge=0, le=1, description="share of the training windows cut from them")

    @model_validator(mode="after")
    def _seeds_are_for_training(self) -> Self:
        low = [seed for seed in self.seeds if seed < FIRST_TRAINING_SEED]
        if low:
            raise ValueError(f"procedural seeds {low} are below {FIRST_TRAINING_SEED}: those are kept for the demo")
        return self


class AugmentConfig(Section):
    """Random radiometry and geometry; every range is drawn uniformly, per window. Symmetries are always drawn."""

    units: Literal["display", "std"] = Field(
        default="display", description="of offset, haze and noise: display values 0-255, or standard deviations"
    )
    gain: float = Field(default=0.25, ge=0, description="log gain shared by the bands, ± this")
    band_gain: float = Field(default=0.08, ge=0, description="log gain of each band, ± this")
    gamma: float = Field(default=0.15, ge=0, description="log gamma, ± this, about the window's mean")
    offset: float = Field(default=4.0, ge=0, description="offset of each band, ± this")
    haze: float = Field(default=14.0, ge=0, description="veil added to the last band at most; less to the others")
    haze_share: float = Field(default=0.5, ge=0, le=1, description="share of the windows that get a veil")
    noise: float = Field(default=1.0, ge=0, description="standard deviation of pixel noise at most")
    blur_share: float = Field(default=0.15, ge=0, le=1, description="share of the windows that are blurred, 3 x 3")
    zoom: float = Field(default=0.0, ge=0, lt=0.5, description="log zoom, ± this")
    rotate_deg: float = Field(default=0.0, ge=0, le=45, description="of scenes: rotation, ± this, besides symmetries")
    drop_share: float = Field(default=0.0, ge=0, le=1, description="share of the windows that lose a band, if several")


class OptimiserConfig(Section):
    """How weights follow gradients."""

    kind: Literal["adamw", "adam", "sgd"] = Field(default="adamw", description="adam decays through the gradient")
    learning_rate: float = Field(default=2e-3, gt=0, description="at the top of the schedule")
    weight_decay: float = Field(default=1e-2, ge=0, description="of weights of two and more axes only")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd (Nesterov); beta 1 of the others")
    clip_norm: float | None = Field(default=5.0, gt=0, description="largest norm of a gradient; null: any")


class ScheduleConfig(Section):
    """The learning rate over the steps, after a linear warm-up."""

    kind: Literal["cosine", "one_cycle", "plateau", "constant"] = Field(
        default="cosine",
        description="one_cycle: 4 % to the top in 30 % of the steps, then to almost nothing, in cosines, no warm-up; "
        "plateau: multiplied by factor when the evaluation metric has not risen for patience evaluations",
    )
    warm_up: float = Field(default=0.05, ge=0, lt=1, description="share of the steps the rate rises over")
    factor: float = Field(default=0.5, gt=0, lt=1, description="of plateau")
    patience: int = Field(default=3, ge=1, description="evaluations, of plateau")


class FitConfig(Section):
    """Steps, windows and weights."""

    seed: int = Field(default=0, ge=0, description="of weights, windows and augmentation")
    steps: int = Field(default=2000, ge=1, description="optimiser steps")
    batch: int = Field(default=8, ge=1, description="windows that go through the network at once, on one device")
    accumulate: int = Field(default=1, ge=1, description="such batches per step, over all devices together")
    window_px: int = Field(default=256, ge=16, description="height and width of a window")
    aux_weight: float = Field(default=0.4, ge=0, description="weight of the loss of each auxiliary output")
    average_decay: float = Field(default=0.995, ge=0, lt=1, description="decay of the running average of the weights")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="bfloat16", description="what the network computes in; losses are float32; float16 on CUDA only"
    )
    checkpoint_every: int = Field(default=250, ge=1, description="steps between two checkpoints")


class EvaluationConfig(Section):
    """What the held-out images are used for; without any it says nothing."""

    every: int = Field(default=250, ge=1, description="steps between two evaluations")
    metric: MetricName = Field(default="mean_iou", description="what is best")
    keep: Literal["best", "last"] = Field(default="best", description="weights that are packed")
    patience: int | None = Field(
        default=None, ge=1, description="evaluations without a better metric after which training stops; null: never"
    )


class FoldConfig(Section):
    """Spatial folds of the training tiles, by which the recipe is chosen."""

    count: int = Field(default=4, ge=2, description="folds; fold 0 holds the southernmost tiles")


class BundleConfig(Section):
    """What the bundle says of itself; the keys are those of bundle.yaml."""

    version: str = Field(default="1", description="changes whenever weights or contract change")
    description: str = Field(default="", description="one line for humans")
    licence: str = Field(default="Apache-2.0", description="SPDX id of the weights' licence")
    bands: tuple[str, ...] = Field(description="common names of the bands, in order")
    level: Literal["toa", "surface", "display8", "any"] = Field(default="display8", description="what raw values mean")
    dtype: Dtype | Literal["any"] = Field(default="uint8", description="dtype of the raw values")
    scale: tuple[float, ...] = Field(default=(), description="physical = raw * scale + offset, per band; empty: 1")
    offset: tuple[float, ...] = Field(default=(), description="per band; empty: 0")
    gsd_m: float = Field(default=10.0, gt=0, description="ground metres per pixel")
    gsd_min_m: float = Field(default=8.0, gt=0, description="finest ground pixel accepted, metres")
    gsd_max_m: float = Field(default=12.5, gt=0, description="coarsest ground pixel accepted, metres")
    legend: tuple[ClassSpec, ...] = Field(min_length=2, description="classes, ids 0 … classes - 1")
    conversions: tuple[Conversion, ...] = Field(
        default=(), description="fixed conversions; the first is what procedural scenes go through"
    )
    forest_definition: str | None = Field(default=None, description="what forest means here")
    data_description: str = Field(default="", description="what was learnt from")
    attribution: str = Field(default="", description="whom to name")
    licence_status: str = Field(default="", description="what is known of the data's licence")


class TrainConfig(Section):
    """Everything one training run needs besides the folder of the data."""

    name: str = Field(description="the bundle's name")
    bundle: BundleConfig
    data: DataConfig = DataConfig()
    network: NetworkConfig
    losses: tuple[LossPart, ...] = Field(default=(CrossEntropyPart(),), min_length=1, description="summed")
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clouds: CloudRule = CloudRule()
    procedural: ProceduralConfig = ProceduralConfig()
    augment: AugmentConfig = AugmentConfig()
    fit: FitConfig = FitConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    folds: FoldConfig = FoldConfig()

    @model_validator(mode="after")
    def _bands_and_classes_fit(self) -> Self:
        bands, classes = self.network.in_channels, self.network.classes
        if not len(self.network.mean) == len(self.network.std) == bands:
            raise ValueError(f"network.mean and network.std need {bands} values each, one per band")
        for key in ("bands", "scale", "offset"):
            count = len(getattr(self.bundle, key))
            if count != bands and (count or key == "bands"):
                raise ValueError(f"bundle.{key} has {count} values; network.in_channels is {bands}")
        self.data.check_classes(classes)
        if tuple(one.id for one in self.bundle.legend) != tuple(range(classes)):
            raise ValueError(f"bundle.legend needs the ids 0 … {classes - 1}, in order")
        if self.procedural.seeds and not self.bundle.conversions:
            raise ValueError("procedural.seeds need a first bundle.conversions entry to become display images")
        if self.data.scenes and (self.procedural.seeds or self.clouds.images):
            raise ValueError("procedural.seeds and clouds.images go with tiles.csv: leave them out, or data.scenes")
        return self

    @model_validator(mode="after")
    def _losses_fit(self) -> Self:
        kinds = [part.kind for part in self.losses]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"losses names one kind twice: {', '.join(kinds)}")
        for part in self.losses:
            count = len(getattr(part, "class_weights", ()))
            if count not in (0, self.network.classes):
                raise ValueError(
                    f"{part.kind}.class_weights has {count} values; there are {self.network.classes} classes"
                )
        if self.schedule.kind == "plateau" and not self.data.is_held:
            raise ValueError("schedule plateau follows the evaluation metric: name a data.held_split or held_share")
        return self


def load_train_config(path: Path) -> TrainConfig:
    """The training run a YAML file describes.

    Raises:
        SettingsError: the file cannot be read, or a key or value in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}; give a YAML file of a training run") from error
    return parse(TrainConfig, text, place=str(path))
