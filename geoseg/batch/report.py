"""The report of a batch: tables, one page, a catalog; made of ledgers and products, of which no pixel is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.batch.catalog import Catalog, collecting, find_item
from geoseg.batch.job import read_job
from geoseg.batch.manifest import Part
from geoseg.batch.overview import PAGE, Overview
from geoseg.batch.place import Place
from geoseg.batch.report_content import Gathered, make_content
from geoseg.batch.results import Results, areas_of, write_results
from geoseg.batch.status import read_rows, read_status
from geoseg.batch.union import TABLE
from geoseg.report.batch_page import render_batch_page
from geoseg.report.union_document import UNION, read_union
from geoseg.workflows.output_file import writing
from geoseg.workflows.progress import Progress, Silent

_TOGETHER: Final = (UNION, TABLE, "mosaic.tif", "mosaic.tif.json", "mosaic.vrt", "mosaic.vrt.json")
"""Made only where they are asked for, and then shown by every later report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What was written."""

    results: Results
    files: tuple[Path, ...]
    """With what there is of the scenes as one."""
    remarks: tuple[str, ...]
    """What could not be shown, counted or written, one line each."""

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        files = [str(path) for path in self.files]
        return {**self.results.to_json(), "files": files, "remarks": list(self.remarks)}

    def lines(self) -> list[str]:
        """For people."""
        return [*self.results.lines(), *self.remarks]


def write_report(out: Path, progress: Progress | None = None) -> BatchReport:
    """Writes tables, report.html and the catalog into a batch's folder, each file whole or not at all.

    Raises:
        ProductError: the folder holds no batch, or its union.json is damaged.
        ResourceError: a file cannot be written.
    """
    progress = progress or Silent()
    job, union = read_job(out), read_union(out)
    results = write_results(out)
    overview = Overview(out=out)
    with collecting(out, job) as catalog:
        progress.begin("scenes", job.scenes)
        for row in read_rows(out):
            _add(row, overview, catalog)
            progress.advance()
        progress.note(f"{catalog.table.count:,} items go into the catalog")
        written, remarks = catalog.write()
    files = (*results.files, *written, *(out / name for name in _TOGETHER if (out / name).exists()))
    gathered = Gathered(
        job=job,
        status=read_status(out),
        results=results,
        overview=overview,
        union=union,
        files=tuple(path.relative_to(out).as_posix() for path in files),
        remarks=remarks,
    )
    content = make_content(out, gathered)
    page = render_batch_page(content)
    with writing(out / PAGE) as beside:
        beside.write_text(page, encoding="utf-8")
    return BatchReport(results=results, files=(out / PAGE, *files), remarks=content.remarks)


def _add(row: dict[str, Any], overview: Overview, catalog: Catalog) -> None:
    """A row of a ledger: of a scene with a product its areas and its item, too."""
    ended = row["state"] in ("done", "skipped")
    areas = areas_of(row, catalog.out) if ended else {}
    found = None
    part = Part.parse(row["uri"])
    if ended and row["output"] and part.index == 0:
        found = find_item(catalog.out, row)
        waits = Place(out=catalog.out).part(row["scene"], 0).exists()  # for other parts of the scene
        overview.lost += found is None and not waits
    if found is not None:
        catalog.add(found[0], row, is_file=found[1])
    overview.add(row, areas, None if found is None else found[0])
