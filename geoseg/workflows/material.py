"""What a training run learns from, opened: labelled tiles in memory, or scenes that are read by window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geoseg.core.patch_source import LabelledImage
from geoseg.errors import SettingsError
from geoseg.raster.pairs import Pair, file_digests, list_pairs, read_pair
from geoseg.training.clouds import ignore_clouds
from geoseg.training.config import TrainConfig
from geoseg.training.dataset import Mixture, MixtureSupply, Supply, procedural_images
from geoseg.training.ground import Views, held_views, train_views
from geoseg.training.sampling import SceneSupply
from geoseg.workflows.labelled_scenes import open_ground

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
        digests=found.digests,
        held_digests={},
        notes=(*found.notes, _describe_split(held, found.ground.split.classes("train").tolist())),
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
    images = read_images(pairs, config=config)
    return Material(
        supply=MixtureSupply(mixture=mix(config, images), config=config),
        images=images,
        held=read_images(held, config=config),
        side_px=min(min(image.labels.shape) for image in images),
        digests=file_digests(pairs),
        held_digests=file_digests(held),
    )


def read_images(pairs: Sequence[Pair], *, config: TrainConfig) -> list[LabelledImage]:
    """The tiles of pairs, in order, without what the cloud rule finds."""
    return [ignore_clouds(read_pair(pair), rule=config.clouds) for pair in pairs]


def mix(config: TrainConfig, images: Sequence[LabelledImage]) -> Mixture:
    """The tiles with the config's procedural scenes."""
    return Mixture(tiles=images, procedural=procedural_images(config), procedural_share=config.procedural.share)
