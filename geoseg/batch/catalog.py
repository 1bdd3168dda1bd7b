"""The catalog of an archive: a STAC collection and its items in one file, streamed; items are made by `report.stac`."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from geoseg.batch.job import BatchJob
from geoseg.batch.product_row import find_product
from geoseg.batch.results import translated
from geoseg.errors import GeosegError
from geoseg.raster.classmap import read_classmap
from geoseg.raster.safety import raster_env
from geoseg.report.collection import ITEMS, ItemSummary
from geoseg.report.item_table import ItemTable, has_item_tables
from geoseg.report.stac import make_item
from geoseg.workflows.output_file import writing

CATALOG: Final = "catalog"
COLLECTION: Final = "collection.json"
NO_TABLE: Final = (
    f"{CATALOG}/{ITEMS} was not written: it needs stac-geoparquet (pip install 'geoseg[catalog]'), then run this again"
)
_ITEM: Final = "item.json"
_LINKED: Final = 1000
"""Items that the collection links one by one; of more, those in the file of all items."""


def find_item(out: Path, row: dict[str, Any]) -> tuple[dict[str, Any], bool] | None:
    """(the STAC item of a scene's product, whether it is a file there); made here where the product has none.

    None where there is no product any more.
    """
    folder = out / row["output"]
    try:
        item = json.loads((folder / _ITEM).read_bytes())
        if item["properties"]["geoseg:job"] == row["job"] and item["geometry"] and len(item["bbox"]) == 4:
            return item, True
    except (OSError, ValueError, LookupError, TypeError):
        pass
    record = find_product(folder)
    if record is None or "classes.tif" not in record.products:
        return None
    try:
        with raster_env():
            classmap = read_classmap(folder / "classes.tif")
        return make_item(record, classmap.grid, classmap.legend, record.products), False
    except GeosegError:
        return None


@dataclass(slots=True)
class Catalog:
    """Takes items one by one onto the disk; what is kept of them is small."""

    out: Path
    job: BatchJob
    table: ItemTable
    _summary: ItemSummary = field(default_factory=ItemSummary)
    _links: list[str] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The id of the collection."""
        return f"geoseg-{self.job.digest[:16]}"

    def add(self, item: dict[str, Any], row: dict[str, Any], *, is_file: bool) -> None:
        """An item as it is in the scene's folder; its addresses are made relative to the catalog."""
        folder = f"../{row['output']}"
        name = self._unique(item["id"], row["scene"])
        assets = {key: {**one, "href": _moved(one["href"], folder)} for key, one in item["assets"].items()}
        links = [
            *({**one, "href": _moved(one["href"], folder)} for one in item["links"] if one["rel"] != "collection"),
            {"rel": "collection", "href": f"./{COLLECTION}", "type": "application/json"},
        ]
        moved = {**item, "id": name, "collection": self.name, "assets": assets, "links": links}
        self._summary.add(moved)
        self.table.add(moved)
        if is_file and len(self._links) <= _LINKED:
            self._links.append(f"{folder}/{_ITEM}")

    def write(self) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        """(collection.json and items.parquet, what could not be written and why).

        Raises:
            ResourceError: the folder cannot be written.
        """
        folder = self.out / CATALOG
        table = has_item_tables() and self.table.count > 0
        links = self._links if len(self._links) <= _LINKED else []
        collection = self._collection(links, table=table)
        if table:
            with writing(folder / ITEMS) as beside:
                self.table.write(beside, collection)
        else:
            (folder / ITEMS).unlink(missing_ok=True)
        with writing(folder / COLLECTION) as beside:
            beside.write_text(json.dumps(collection, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        names = [COLLECTION, *([ITEMS] if table else [])]
        return tuple(folder / one for one in names), () if table or not self.table.count else (NO_TABLE,)

    def _collection(self, links: list[str], *, table: bool) -> dict[str, Any]:
        job = self.job
        return self._summary.to_collection(
            name=self.name,
            title=f"Land cover of {Path(job.source).name or job.source}",
            description=f"{self.table.count:,} class maps that geoseg made with pipeline {job.pipeline.name} and "
            f"bundle {job.bundle}.",
            items=links,
            table=table,
            **{"geoseg:batch": job.digest, "geoseg:manifest_sha256": job.manifest_sha256},
        )

    def _unique(self, name: str, scene: str) -> str:
        """The same scene copied to another place has the same id; in one collection ids differ."""
        mark = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
        if mark in self._seen:
            return f"{name}-{scene}"
        self._seen.add(mark)
        return name


def _moved(href: str, folder: str) -> str:
    return f"{folder}/{href[2:]}" if href.startswith("./") else href


@contextmanager
def collecting(out: Path, job: BatchJob) -> Iterator[Catalog]:
    """A catalog to add items to; what it keeps on the disk meanwhile is removed in the end.

    Raises:
        ResourceError: the folder cannot be written.
    """
    folder = out / CATALOG
    with translated(out):
        folder.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".items-") as waiting, ItemTable(Path(waiting)) as table:
            yield Catalog(out=out, job=job, table=table)
