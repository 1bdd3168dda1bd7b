"""Items of STAC from lines of JSON into one GeoParquet file, by stac-geoparquet; which items is not its matter."""

import importlib.util
from pathlib import Path
from typing import Any, Final

_ITEMS: Final = 2000
"""Taken at once: what bounds memory."""


def has_item_tables() -> bool:
    """Whether stac-geoparquet is installed (`pip install 'geoseg[catalog]'`)."""
    return importlib.util.find_spec("stac_geoparquet") is not None


def write_item_table(lines: Path, target: Path, collection: dict[str, Any]) -> None:
    """Writes the items of a file of lines; the collection goes into the file's metadata."""
    from stac_geoparquet.arrow import parse_stac_ndjson_to_parquet

    parse_stac_ndjson_to_parquet(
        lines, target, chunk_size=_ITEMS, collections={collection["id"]: collection}, compression="zstd"
    )
