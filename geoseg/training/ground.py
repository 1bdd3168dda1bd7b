"""Labelled scenes as a network takes them: physical values, nodata at the mean, held ground out of sight."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from geoseg.core.patch_source import IGNORE, LabelledImage, LabelledScene
from geoseg.core.window import Window
from geoseg.model.spec import Conversion
from geoseg.training.blocks import Part, Split, tile_windows
from geoseg.training.config import TrainConfig
from geoseg.training.statistics import Moments

Pixels = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """All scenes of a run and what of them is for what. Pickles with its scenes closed."""

    scenes: tuple[LabelledScene, ...]
    conversions: tuple[Conversion | None, ...]
    """For each scene, from its stored values into those the bundle's bands are scaled for."""
    scale: tuple[float, ...]
    """Per band: physical = converted * scale + offset."""
    offset: tuple[float, ...]
    split: Split

    def read(self, scene: int, window: Window) -> tuple[Pixels, Bools, Labels]:
        """Physical values, True = observed, class ids or 255 under a window anywhere."""
        patch = self.scenes[scene].read(window)
        pixels = to_physical(patch.pixels, self.conversions[scene], scale=self.scale, offset=self.offset)
        valid = patch.valid & np.isfinite(pixels).all(axis=0)
        return pixels, valid, np.where(valid, patch.labels, np.uint8(IGNORE))

    def read_train(self, scene: int, window: Window) -> tuple[Pixels, Bools, Labels]:
        """The same, with everything that training may not see as if it had not been observed."""
        pixels, valid, labels = self.read(scene, window)
        valid &= self.split.trainable(scene, window)
        return pixels, valid, np.where(valid, labels, np.uint8(IGNORE))

    def measure(self) -> Moments:
        """Of every observed pixel that training may see; each is read once."""
        total = Moments.none(len(self.scale))
        for block in self.split.blocks("train"):
            pixels, valid, _ = self.read_train(block.scene, block.window)
            total += Moments.of(pixels[:, valid])
        return total


def to_physical(
    stored: npt.NDArray[Any], conversion: Conversion | None, *, scale: Sequence[float], offset: Sequence[float]
) -> Pixels:
    """(bands, height, width) as `geoseg run` takes it: converted as the bundle declares, then scaled by band."""
    values = stored.astype(np.float64)
    if conversion is not None:
        values = values * conversion.scale + conversion.offset
        if conversion.clip_min is not None or conversion.clip_max is not None:
            values = np.clip(values, conversion.clip_min, conversion.clip_max)
        values = np.rint(values) if conversion.round else values
    physical = values * np.asarray(scale)[:, None, None] + np.asarray(offset)[:, None, None]
    return np.asarray(physical, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A window that is mapped in one piece, and the part of it that is scored."""

    scene: int
    window: Window
    scored: Window


@dataclass(frozen=True, slots=True)
class Views(Sequence[LabelledImage]):
    """Images that are read when they are looked at."""

    ground: Ground
    views: tuple[View, ...]
    mean: tuple[float, ...]
    """Per band, physical units: what is not observed."""
    part: Part

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...
    @overload
    def __getitem__(self, index: slice) -> "Views": ...
    def __getitem__(self, index: int | slice) -> "LabelledImage | Views":
        """One image, or some of them unread."""
        if isinstance(index, slice):
            return Views(self.ground, self.views[index], self.mean, self.part)
        return self._read(self.views[index])

    def __len__(self) -> int:
        return len(self.views)

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self._read(view) for view in self.views)

    def names(self) -> tuple[str, ...]:
        """Of the images, unread."""
        return tuple(self._name(view) for view in self.views)

    def _name(self, view: View) -> str:
        return f"{self.ground.scenes[view.scene].name} row {view.scored.row} col {view.scored.col}"

    def measure(self) -> Moments:
        """Of every observed pixel of the views."""
        read = self.ground.read_train if self.part == "train" else self.ground.read
        total = Moments.none(len(self.mean))
        for view in self.views:
            pixels, valid, _ = read(view.scene, view.scored)
            total += Moments.of(pixels[:, valid])
        return total

    def _read(self, view: View) -> LabelledImage:
        read = self.ground.read_train if self.part == "train" else self.ground.read
        pixels, valid, labels = read(view.scene, view.window)
        inside = view.scored.slices_in(view.window)
        scored = np.full_like(labels, IGNORE)
        scored[inside] = labels[inside]
        pixels = np.where(valid, pixels, np.asarray(self.mean, np.float32)[:, None, None])
        return LabelledImage(name=self._name(view), pixels=pixels, labels=scored)


def held_views(ground: Ground, config: TrainConfig, *, part: Part) -> Views:
    """The labelled blocks of a part, each seen with the buffer around it, on which nothing was trained."""
    buffer = ground.split.buffer_px
    views = []
    for block in ground.split.blocks(part):
        if block.labelled:
            inner, shape = block.window, ground.scenes[block.scene].shape
            window = Window(
                row=inner.row - buffer,
                col=inner.col - buffer,
                height=inner.height + 2 * buffer,
                width=inner.width + 2 * buffer,
            ).clip(*shape)
            views.append(View(scene=block.scene, window=window, scored=inner))
    return Views(ground, tuple(views), config.network.mean, part)


def train_views(ground: Ground, config: TrainConfig, *, side_px: int, most: int) -> Views:
    """Large squares of one size over what is trained on, at most so many, spread evenly; each pixel is scored once."""
    side = min(side_px, *(min(scene.shape) for scene in ground.scenes))
    labelled: dict[int, list[Window]] = {}
    for block in ground.split.blocks("train"):
        if block.labelled:
            labelled.setdefault(block.scene, []).append(block.window)
    views = []
    for scene, windows in labelled.items():
        height, width = ground.scenes[scene].shape
        for scored in tile_windows((height, width), side):
            if any(_touch(scored, one) for one in windows):
                row, col = min(scored.row, height - side), min(scored.col, width - side)
                window = Window(row=row, col=col, height=side, width=side)
                views.append(View(scene=scene, window=window, scored=scored))
    chosen = [views[k] for k in np.unique(np.linspace(0, len(views) - 1, min(most, len(views))).astype(int))]
    return Views(ground, tuple(chosen), config.network.mean, "train")


def _touch(one: Window, other: Window) -> bool:
    rows = one.row < other.row_stop and other.row < one.row_stop
    return rows and one.col < other.col_stop and other.col < one.col_stop
