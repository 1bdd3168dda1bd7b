"""A training run from what a user has, imagery, labels and a bundle or an architecture, as the YAML it stands for."""

import colorsys
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made
from pathlib import Path
from typing import Any, Final

from geoseg.core.legend import LandClass
from geoseg.core.patch import MAX_CLASSES
from geoseg.errors import InputError, ProductError, SettingsError
from geoseg.model.bundle import ModelBundle, infer_level, load_bundle
from geoseg.model.registry import find_architecture
from geoseg.pipeline import Level
from geoseg.presets import dump, override
from geoseg.raster.classmap import read_classmap
from geoseg.raster.safety import find_local_path, raster_env
from geoseg.raster.scene import Scene
from geoseg.training.config import TrainConfig
from geoseg.training.config_data import LabelledSceneConfig
from geoseg.training.encoder import encoder_prefix
from geoseg.training.history import write_text
from geoseg.workflows.labelled_scenes import is_raster, label_values, open_ground, open_training_scene
from geoseg.workflows.plan import ground_metres, stated_encoding

FILE: Final = "train.yaml"
"""Within the bundle's folder: the run that an order stands for."""
_BLOCKS: Final = 24
"""Blocks that the scenes are cut into at least, where they are large enough."""
_BLOCK_PX: Final = (48, 1024)
_WINDOW_PX: Final = 256
_HELD_SHARE: Final = 0.2
_GSD_RANGE: Final = 1.25
_AMOUNTS: Final[Mapping[str, Any]] = {"units": "std", "offset": 0.25, "haze": 0.9, "noise": 0.07, "zoom": 0.1}
"""The shipped recipe's amounts of display values, in standard deviations of its bands (about 15)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a user asks for."""

    scenes: tuple[Path, ...]
    labels: tuple[Path, ...]
    """One for each scene, or one for all."""
    start: str | None = None
    """A bundle by name or folder, whose network and input are taken over; its head is made new, its encoder kept."""
    model: str = "unet:resnet18"
    """An architecture, where there is no bundle to start from."""
    field: str | None = None
    layer: str | None = None
    bands: Mapping[str, str] = made(default_factory=dict)
    level: Level | None = None
    ignore: tuple[str, ...] = ()
    """Values without a class, besides 255."""
    changes: tuple[str, ...] = ()
    """KEY=VALUE of the run's YAML."""


def make_recipe(order: Order, out: Path) -> TrainConfig:
    """The run of an order, written to `out`/train.yaml; bands, units, classes and statistics are looked up.

    Raises:
        InputError: scenes, labels and bundle that do not fit each other.
        ProductError: `out` holds another run.
    """
    with raster_env():
        config = _look_up(order, name=_name(out))
    _write(config, out / FILE)
    return config


def _look_up(order: Order, *, name: str) -> TrainConfig:
    """The run of an order; everything that does not fit is refused."""
    given = _label(order)
    scenes = [open_training_scene(one) for one in given]
    bundle = load_bundle(order.start) if order.start is not None else None
    values = sorted({value for one in given for value in label_values(one)}, key=_in_order)
    if not 2 <= len(values) <= MAX_CLASSES:
        raise InputError(
            f"the labels hold {len(values)} classes ({', '.join(values[:5])}): 2 to {MAX_CLASSES} are needed"
        )
    remap = {value: number for number, value in enumerate(values)}
    content = _frame(order, scenes, bundle=bundle, classes=len(values), name=name)
    content["bundle"]["legend"] = _legend(given[0], values)
    content["data"]["scenes"] = [one.model_copy(update={"remap": remap}).model_dump(mode="json") for one in given]
    config = TrainConfig.model_validate(content)
    config = override(config if bundle else _with_statistics(config), order.changes, flag="--set")
    open_ground(config)  # refuses what does not fit before anything is written
    return config


def _label(order: Order) -> list[LabelledSceneConfig]:
    """Each scene with its labels."""
    if len(order.labels) not in (1, len(order.scenes)):
        raise SettingsError(
            f"{len(order.scenes)} scenes and {len(order.labels)} files of labels: give one for all, or one for each"
        )
    labels = order.labels * (len(order.scenes) if len(order.labels) == 1 else 1)
    return [
        LabelledSceneConfig(
            scene=find_local_path(str(scene)),
            labels=find_local_path(str(its)),
            bands=dict(order.bands),
            level=order.level,
            field=None if is_raster(its) else order.field,
            layer=None if is_raster(its) else order.layer,
            ignore=tuple(dict.fromkeys((*order.ignore, "255"))),
        )
        for scene, its in zip(order.scenes, labels, strict=True)
    ]


