"""What a bundle is evaluated on: a folder of labelled tiles, or a scene with labels of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geoseg.core.legend import Legend
from geoseg.core.patch_source import IGNORE
from geoseg.errors import InputError
from geoseg.model.bundle import ModelBundle
from geoseg.raster.labelled import BlockStore, LabelledRaster
from geoseg.raster.pairs import list_pairs
from geoseg.raster.scene import Scene
from geoseg.training.config_data import LabelledSceneConfig
from geoseg.workflows.labelled_scenes import label_values, open_labels
from geoseg.workflows.plan import ScenePlan
from geoseg.workflows.product import file_sha256

TILES: Final = "tiles.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOptions:
    """Where the labels of a scene are, and what their values mean."""

    file: Path
    """A raster of class values, or polygons."""
    field: str | None = None
    layer: str | None = None
    remap: tuple[tuple[str, int], ...] = ()
    """(value, class id), others are ignored; empty: values are names of classes, or their ids."""
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """An image that is evaluated on."""

    name: str
    scene: str
    """A file, a folder of bands or a list of files."""
    labels: LabelOptions | None
    """None: there are none, only seams are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedSet:
    """The images of an evaluation."""

    images: tuple[Evaluated, ...]
    split: str | None
    """Of tiles.csv; None: one scene."""


def list_evaluated(source: str, *, split: str, labels: LabelOptions | None) -> EvaluatedSet:
    """The images of a folder with tiles.csv, or the one scene.

    Raises:
        InputError: no such split, or labels for a folder of tiles, which has its own.
    """
    folder = Path(source)
    if not (folder / TILES).is_file():
        return EvaluatedSet(images=(Evaluated(name=folder.name, scene=source, labels=labels),), split=None)
    if labels is not None:
        raise InputError(f"{folder / TILES} names the labels of its tiles: leave --labels {labels.file} out")
    pairs = list_pairs(folder, split=split)
    images = (Evaluated(name=one.name, scene=str(one.image), labels=LabelOptions(file=one.mask)) for one in pairs)
    return EvaluatedSet(images=tuple(images), split=split)


def open_evaluated(
    one: Evaluated, plan: ScenePlan, *, in_set: bool, store: BlockStore
) -> tuple[LabelledRaster, tuple[str, ...]]:
    """The labels of an image on the grid of its scene, as ids of the bundle's legend, and what is to be told of them.

    Args:
        one: the image.
        plan: how it is mapped.
        in_set: of tiles.csv: values are class ids.
        store: of all images.

    Raises:
        InputError: there are none, or they cannot be read as classes of the bundle.
    """
    legend = plan.bundle.legend
    if one.labels is None:
        raise InputError(f"{one.name} has no labels: name classes with --labels FILE, or ask for --seams alone")
    unknown = sorted({class_id for _, class_id in one.labels.remap} - set(legend.ids))
    if unknown:
        known = ", ".join(map(str, legend.ids))
        raise InputError(f"--remap names class {unknown[0]}; bundle {plan.bundle.spec.name!r} has {known}")
    config = LabelledSceneConfig(
        scene=Path(one.scene),
        labels=one.labels.file,
        bands=plan.pipeline.scene.bands,
        field=one.labels.field,
        layer=one.labels.layer,
        remap=dict(one.labels.remap),
        ignore=one.labels.ignore,
    )
    if not config.remap:
        remap = {} if in_set else _by_name(config, legend)
        config = config.model_copy(update={"remap": remap or _by_id(legend)})
    source, notes = open_labels(config, plan.scene, classes=len(legend))
    return LabelledRaster(plan.scene, source, name=one.name, store=store), notes


def find_trained(bundle: ModelBundle, scenes: Sequence[Scene]) -> tuple[str, ...]:
    """Names of the scenes of which a file is among those that the bundle was trained on, by their sha256."""
    known = set(bundle.spec.training_data.inputs.values())
    if not known:
        return ()
    return tuple(one.name for one in scenes if any(file_sha256(Path(file.uri)) in known for file in one.files))


def _by_name(config: LabelledSceneConfig, legend: Legend) -> dict[str, int]:
    """Class ids by name where every value in the labels is the name of a class; else nothing."""
    values, ids = [one for one in label_values(config) if one != str(IGNORE)], {one.name: one.id for one in legend}
    return {value: ids[value] for value in values} if values and set(values) <= set(ids) else {}


def _by_id(legend: Legend) -> dict[str, int]:
    """Nothing where ids count from 0, so that a value that is none is refused."""
    return {} if legend.ids == tuple(range(len(legend))) else {str(one): one for one in legend.ids}
