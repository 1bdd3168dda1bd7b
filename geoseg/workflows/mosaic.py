"""Class maps that overlap or adjoin made one: `geoseg mosaic`; its area counted without making it is `union`."""

import json
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geoseg import __version__
from geoseg.core.claimed import RULE_TEXTS, Rule, fill_confident, fill_first, in_order, is_dated
from geoseg.core.legend import Legend
from geoseg.core.patch import NODATA
from geoseg.core.placement import Placement, common, place_on
from geoseg.core.window import Window
from geoseg.errors import SettingsError
from geoseg.raster.classmap import BLOCK, ClassMapWriter
from geoseg.raster.mosaic import LayerReader
from geoseg.raster.mosaic_vrt import write_vrt
from geoseg.raster.safety import raster_env
from geoseg.workflows.mosaic_grid import GridChoice, find_grid
from geoseg.workflows.mosaic_input import KnownLayer, agree
from geoseg.workflows.output_file import check_free, move, writing
from geoseg.workflows.progress import Progress, Silent

Labels = npt.NDArray[np.uint8]
_PANEL: Final = 8 * BLOCK
"""Columns put together at a time: memory does not grow with the width of the mosaic."""
_CACHE_MB: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicRequest:
    """How maps are to be made one."""

    rule: Rule = "first"
    grid: GridChoice | None = None
    """None: that of the maps, which must be one lattice."""
    overwrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mosaic:
    """A finished mosaic."""

    path: Path
    grid: GeoBox
    rule: Rule
    maps: tuple[KnownLayer, ...]
    """In the order in which they have their ground."""
    resampled: int
    """Maps that are not on its lattice: of these each pixel has the class that holds its centre."""

    @property
    def provenance(self) -> Path:
        """What it was made of, beside it."""
        return self.path.with_name(f"{self.path.name}.json")

    def notes(self) -> list[str]:
        """For people."""
        notes = [RULE_TEXTS[self.rule]]
        if self.resampled:
            notes.append(
                f"{self.resampled:,} of {len(self.maps):,} maps were resampled, nearest pixel: their edges move by up "
                "to half a pixel; areas of the maps themselves are not changed by it"
            )
        undated = sum(not is_dated(one.acquired) for one in self.maps)
        if self.rule == "latest" and undated:
            notes.append(f"{undated:,} of {len(self.maps):,} maps have no date of acquisition: they come last")
        return notes

    def to_json(self) -> dict[str, Any]:
        """The document beside it."""
        height, width = self.grid.shape
        maps = [{"name": one.layer.name, "acquired": one.acquired, "sha256": one.sha256} for one in self.maps]
        return {
            "schema": "geoseg/mosaic/1",
            "geoseg": __version__,
            "file": self.path.name,
            "rule": self.rule,
            "rule_text": RULE_TEXTS[self.rule],
            "crs": str(self.grid.crs),
            "transform": list(self.grid.affine[:6]),
            "width": int(width),
            "height": int(height),
            "resampled": self.resampled,
            "maps": maps,
            "notes": self.notes(),
        }


def check_request(out: Path, request: MosaicRequest) -> None:
    """Whether a mosaic may be made there; nothing is read.

    Raises:
        SettingsError: the suffix, or a rule that a VRT cannot follow.
        ProductError: something is in the way.
    """
    suffix = out.suffix.lower()
    if suffix not in (".vrt", ".tif", ".tiff"):
        raise SettingsError(f"{out}: suffix {out.suffix or 'none'} is not one of .tif, .vrt")
    if suffix == ".vrt" and request.rule == "confident":
        raise SettingsError(f"{out}: a VRT cannot choose by confidence: name OUT .tif, or choose --rule first")
    if suffix == ".vrt" and request.grid is not None:
        raise SettingsError(f"{out}: a VRT resamples nothing: name OUT .tif, or leave --grid out")
    check_free(out, overwrite=request.overwrite)


