"""What a training run learns from, opened: labelled tiles in memory, or scenes that are read by window."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from geoseg.core.patch_source import LabelledImage
from geoseg.errors import SettingsError
from geoseg.raster.pairs import Pair, file_digests, list_pairs, read_pair
from geoseg.training.blocks import Block, Part, Split
from geoseg.training.clouds import ignore_clouds
from geoseg.training.config import TrainConfig
from geoseg.training.dataset import Mixture, MixtureSupply, Supply, procedural_images
from geoseg.training.folds import spatial_folds
from geoseg.training.ground import Ground, Views, held_views, train_views
from geoseg.training.history import write_text
from geoseg.training.sampling import SceneSupply
from geoseg.workflows.labelled_scenes import open_ground
from geoseg.workflows.overlaps import find_shadows

BLOCKS: Final = "blocks.csv"
"""Within the run's folder: which blocks of which scenes were trained on, held out, or kept for a test."""
_VIEW_PX: Final = 1024
_VIEWS: Final = 64
"""Images of scenes on which the agreement with training labels is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a run learns from, and what says so."""

    supply: Supply
    images: Sequence[LabelledImage]
    held: Sequence[LabelledImage]
    side_px: int
    """Of the smallest of the images."""
    digests: Mapping[str, str]
    """Training file -> sha256."""
    held_digests: Mapping[str, str]
    notes: tuple[str, ...] = ()
    split: Mapping[str, str] | None = None
    """Block of a scene -> train, held or test."""


def read_material(config: TrainConfig, data: Path | None) -> Material:
    """Opens the config's scenes, or reads its tiles in `data`.

    Raises:
        InputError: data that is not there, or not what training reads.
        SettingsError: no data is named, twice the same, or splits that do not fit.
    """
    if config.data.scenes:
        if data is not None:
            raise SettingsError(f"the run names scenes, so {data} would not be read: leave --data out")
        return _open_scenes(config)
    if data is None:
        raise SettingsError("the run names no scenes: give the folder of tiles.csv with --data, or data.scenes")
    return _read_tiles(config, data)


def _open_scenes(config: TrainConfig) -> Material:
    found = open_ground(config)
    images = train_views(found.ground, config, side_px=_VIEW_PX, most=_VIEWS)
    held = held_views(found.ground, config, part="held")
    return Material(
        supply=SceneSupply(ground=found.ground, config=config),
        images=images,
        held=held,
        side_px=min(min(view.window.shape) for view in images.views),
        digests=found.digests(),
        held_digests={},
        notes=(*found.notes, _describe_split(held, found.ground.split.classes("train").tolist())),
        split=_split_rows(found.ground),
    )


def _describe_split(held: Views, counts: list[int]) -> str:
    """One line."""
    trained = ", ".join(str(one) for one in counts)
    kept = ", ".join(str(one) for one in held.ground.split.classes("held").tolist())
    return f"labelled pixels by class: {trained} in blocks to train on, {kept} in {len(held)} blocks held out"


def _read_tiles(config: TrainConfig, data: Path) -> Material:
    pairs = list_pairs(data, split=config.data.split)
    held = list_pairs(data, split=config.data.held_split) if config.data.held_split is not None else []
    both = {pair.name for pair in pairs} & {pair.name for pair in held}
    if both:
        raise SettingsError(f"{data}: {min(both)} is trained on and held out: name another data.held_split")
    images = _read_images(pairs, config=config)
    return Material(
        supply=MixtureSupply(mixture=_mix(config, images), config=config),
        images=images,
        held=_read_images(held, config=config),
        side_px=min(min(image.labels.shape) for image in images),
        digests=file_digests(pairs),
        held_digests=file_digests(held),
    )


def read_folds(config: TrainConfig, data: Path | None) -> Iterator[tuple[Supply, Sequence[LabelledImage]]]:
    """For each spatial fold what is trained on and what is held out, of what `config` trains on.

    Raises:
        InputError, SettingsError: as `read_material`.
    """
    if config.data.scenes:
        yield from _scene_folds(config)
        return
    if data is None:
        raise SettingsError("the run names no scenes: give the folder of tiles.csv with --data, or data.scenes")
    pairs = list_pairs(data, split=config.data.split)
    images = {image.name: image for image in _read_images(pairs, config=config)}
    positions = {pair.name: (pair.longitude_deg, pair.latitude_deg) for pair in pairs}
    for held in spatial_folds(positions, count=config.folds.count):
        mixture = _mix(config, [image for name, image in images.items() if name not in held])
        yield MixtureSupply(mixture=mixture, config=config), [images[name] for name in held]


def _scene_folds(config: TrainConfig) -> Iterator[tuple[Supply, Sequence[LabelledImage]]]:
    """Folds of the training blocks, or of whole scenes; blocks that are held out or for tests stay out of sight."""
    found = open_ground(config)
    ground, is_whole = found.ground, config.data.blocks.by == "scene"
    names = {
        block: f"{block.scene}" if is_whole else f"{block.scene} {block.window}" for block, _ in ground.split.parts
    }
    trained = [block for block in ground.split.blocks("train") if block.labelled]
    positions = {names[block]: found.position(block) for block in trained}
    for held in spatial_folds(positions, count=config.folds.count):
        parts: list[tuple[Block, Part]] = [
            (block, "test" if part != "train" else "held" if names[block] in held else "train")
            for block, part in ground.split.parts
        ]
        split = Split(parts=tuple(parts), buffer_px=ground.split.buffer_px)
        fold = replace(ground, split=replace(split, shadows=find_shadows(found.grids, split)))
        yield SceneSupply(ground=fold, config=config), held_views(fold, config, part="held")


def write_split(folder: Path, split: Mapping[str, str]) -> None:
    """Writes blocks.csv: which part of which scene was for what.

    Raises:
        ResourceError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["scene,row,col,height,width,labelled,part", *(f"{block},{part}" for block, part in split.items())]
    write_text(folder / BLOCKS, "".join(f"{line}\n" for line in lines))


def _read_images(pairs: Sequence[Pair], *, config: TrainConfig) -> list[LabelledImage]:
    return [ignore_clouds(read_pair(pair), rule=config.clouds) for pair in pairs]


def _mix(config: TrainConfig, images: Sequence[LabelledImage]) -> Mixture:
    return Mixture(tiles=images, procedural=procedural_images(config), procedural_share=config.procedural.share)


def _split_rows(ground: Ground) -> dict[str, str]:
    """Columns of blocks.csv but the last -> the last."""
    rows: dict[str, str] = {}
    for block, part in ground.split.parts:
        name, its = ground.scenes[block.scene].name.replace('"', '""'), block.window
        rows[f'"{name}",{its.row},{its.col},{its.height},{its.width},{block.labelled}'] = part
    return rows