def _frame(
    order: Order, scenes: Sequence[Scene], *, bundle: ModelBundle | None, classes: int, name: str
) -> dict[str, Any]:
    """All of the run but classes and statistics."""
    contract = _scene_contract(scenes[0]) if bundle is None else _bundle_contract(bundle, scenes)
    architecture = order.model if bundle is None else bundle.spec.architecture
    bands = len(contract["bands"])
    divisor = find_architecture(architecture).divisor
    gsd = [ground_metres(scene) for scene in scenes]
    side = _block_px(scenes)
    shortest = min(min(scene.grid.shape) for scene in scenes) // divisor * divisor
    network = {"architecture": architecture, "in_channels": bands, "classes": classes}
    network |= {"mean": [0.0] * bands, "std": [1.0] * bands}  # for now
    if bundle is not None:
        network |= _start(bundle)
    return {
        "name": name,
        "bundle": contract
        | {
            "description": f"{classes} classes as in {order.labels[0].name}",
            "gsd_m": _rounded(math.exp(sum(math.log(one) for one in gsd) / len(gsd))),
            "gsd_min_m": _rounded(min(gsd) / _GSD_RANGE),
            "gsd_max_m": _rounded(max(gsd) * _GSD_RANGE),
            "data_description": f"labels of {_named(order.labels)} on {_named(order.scenes)}",
            "licence_status": "not stated",
        },
        "data": {
            "blocks": {"side_px": side, "buffer_px": min(64, side // 4), "held_share": _HELD_SHARE},
            "sampling": {"evenness": 1.0},
        },
        "losses": [{"kind": "cross_entropy"}, {"kind": "dice", "weight": 0.5}],
        "optimiser": {"learning_rate": 0.005},
        "network": network,
        "augment": dict(_AMOUNTS),
        "fit": {"steps": 500, "window_px": max(divisor, min(_WINDOW_PX // divisor * divisor, shortest))},
        "evaluation": {"every": 100},
    }


def _scene_contract(scene: Scene) -> dict[str, Any]:
    """Input as the first scene is: its bands, level and encoding."""
    names = [band.name for band in scene.bands if not band.palette]
    chosen = scene.select(names)
    level, _ = infer_level(chosen.level, dtype=chosen.dtype, band_count=len(names))
    scale, offset = (stated_encoding(chosen) if level is not None else None) or (1.0, 0.0)
    return {
        "bands": names,
        "level": level or "any",
        "dtype": chosen.dtype,
        "scale": [scale] * len(names),
        "offset": [offset] * len(names),
        "licence": "NOASSERTION",
    }


def _bundle_contract(bundle: ModelBundle, scenes: Sequence[Scene]) -> dict[str, Any]:
    """Input as the bundle to start from takes it; its conversions hold for other sensors only where they are used."""
    spec = bundle.spec
    is_converted = any(spec.dtype not in ("any", scene.dtype) for scene in scenes)
    return {
        "bands": list(spec.band_names),
        "level": spec.level,
        "dtype": spec.dtype,
        "scale": [band.scale for band in spec.bands],
        "offset": [band.offset for band in spec.bands],
        "conversions": [one.model_dump(mode="json") for one in spec.conversions] if is_converted else [],
        "licence": spec.licence,
        "attribution": spec.training_data.attribution,
    }


def _start(bundle: ModelBundle) -> dict[str, Any]:
    """Its network and weights, with a new head and the encoder as it is."""
    spec = bundle.spec
    options = {**spec.options, "encoder_weights": None} if ":" in spec.architecture else spec.options
    frozen = encoder_prefix(spec.architecture, options=options, in_channels=spec.in_channels)
    return {
        # an encoder that is kept sees best what it saw before, not what was standardised anew
        "mean": [band.mean for band in spec.bands],
        "std": [band.std for band in spec.bands],
        "options": dict(options),
        "weights": {"file": str(bundle.weights), "sha256": spec.weights_sha256, "head": "new"},
        "freeze": [frozen] if frozen else [],
    }


def _with_statistics(config: TrainConfig) -> TrainConfig:
    """With mean and standard deviation of the pixels that will be trained on: a network expects 0 and 1."""
    moments = open_ground(config).ground.measure()
    if moments.count < 2:
        raise InputError("the scenes have no observed pixel that could be trained on")
    mean = tuple(_rounded(one) for one in moments.mean)
    std = tuple(_rounded(one) or 1.0 for one in moments.std)
    return config.model_copy(update={"network": config.network.model_copy(update={"mean": mean, "std": std})})


def _legend(one: LabelledSceneConfig, values: Sequence[str]) -> list[dict[str, Any]]:
    """A class for each value: as the labels call it, with colours a golden angle apart."""
    known: dict[str, LandClass] = {}
    if is_raster(one.labels):
        try:
            found = read_classmap(one.labels)
            known = {str(its.id): its for its in found.legend}
        except (InputError, ValueError):
            known = {}
    legend = []
    for number, value in enumerate(values):
        spread = colorsys.hsv_to_rgb((0.33 + number * 0.618034) % 1.0, 0.55, 0.85)
        red, green, blue = (round(255 * part) for part in spread)
        name = known[value].name if value in known else f"{one.field or 'class'} {value}" if value.isdigit() else value
        color = known[value].color if value in known else f"#{red:02x}{green:02x}{blue:02x}"
        legend.append({"id": number, "name": name, "color": color})
    return legend


def _write(config: TrainConfig, file: Path) -> None:
    text = "# geoseg train FILE OUT repeats this run\n" + dump(config)
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        raise ProductError(f"{file} is of another run: choose another folder, or delete it")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)


def _block_px(scenes: Sequence[Scene]) -> int:
    """A side that gives enough blocks to hold some of each class out, in whole multiples of 16."""
    pixels = sum(math.prod(int(one) for one in scene.grid.shape) for scene in scenes)
    low, high = _BLOCK_PX
    return min(max(int(math.sqrt(pixels / _BLOCKS)) // 16 * 16, low), high)


def _in_order(value: str) -> tuple[int, int, str]:
    return (0, int(value), value) if value.isdigit() else (1, 0, value)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _named(paths: Sequence[Path]) -> str:
    names = list(dict.fromkeys(path.name for path in paths))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _name(out: Path) -> str:
    """A bundle's name from its folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", out.resolve().name).strip("-._") or "trained"