def make_mosaic(
    maps: Sequence[KnownLayer], out: Path, request: MosaicRequest, *, progress: Progress | None = None
) -> Mosaic:
    """One class map of many, and what it was made of beside it (OUT.json).

    `.tif`: a COG as geoseg run writes classes.tif. `.vrt`: a file that names the maps and holds no pixel.

    Raises:
        SettingsError: as `check_request`; or the maps are not on one lattice and no grid was chosen.
        ProductError: `out` is in the way or is one of the maps, the maps have other classes, or one is damaged.
        ResourceError: `out` cannot be written.
    """
    check_request(out, request)
    check_free(out, overwrite=request.overwrite, reading=[one.layer.classmap.path for one in maps])
    legend, agreed = agree(maps)
    ordered = tuple(agreed[k] for k in in_order(request.rule, [one.acquired for one in agreed]))
    grid = find_grid([(one.layer.name, one.layer.classmap.grid) for one in agreed], request.grid)
    work = _Work(ordered, grid, legend, request.rule)
    made = Mosaic(path=out, grid=grid, rule=request.rule, maps=ordered, resampled=work.resampled)
    if out.suffix.lower() == ".vrt":
        with writing(out) as beside:
            work.write_vrt(beside, home=out.resolve().parent)
            _write_provenance(made)
    else:
        with tempfile.TemporaryDirectory(prefix=".geoseg-", dir=out.parent) as folder, raster_env(cache_mb=_CACHE_MB):
            work.write_cog(Path(folder), progress or Silent())
            _write_provenance(made)
            move(Path(folder) / "classes.tif", out)
    return made


class _Work:
    """Maps on their places on the grid of the mosaic."""

    def __init__(self, maps: Sequence[KnownLayer], grid: GeoBox, legend: Legend, rule: Rule) -> None:
        self.grid, self.legend, self.rule = grid, legend, rule
        found = [(one, place_on(grid, one.layer.classmap.grid)) for one in maps]
        self.placed: list[tuple[KnownLayer, Placement]] = [(one, place) for one, place in found if place is not None]
        windows = [place.window for _, place in self.placed]
        self._edges = np.array([(w.row, w.row_stop, w.col, w.col_stop) for w in windows], np.int64).reshape(-1, 4)
        self.tags = {
            "GEOSEG_VERSION": __version__,
            "GEOSEG_MOSAIC_RULE": rule,
            "GEOSEG_MOSAIC_MAPS": str(len(maps)),
        }

    @property
    def resampled(self) -> int:
        return sum(place.origin is None for _, place in self.placed)

    def write_vrt(self, path: Path, *, home: Path) -> None:
        layers = [(one.layer, place.window) for one, place in self.placed]
        write_vrt(path, layers, home=home, grid=self.grid, legend=self.legend, tags=self.tags)

    def write_cog(self, folder: Path, progress: Progress) -> None:
        """folder/classes.tif."""
        height, width = (int(side) for side in self.grid.shape)
        progress.begin("blocks", math.ceil(height / BLOCK) * math.ceil(width / _PANEL))
        with (
            LayerReader() as reader,
            ClassMapWriter(
                folder,
                grid=self.grid,
                legend=self.legend,
                tags=self.tags,
                confidence=False,
                threads=os.cpu_count() or 1,
            ) as writer,
        ):
            for row in range(0, height, BLOCK):
                for col in range(0, width, _PANEL):
                    window = Window(row=row, col=col, height=BLOCK, width=_PANEL).clip(height, width)
                    writer.write_labels(window, self._labels(reader, window))
                    progress.advance()
            writer.finish()

    def _labels(self, reader: LayerReader, window: Window) -> Labels:
        """The mosaic under a window."""
        labels, best = np.full(window.shape, NODATA, np.uint8), np.zeros(window.shape, np.uint8)
        top, bottom, left, right = self._edges.T
        meets = (top < window.row_stop) & (bottom > window.row) & (left < window.col_stop) & (right > window.col)
        for index in np.flatnonzero(meets):
            one, place = self.placed[index]
            part = common(window, place.window)
            if part is None or (self.rule != "confident" and not (labels[part.slices_in(window)] == NODATA).any()):
                continue
            seen = reader.read_on(one.layer, self.grid, place, part)
            if seen is None:
                continue
            where = seen.window.slices_in(window)
            if self.rule == "confident":
                fill_confident(labels[where], best[where], seen.labels, seen.confidence)
            else:
                fill_first(labels[where], seen.labels)
        return labels


def _write_provenance(made: Mosaic) -> None:
    """Written before the mosaic is in its place: there is none without it."""
    with writing(made.provenance) as beside:
        beside.write_text(json.dumps(made.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
