"""What the page of a batch shows of its scenes, gathered in one walk over the ledgers; pages are made elsewhere."""

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from geoseg.batch.manifest import Part
from geoseg.batch.status import FAILED
from geoseg.errors import GeosegError
from geoseg.raster.remote import is_remote
from geoseg.raster.safety import plain, raster_env
from geoseg.raster.scene import SceneOptions, open_scene
from geoseg.report.batch_content import FailureGroup, SceneRow
from geoseg.report.batch_map import ArchiveMap, Place
from geoseg.report.batch_page import SHOWN_ROWS
from geoseg.report.footprint import Footprint, find_footprint

_EXAMPLES: Final = 20
"""Scenes shown of a class of error."""
_GROUPS: Final = 50
"""Classes of error shown."""
_LOOKED_AT: Final = 500
"""Scenes that failed whose files are opened for the place they lie at."""
_LONGEST: Final = 600
"""Characters shown of an error or a path."""
_NAMED: Final = 1000
"""Workers told apart."""
PAGE: Final = "report.html"


@dataclass(slots=True)
class Overview:
    """Feed it every row of the ledgers, with the areas and the STAC item of those that have a product."""

    out: Path
    map: ArchiveMap = field(default_factory=ArchiveMap)
    rows: list[SceneRow] = field(default_factory=list)
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    spent: "array[float]" = field(default_factory=lambda: array("d"))
    """Seconds of every scene that ended, however."""
    pixels: Counter[int] = field(default_factory=Counter)
    colors: dict[int, str] = field(default_factory=dict)
    footprints: "array[float]" = field(default_factory=lambda: array("d"))
    nodata: "array[float]" = field(default_factory=lambda: array("d"))
    workers: set[str] = field(default_factory=set)
    began: float = math.inf
    ended: float = -math.inf
    lost: int = 0
    """Scenes that are done but whose product is no longer there or not whole."""
    _looked: int = 0
    _codes: Counter[str] = field(default_factory=Counter)
    _examples: dict[str, list[SceneRow]] = field(default_factory=dict)

    def add(self, row: dict[str, Any], areas: dict[str, Any], item: dict[str, Any] | None) -> None:
        """One row of a ledger."""
        state, part = row["state"], Part.parse(row["uri"])
        self._add_times(row)
        if part.index > 0 and state not in FAILED:
            return
        shown = self._row(row, areas, item)
        if state in FAILED:
            code = row["error_code"] or "unknown"
            self._codes[code] += 1
            if len(self._examples.setdefault(code, [])) < _EXAMPLES:
                self._examples[code].append(shown)
        if len(self.rows) < SHOWN_ROWS:
            self.rows.append(shown)
        if areas:
            self._add_areas(areas)
        if item is not None:
            self._add_item(item, shown)
        elif state == "failed" and self._looked < _LOOKED_AT:
            self._looked += 1
            self._add_place(find_place(part.uri), shown)

    def failures(self) -> tuple[FailureGroup, ...]:
        """By class of error, the most frequent first."""
        found = self._codes.most_common(_GROUPS)
        return tuple(FailureGroup(code=code, count=count, shown=tuple(self._examples[code])) for code, count in found)

    def _add_times(self, row: dict[str, Any]) -> None:
        if row["started"] is not None:
            self.began = min(self.began, row["started"])
        if row["finished"] is not None:
            self.ended = max(self.ended, row["finished"])
        if row["worker"] and len(self.workers) < _NAMED:
            self.workers.add(row["worker"])
        if row["seconds"] is not None:
            self.spent.append(row["seconds"])
            if row["state"] == "done":
                self.seconds.append(row["seconds"])

    def _row(self, row: dict[str, Any], areas: dict[str, Any], item: dict[str, Any] | None) -> SceneRow:
        uri = plain(Part.parse(row["uri"]).uri)[:_LONGEST]
        named = None if item is None else item["properties"].get("geoseg:scene")
        page = self.out / row["output"] / PAGE if row["output"] and areas and len(self.rows) < SHOWN_ROWS else None
        return SceneRow(
            title=plain(str(named or uri.rpartition("/")[2]))[:_LONGEST] or uri,
            uri=uri,
            state=row["state"],
            seconds=row["seconds"],
            attempts=row["attempts"],
            link=f"{row['output']}/{PAGE}" if page is not None and page.is_file() else "",
            error=plain(row["error"] or "")[:_LONGEST],
            footprint_m2=areas.get("footprint_m2"),
            areas_m2={one["id"]: one["area_m2"] for one in areas.get("classes", [])},
        )

    def _add_areas(self, areas: dict[str, Any]) -> None:
        self.footprints.append(areas.get("footprint_m2") or 0.0)
        self.nodata.append(areas.get("nodata_m2") or 0.0)
        for one in areas.get("classes", []):
            self.pixels[one["id"]] += one["pixels"] or 0

    def _add_place(self, found: Footprint | None, shown: SceneRow) -> None:
        if found is not None:
            self.map.add(Place(title=shown.title, state=shown.state, footprint=found.geometry, bbox=found.bbox))

    def _add_item(self, item: dict[str, Any], shown: SceneRow) -> None:
        classified = math.fsum(shown.areas_m2.values())
        shares = {k: area / classified for k, area in shown.areas_m2.items()} if classified else {}
        west, south, east, north = item["bbox"]
        self.map.add(
            Place(
                title=shown.title,
                state=shown.state,
                footprint=item["geometry"],
                bbox=(west, south, east, north),
                shares=shares,
                link=shown.link,
            )
        )
        if not self.colors:
            self.colors = _colors(item)


def find_place(uri: str) -> Footprint | None:
    """Where the scene of an archive lies by its own file; None if that is remote, gone or cannot be read.

    Not for scenes in which a worker died: what ended one process would end another.
    """
    if is_remote(uri):
        return None
    try:
        with raster_env():
            return find_footprint(open_scene(uri, options=SceneOptions(allow_large=True)).grid)
    except GeosegError:
        return None


def _colors(item: dict[str, Any]) -> dict[int, str]:
    """Colors #rrggbb by class id, as the class map of an item has them."""
    asset = item["assets"].get("classes") or {}
    hints = {one.get("value"): str(one.get("color_hint") or "") for one in asset.get("classification:classes", [])}
    return {k: f"#{hint}" for k, hint in hints.items() if isinstance(k, int) and _is_hex(hint)}


def _is_hex(text: str) -> bool:
    return len(text) == 6 and all(one in "0123456789abcdefABCDEF" for one in text)
