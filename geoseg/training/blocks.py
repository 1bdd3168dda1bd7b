"""Scenes in square blocks: what is labelled where, which blocks are held out, and which pixels training may see."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from geoseg.core.patch_source import IGNORE, LabelledScene
from geoseg.core.window import Window
from geoseg.errors import InputError, SettingsError
from geoseg.training.config_data import BlockConfig

Part: TypeAlias = Literal["train", "held", "test"]
_DRAWS: Final = 64
"""Draws of which the one with classes most like the whole is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A square of a scene, cut off at its edge."""

    scene: int
    """Its place among the scenes."""
    window: Window
    counts: tuple[int, ...]
    """Labelled pixels by class."""

    @property
    def labelled(self) -> int:
        """Labelled pixels."""
        return sum(self.counts)


def count_blocks(scenes: Sequence[LabelledScene], *, side_px: Sequence[int], classes: int) -> tuple[Block, ...]:
    """Every block of every scene; labels are read once, a block at a time.

    Args:
        scenes: in the order of their places.
        side_px: of the blocks, for each scene.
        classes: number of class ids.

    Raises:
        InputError: a label that is no class id, or none at all.
    """
    found = []
    for place, (scene, side) in enumerate(zip(scenes, side_px, strict=True)):
        for window in tile_windows(scene.shape, side):
            counts = np.bincount(scene.labels(window).ravel(), minlength=256)
            highest = int(np.flatnonzero(counts[:IGNORE]).max(initial=0))
            if highest >= classes:
                raise InputError(f"{scene.name}: a label is {highest}; there are {classes} classes, ids from 0")
            found.append(Block(scene=place, window=window, counts=tuple(counts[:classes].tolist())))
    if not any(block.labelled for block in found):
        raise InputError(
            f"no pixel of {', '.join(one.name for one in scenes[:3])} is labelled: do scene and labels overlap, and "
            "is the field of the classes the right one?"
        )
    return tuple(found)


def tile_windows(shape: tuple[int, int], side_px: int) -> Iterator[Window]:
    """Squares that cover a raster of (height, width), row by row, cut off at its edge."""
    height, width = shape
    for row in range(0, height, side_px):
        for col in range(0, width, side_px):
            yield Window(row=row, col=col, height=side_px, width=side_px).clip(height, width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which blocks are for what."""

    parts: tuple[tuple[Block, Part], ...]
    """Every block, in order."""
    buffer_px: int
    shadows: tuple[tuple[int, Window], ...] = ()
    """(scene, window) of ground that is held out in another scene."""
    _kept: dict[int, npt.NDArray[np.int64]] = field(init=False, repr=False)
    """Scene -> (n, 4) first row, first column, row after, column after, with the buffer around."""

    def __post_init__(self) -> None:
        kept: dict[int, list[tuple[int, int, int, int]]] = {}
        around = self.buffer_px
        windows = [(block.scene, block.window) for block, part in self.parts if part != "train"]
        for scene, one in (*windows, *self.shadows):
            edges = (one.row - around, one.col - around, one.row_stop + around, one.col_stop + around)
            kept.setdefault(scene, []).append(edges)
        object.__setattr__(self, "_kept", {scene: np.array(found) for scene, found in kept.items()})

    def blocks(self, part: Part) -> tuple[Block, ...]:
        """The blocks of a part."""
        return tuple(block for block, its in self.parts if its == part)

    def trainable(self, scene: int, window: Window) -> npt.NDArray[np.bool_]:
        """(height, width) True where training may see pixel and label: no nearer than the buffer to what is kept."""
        free = np.ones(window.shape, bool)
        kept = self._kept.get(scene)
        if kept is None:
            return free
        inside = kept - np.array([window.row, window.col] * 2)
        near = (inside[:, 2:] > 0).all(axis=1) & (inside[:, :2] < window.shape).all(axis=1)
        for top, left, bottom, right in inside[near].tolist():
            free[max(top, 0) : bottom, max(left, 0) : right] = False
        return free

    def classes(self, part: Part) -> npt.NDArray[np.int64]:
        """Labelled pixels of a part by class."""
        return _sum([block for block, its in self.parts if its == part], like=self.parts[0][0])


