"""Items of STAC, waiting on the disk until stac-geoparquet makes one GeoParquet file of them."""

import importlib.util
import json
from collections.abc import Hashable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from geoseg.errors import GeosegError

_ITEMS: Final = 2000
"""Taken at once: what bounds memory."""
_SHAPES: Final = 2000
"""Different sets of keys and types that are told apart; of more, every item is looked at again for the columns."""


def has_item_tables() -> bool:
    """Whether stac-geoparquet is installed (`pip install 'geoseg[catalog]'`)."""
    return importlib.util.find_spec("stac_geoparquet") is not None


class ItemTable:
    """A context manager; items wait in a folder, which its owner removes.

    Columns are found from one item of each shape, which halves the time: those wait in a file of their own.
    """

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self._stack = ExitStack()
        self._paths = folder / "first.jsonl", folder / "rest.jsonl"
        self._first, self._rest = (self._stack.enter_context(path.open("w", encoding="utf-8")) for path in self._paths)
        self._shapes: set[int] = set()

    def __enter__(self) -> "ItemTable":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, item: dict[str, Any]) -> None:
        """One item. The box of one over 180 degrees goes around the Earth here: queries of the file compare numbers."""
        self.count += 1
        west, south, east, north = item["bbox"]
        if west > east:
            item = {**item, "bbox": [-180.0, south, 180.0, north]}
        lines, shape = self._rest, hash(_shape({**item, "geometry": None}))
        if shape not in self._shapes and len(self._shapes) <= _SHAPES:
            self._shapes.add(shape)
            lines = self._first
        lines.write(json.dumps(item, separators=(",", ":"), allow_nan=False) + "\n")

    def write(self, target: Path, collection: dict[str, Any]) -> None:
        """Writes all items, those of new shapes first; the collection goes into the file's metadata."""
        import pyarrow.parquet
        from stac_geoparquet.arrow import parse_stac_ndjson_to_parquet

        self._stack.close()
        few = len(self._shapes) <= _SHAPES
        parse_stac_ndjson_to_parquet(
            self._paths,
            target,
            chunk_size=_ITEMS,
            limit=len(self._shapes) if few else None,
            collections={collection["id"]: collection},
            compression="zstd",
        )
        written = pyarrow.parquet.read_metadata(target).num_rows
        if written != self.count:
            raise GeosegError(f"{target.name} holds {written} of {self.count} items; please report it")


def _shape(value: Any) -> Hashable:
    """Keys and types of a value of JSON: what decides its columns."""
    if isinstance(value, dict):
        return tuple((key, _shape(one)) for key, one in sorted(value.items()))
    if isinstance(value, list):
        return frozenset(map(_shape, value))
    return type(value).__name__
