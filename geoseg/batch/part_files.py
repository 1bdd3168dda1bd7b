"""Scenes done in parts that have no product: which parts must be done again; nothing is changed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from geoseg.batch.manifest import Part
from geoseg.batch.place import Place
from geoseg.batch.product_row import find_product


def parts_to_redo(rows: Iterable[dict[str, Any]], place: Place) -> Iterator[int]:
    """The numbers of rows of parts that had ended, while their scene has no product and waits for no other part.

    Those whose file is lost, and where all files are there all: one is damaged, or nobody put them together, as on a
    network file system two workers may each miss the other's part. Those that are good are not computed again.
    """
    for row in _without_product(rows, place):
        part = Part.parse(row["uri"])
        there = [place.part(row["scene"], k).exists() for k in range(part.count)]
        if not there[part.index] or all(there):
            yield row["id"]


def count_lost(rows: Iterable[dict[str, Any]], place: Place) -> int:
    """Scenes that have no product although all their parts are among the rows, which have ended, of all shards."""
    ended, counts = Counter[Path](), dict[Path, int]()
    for row in _without_product(rows, place):
        folder = place.scene(row["scene"])
        ended[folder] += 1
        counts[folder] = Part.parse(row["uri"]).count
    return sum(ended[folder] == count for folder, count in counts.items())


def _without_product(rows: Iterable[dict[str, Any]], place: Place) -> Iterator[dict[str, Any]]:
    """Those of parts of scenes that have no product of the job for which the part was made."""
    last: tuple[Path, str | None] | None = None  # parts of a scene follow each other
    for row in rows:
        if Part.parse(row["uri"]).count == 1:
            continue
        folder = place.scene(row["scene"])
        if last is None or last[0] != folder:
            record = find_product(folder)
            last = folder, None if record is None else record.job
        if last[1] is None or last[1] != row["job"]:
            yield row
