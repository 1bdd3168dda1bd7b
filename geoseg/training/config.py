"""One training run as a value: data, network, augmentation, optimisation. No heavy import."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from geoseg.errors import SettingsError
from geoseg.model.spec import ClassSpec, Conversion
from geoseg.presets import parse
from geoseg.section import Section

FIRST_TRAINING_SEED = 1000
"""Procedural seeds below this belong to the demo and to tests, and may never be trained on."""


class NetworkConfig(Section):
    """The network that is trained."""

    architecture: str = Field(default="unet", pattern="^unet$", description="unet: the padded U-Net of model/zoo")
    in_channels: int = Field(default=3, ge=1, description="bands of the input")
    classes: int = Field(default=2, ge=2, description="classes, ids 0 … classes - 1")
    init_features: int = Field(default=16, ge=1, description="channels of the U-Net's first level")
    mean: tuple[float, ...] = Field(description="per band, display units; subtracted before the network")
    std: tuple[float, ...] = Field(description="per band, display units; divided by before the network")


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
    """Random radiometry, in display units; every range is drawn uniformly, per window."""

    gain: float = Field(default=0.25, ge=0, description="log gain shared by the bands, ± this")
    band_gain: float = Field(default=0.08, ge=0, description="log gain of each band, ± this")
    gamma: float = Field(default=0.15, ge=0, description="log gamma, ± this, about the window's mean")
    offset: float = Field(default=4.0, ge=0, description="offset of each band, ± this")
    haze: float = Field(default=14.0, ge=0, description="veil added to the last band at most; less to the others")
    haze_share: float = Field(default=0.5, ge=0, le=1, description="share of the windows that get a veil")
    noise: float = Field(default=1.0, ge=0, description="standard deviation of pixel noise at most")
    blur_share: float = Field(default=0.15, ge=0, le=1, description="share of the windows that are blurred, 3 x 3")
    zoom: float = Field(default=0.0, ge=0, lt=0.5, description="log zoom, ± this")


class FitConfig(Section):
    """Optimisation."""

    seed: int = Field(default=0, ge=0, description="of weights, windows and augmentation")
    steps: int = Field(default=2000, ge=1, description="optimiser steps")
    batch: int = Field(default=8, ge=1, description="windows per step")
    window_px: int = Field(default=256, ge=16, multiple_of=16, description="height and width of a window")
    learning_rate: float = Field(
        default=2e-3, gt=0, description="peak, after a warm-up of 5 % of the steps; then cosine"
    )
    weight_decay: float = Field(default=1e-2, ge=0, description="AdamW's, on convolution weights only")
    label_smoothing: float = Field(default=0.05, ge=0, lt=1, description="of the cross-entropy")
    dice_weight: float = Field(default=0.5, ge=0, description="weight of the Dice loss beside the cross-entropy's 1")
    average_decay: float = Field(default=0.995, ge=0, lt=1, description="decay of the running average of the weights")
    bfloat16: bool = Field(default=True, description="autocast the network to bfloat16 while training")


class FoldConfig(Section):
    """Spatial folds of the training tiles, by which the recipe is chosen."""

    count: int = Field(default=4, ge=2, description="folds; fold 0 holds the southernmost tiles")
    evaluate_every: int = Field(default=250, ge=1, description="steps between two evaluations of a fold")


class BundleConfig(Section):
    """What the bundle says of itself; the keys are those of bundle.yaml."""

    version: str = Field(default="1", description="changes whenever weights or contract change")
    description: str = Field(default="", description="one line for humans")
    licence: str = Field(default="Apache-2.0", description="SPDX id of the weights' licence")
    bands: tuple[str, ...] = Field(description="common names of the bands, in order")
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
    split: str = Field(default="train", description="rows of tiles.csv that are trained on, by their column split")
    network: NetworkConfig
    clouds: CloudRule = CloudRule()
    procedural: ProceduralConfig = ProceduralConfig()
    augment: AugmentConfig = AugmentConfig()
    fit: FitConfig = FitConfig()
    folds: FoldConfig = FoldConfig()

    @model_validator(mode="after")
    def _normalisation_fits(self) -> Self:
        bands = self.network.in_channels
        if not len(self.network.mean) == len(self.network.std) == bands:
            raise ValueError(f"network.mean and network.std need {bands} values each, one per band")
        if len(self.bundle.bands) != bands:
            raise ValueError(f"bundle.bands names {len(self.bundle.bands)} bands; network.in_channels is {bands}")
        if tuple(one.id for one in self.bundle.legend) != tuple(range(self.network.classes)):
            raise ValueError(f"bundle.legend needs the ids 0 … {self.network.classes - 1}, in order")
        if self.procedural.seeds and not self.bundle.conversions:
            raise ValueError("procedural.seeds need a first bundle.conversions entry to become display images")
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
