"""What a bundle is evaluated on: a folder of labelled tiles, or a scene with labels of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoseg.core.patch_source import IGNORE
from geoseg.errors import InputError
from geoseg.model.bundle import ModelBundle
from geoseg.raster.labelled import LabelledRaster
from geoseg.raster.labels import open_label_raster
from geoseg.raster.pairs import list_pairs
from geoseg.workflows.plan import ScenePlan
from geoseg.workflows.product import file_sha256

TILES = "tiles.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """An image that is evaluated on."""

    name: str
    scene: str
    """A file, a folder of bands or a list of files."""
    labels: Path | None
    """A raster of class values; None: there are none, only seams are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelValues:
    """What the values of a label raster mean."""

    remap: Mapping[int, int] = field(default_factory=dict)
    """Value -> class id, others are ignored; empty: values are class ids."""
    ignore: frozenset[int] = frozenset()


def list_evaluated(source: str, *, split: str, labels: Path | None) -> tuple[Evaluated, ...]:
    """The images of a folder with tiles.csv, or the one scene.

    Raises:
        InputError: no such split, or labels for a folder of tiles, which has its own.
    """
    folder = Path(source)
    if not (folder / TILES).is_file():
        return (Evaluated(name=folder.name, scene=source, labels=labels),)
    if labels is not None:
        raise InputError(f"{folder / TILES} names the labels of its tiles: leave --labels {labels} out")
    pairs = list_pairs(folder, split=split)
    return tuple(Evaluated(name=pair.name, scene=str(pair.image), labels=pair.mask) for pair in pairs)


def open_labels(one: Evaluated, plan: ScenePlan, values: LabelValues) -> LabelledRaster:
    """The labels of an image on the grid of its scene.

    Raises:
        InputError: there are none, or they cannot be read as classes of the bundle.
    """
    if one.labels is None:
        raise InputError(f"{one.name} has no labels: name a raster of classes with --labels, or ask for --seams alone")
    ids = plan.bundle.legend.ids
    unknown = sorted(set(values.remap.values()) - set(ids))
    if unknown:
        raise InputError(
            f"--remap names class {unknown[0]}; bundle {plan.bundle.spec.name!r} has {', '.join(map(str, ids))}"
        )
    remap = values.remap
    if not remap and ids != tuple(range(len(ids))):
        remap = {value: value for value in ids}
    source = open_label_raster(
        one.labels, plan.scene.grid, remap=remap, ignore=values.ignore | {IGNORE}, classes=len(ids)
    )
    return LabelledRaster(plan.scene, source, name=one.name)


def find_trained(bundle: ModelBundle, plans: Sequence[ScenePlan]) -> tuple[str, ...]:
    """Names of the scenes of which a file is among those that the bundle was trained on, by their sha256."""
    known = set(bundle.spec.training_data.inputs.values())
    if not known:
        return ()
    return tuple(plan.scene.name for plan in plans if any(_digest(file) in known for file in plan.scene.files))


def _digest(file: Any) -> str:
    return file_sha256(Path(file.uri))