def split_blocks(blocks: Sequence[Block], config: BlockConfig, *, grids: Sequence[int] = ()) -> Split:
    """Draws what is held out.

    Args:
        blocks: of all scenes.
        config: how much, and how.
        grids: for each scene a number, equal where grids are; blocks of one place go together. Empty: all differ.

    Raises:
        SettingsError: nothing is left to train on, or nothing is there to hold out.
    """
    if config.by == "checkerboard":
        chosen = [_square(block, blocks) for block in blocks]
    else:
        shares = (config.held_share, config.test_share)
        chosen = _draw(blocks, _places(blocks, config, grids), shares=shares, seed=config.seed)
    split = Split(parts=tuple(zip(blocks, chosen, strict=True)), buffer_px=config.buffer_px)
    if not split.classes("train").sum():
        raise SettingsError(
            f"data.blocks leaves no labelled block to train on ({len(blocks)} blocks in all): lower side_px or "
            "held_share"
        )
    asked: tuple[tuple[Part, bool], ...] = (
        ("held", config.held_share > 0 or config.by == "checkerboard"),
        ("test", config.test_share > 0),
    )
    for part, is_asked in asked:
        if is_asked and not split.classes(part).sum():
            raise SettingsError(f"data.blocks finds no labelled block for {part}: lower side_px, or give more scenes")
    return split


def _square(block: Block, blocks: Sequence[Block]) -> Part:
    """The colour of a block; squares of one scene have one size, that of its first."""
    first = next(one.window for one in blocks if one.scene == block.scene)
    return "held" if (block.window.row // first.height + block.window.col // first.width) % 2 else "train"


def _places(blocks: Sequence[Block], config: BlockConfig, grids: Sequence[int]) -> list[object]:
    """What blocks go together by: their place on a grid, or all of a grid."""
    numbers = [grids[block.scene] if grids else block.scene for block in blocks]
    if config.by == "scene":
        return list(numbers)
    return [(number, block.window) for number, block in zip(numbers, blocks, strict=True)]


def _draw(blocks: Sequence[Block], places: Sequence[object], *, shares: tuple[float, float], seed: int) -> list[Part]:
    """The best of several draws: classes in what is kept as in the whole, and as much kept as was asked for."""
    groups: dict[object, list[int]] = {}
    for place, block in enumerate(blocks):
        if block.labelled:
            groups.setdefault(places[place], []).append(place)
    counts = np.stack([_sum([blocks[place] for place in group], like=blocks[0]) for group in groups.values()])
    total = counts.sum(axis=0)
    best: tuple[float, dict[int, Part]] = (math.inf, {})
    for draw in range(_DRAWS if any(shares) else 1):
        order = np.random.default_rng((seed, draw)).permutation(len(counts))
        parts, cost = _deal(counts, order, total=total, shares=shares)
        if cost < best[0]:
            best = (cost, parts)
    members = list(groups.values())
    part_of = {place: part for group, part in best[1].items() for place in members[group]}
    return [part_of.get(place, "train") for place in range(len(blocks))]


def _deal(
    counts: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64],
    *,
    total: npt.NDArray[np.int64],
    shares: tuple[float, float],
) -> tuple[dict[int, Part], float]:
    """Groups in an order to held, then test, until each has its share; and how unlike the whole they are."""
    parts: dict[int, Part] = {}
    cost, start = 0.0, 0
    present = total > 0
    names: tuple[Part, Part] = ("held", "test")
    for name, share in zip(names, shares, strict=True):
        got = np.zeros_like(total)
        # one group at least; the last is taken where that comes nearer to the share than leaving it
        while (
            share
            and start < len(order) - 1
            and (not got.any() or got.sum() + counts[order[start]].sum() / 2 <= share * total.sum())
        ):
            got += counts[order[start]]
            parts[int(order[start])] = name
            start += 1
        if share:
            cost += float(np.abs(got[present] / total[present] - share).mean() / share)
            cost += 10.0 * (not got.any())
    rest = total - sum((counts[group] for group in parts), np.zeros_like(total))
    return parts, cost + 10.0 * float((rest[present] == 0).sum())


def _sum(blocks: Sequence[Block], *, like: Block) -> npt.NDArray[np.int64]:
    zero = np.zeros(len(like.counts), np.int64)
    return np.asarray(sum((np.array(block.counts, np.int64) for block in blocks), zero))
