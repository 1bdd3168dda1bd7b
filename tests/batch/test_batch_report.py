"""The report of a batch: tables, page and catalog say what the products say, and each file is whole."""

import json
import math
import shutil
import sqlite3
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.batch.event import Record, State, Ticket
from geoseg.batch.job import BatchJob, ZoneSource, write_job
from geoseg.batch.ledger import Ledger
from geoseg.batch.manifest import freeze, read_manifest
from geoseg.batch.place import Place, Shard
from geoseg.batch.product_row import describe
from geoseg.batch.report import write_report
from geoseg.batch.source import Found
from geoseg.cli import main
from geoseg.errors import ProductError
from geoseg.outcome import RunRecord
from geoseg.pipeline import Pipeline
from geoseg.raster.classmap import read_classmap
from geoseg.report.stac import make_item
from tests.report import made_documents
from tests.report.pages import Page
from tests.report.products import GRID, make_run
from tests.report.test_batch_page import UNION

FIJI = GeoBox((96, 128), Affine(1000, 0, 700_000, 0, -1000, 8_000_000), "EPSG:32760")
NAMES = ("fiji.tif", "b.tif", "c.tif", "bad.tif", "d.tif")


def areas(number: int) -> dict[str, Any]:
    """Of the scene of this number: each differs."""
    document = made_documents.areas(**made_documents.zones("West", f"only {number}"))
    for one in document["classes"]:
        one["area_m2"] += 1000.0 * number + 0.1
    return document


def make_batch(out: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Four scenes that are done, one with an item, one of which crosses 180 degrees, and one that failed.

    Gives (folder, areas) by name of those that are done.
    """
    place = Place(out=out)
    frozen = freeze((Found(files=(f"archive/{name}",)) for name in NAMES), place)
    zones = ZoneSource(path="zones.gpkg", sha256="c" * 64)
    job = BatchJob(
        geoseg="1.2.3", source="archive", scenes=frozen.scenes, manifest_sha256=frozen.sha256, bundle="tiny",
        pipeline=Pipeline.model_validate({"name": "test", "model": "tiny"}), bundle_sha256="b" * 64,
        output_version=1, zones=zones, argv=("geoseg", "batch", "plan"), created=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    write_job(job, place)
    made = {}
    with Ledger.create(place.ledger(Shard()), read_manifest(place), job=job.digest) as ledger:
        for row, entry in enumerate(read_manifest(place), start=1):
            ticket = Ticket(row=row, scene=entry.scene, uri=entry.uri, fingerprint="", attempts=1)
            name, folder = Path(entry.uri).name, place.scene(entry.scene)
            if name == "bad.tif":
                ended = Record(at=5.0, ticket=ticket, state="failed", outcome="broke", code="scene", error="no <bands>")
            else:
                result = make_scene(folder, row, name)
                made[name] = (folder, areas(row))
                ended = Record(at=9.0, ticket=ticket, state="done", outcome="done", seconds=row, result=result)
            ledger.write([ended])
    return made


def make_scene(folder: Path, number: int, name: str) -> Mapping[str, Any]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    more: dict[str, Any] = {"acquired": f"2020-01-0{number}"} if number < 3 else {"platform": "Landsat-8"}
    grid = FIJI if name == "fiji.tif" else GRID
    job = f"{number:064x}"
    record = make_run(folder, areas=areas(number), scene=name, job=job[::-1], grid=grid, **more)
    if name == "b.tif":
        (folder / "item.json").write_text(json.dumps(item_of(folder, record)))
    return {**describe(record), "worker": "host-1", "output": str(folder.relative_to(folder.parents[2]))}


def item_of(folder: Path, record: RunRecord) -> dict[str, Any]:
    classmap = read_classmap(folder / "classes.tif")
    return make_item(record, classmap.grid, classmap.legend, record.products)


def known(properties: dict[str, Any]) -> set[str]:
    return {key for key, value in properties.items() if value is not None}


def read_items(out: Path) -> list[dict[str, Any]]:
    arrow = pytest.importorskip("stac_geoparquet.arrow", reason="the extra geoseg[catalog] is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    return list(arrow.stac_table_to_items(parquet.read_table(out / "catalog" / "items.parquet")))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_the_catalog_holds_every_product(out: Path) -> None:
    """Read back by another library: one item a product, each address a file that is there with that checksum."""
    made = make_batch(out)
    write_report(out)
    items = {one["properties"]["geoseg:scene"]: one for one in read_items(out)}
    assert items.keys() == made.keys()
    for name, (folder, _) in made.items():
        record = RunRecord.from_text((folder / "run.json").read_bytes())
        item, expected = items[name], item_of(folder, record)
        pystac.Item.from_dict(item).validate if False else pystac.Item.from_dict(item)
        assert shapely.geometry.shape(item["geometry"]).equals(shapely.geometry.shape(expected["geometry"]))
        box = expected["bbox"] if name != "fiji.tif" else [-180, expected["bbox"][1], 180, expected["bbox"][3]]
        assert item["bbox"] == pytest.approx(box)  # over 180 degrees: for queries that compare numbers
        assert item["assets"].keys() == expected["assets"].keys()
        for key, asset in item["assets"].items():
            path = (out / "catalog" / asset["href"]).resolve()
            assert path == (folder / Path(asset["href"]).name).resolve()
            assert asset["file:checksum"] == expected["assets"][key]["file:checksum"]
            assert asset["file:size"] == path.stat().st_size
        assert known(item["properties"]) == known(expected["properties"])
        for key in ("geoseg:job", "proj:shape", "proj:code", "processing:level"):
            assert item["properties"].get(key) == expected["properties"].get(key)


def test_the_collection_says_where_and_when(out: Path) -> None:
    """By pystac: the extent over 180 degrees, both dates, the assets with their classes, the items that are files."""
    made = make_batch(out)
    write_report(out)
    found = pystac.Collection.from_file(str(out / "catalog" / "collection.json"))
    ((west, south, east, north),) = found.extent.spatial.bboxes
    folders = [folder for folder, _ in made.values()]
    boxes = [item_of(one, RunRecord.from_text((one / "run.json").read_bytes()))["bbox"] for one in folders]
    assert west == pytest.approx(min(box[0] for box in boxes))
    assert (south, north) == pytest.approx((min(box[1] for box in boxes), max(box[3] for box in boxes)))
    assert east == pytest.approx(min(box[2] for box in boxes))
    assert east < -179 < 0 < west, "the smallest box lies over 180 degrees"
    ((first, last),) = found.extent.temporal.intervals
    assert (first and first.year, last and last.year) == (1972, 2026)
    assert {one["name"] for one in found.to_dict()["item_assets"]["classes"]["classification:classes"]} == {
        "other", "forest", "water",
    }  # fmt: skip
    assert [one.properties["geoseg:scene"] for one in found.get_items()] == ["b.tif"]
    assert found.assets["items"].get_absolute_href() == str(out / "catalog" / "items.parquet")


def test_the_page_says_what_the_tables_say(out: Path) -> None:
    made = make_batch(out)
    report = write_report(out)
    page = Page((out / "report.html").read_text())
    document = json.loads(page.data["geoseg-documents"])["batch-report.json"]
    for one in document["sum_over_scenes"]["classes"]:
        parts = [part["area_m2"] for _, found in made.values() for part in found["classes"] if part["id"] == one["id"]]
        assert one["area_m2"] == math.fsum(parts)
        (row,) = (row for row in page.rows if row[:1] == [one["name"]])
        assert row[2] == f"{math.fsum(parts) / 1e4:,.2f}"
    zones = {zone.zone: zone for zone in report.results.zones}
    assert zones.keys() == {"West", *(f"only {number}" for number in (1, 2, 3, 5))}
    west = [found["zones"][0] for _, found in made.values()]
    assert zones["West"].scenes == 4
    assert zones["West"].footprint_m2 == math.fsum(one["footprint_m2"] for one in west)
    drawn = json.loads(page.data["geoseg-archive"])
    assert [shape["title"] for shape in drawn["shapes"]] == list(made)
    assert ["bad.tif", "failed", "no <bands>"] in page.rows
    assert document["status"]["counts"]["failed"] == 1
    assert [path.name for path in report.files if not path.is_file()] == []


def test_a_scene_that_failed_is_on_the_map_where_its_file_can_be_read(out: Path) -> None:
    """One that killed its worker is not opened."""
    made = make_batch(out)
    source = made["c.tif"][0] / "classes.tif"
    with Ledger(Place(out=out).ledger(Shard())) as ledger:
        rows = [Ticket(row=k, scene="", uri="", fingerprint="") for k in (4, 5)]
        states: tuple[State, ...] = ("failed", "quarantined")
        ledger.write(
            Record(at=9.0, ticket=one, state=state, outcome="broke") for one, state in zip(rows, states, strict=True)
        )
    with sqlite3.connect(Place(out=out).ledger(Shard())) as db:
        db.execute("update scene set uri = ? where id in (4, 5)", (str(source),))
    write_report(out)
    page = Page((out / "report.html").read_text())
    drawn = json.loads(page.data["geoseg-archive"])["shapes"]
    assert [shape["state"] for shape in drawn] == ["done", "done", "done", "failed"]
    assert drawn[3]["rings"] == drawn[2]["rings"]
    assert "Not on it: 1 " in page.text


def test_a_union_is_shown_and_a_damaged_one_changes_nothing(out: Path) -> None:
    make_batch(out)
    (out / "union.json").write_text(json.dumps({**UNION, "scenes": 4}))
    assert write_report(out).files[-1] == out / "union.json"
    before = (out / "report.html").read_bytes()
    assert UNION["rule_text"].encode() in before
    (out / "union.json").write_text("{}")
    with pytest.raises(ProductError, match=r"union\.json: schema"):
        write_report(out)
    assert (out / "report.html").read_bytes() == before


def test_products_that_are_gone_are_told(out: Path) -> None:
    """A report is made of what there is, and says what is missing."""
    made = make_batch(out)
    shutil.rmtree(made["c.tif"][0])
    (made["d.tif"][0] / "classes.tif").write_bytes(b"")
    (made["b.tif"][0] / "item.json").write_text("{ half")
    report = write_report(out)
    assert [one["properties"]["geoseg:scene"] for one in read_items(out)] == ["fiji.tif", "b.tif"]
    assert "2 scenes were done but the product is no longer there or not whole" in report.remarks[0]
    assert report.remarks[0] in " ".join(Page((out / "report.html").read_text()).text.split())


def test_without_the_extra_everything_else_is_made(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_batch(out)
    write_report(out)
    monkeypatch.setitem(sys.modules, "stac_geoparquet", None)
    report = write_report(out)
    assert "pip install 'geoseg[catalog]'" in report.remarks[0]
    assert sorted(path.name for path in (out / "catalog").iterdir()) == ["collection.json"]
    collection = json.loads((out / "catalog" / "collection.json").read_text())
    assert "assets" not in collection or not collection["assets"]
    assert (out / "report.html").is_file()


def test_nothing_is_left_beside_the_files(out: Path) -> None:
    """Twice the same files, whole, and nothing that waits; scenes that are the same elsewhere keep two ids."""
    made = make_batch(out)
    copied = made["c.tif"][0], made["d.tif"][0]
    shutil.rmtree(copied[1])
    shutil.copytree(*copied)
    names = []
    for _ in range(2):
        names.append([path.relative_to(out).as_posix() for path in write_report(out).files])
        assert not [path for path in out.rglob(".*") if path.name != ".geoseg-run"]
    assert names[0] == names[1]
    assert names[0] == [
        "report.html", "summary.parquet", "areas.csv", "zones.csv", "failures.csv", "catalog/collection.json",
        "catalog/items.parquet",
    ]  # fmt: skip
    ids = [one["id"] for one in read_items(out)]
    assert len(set(ids)) == len(ids) == 4


def test_the_command_lists_its_files(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_batch(out)
    with pytest.raises(SystemExit) as ended:
        main(["batch", "report", str(out), "--json"])
    assert not ended.value.code
    document = json.loads(capsys.readouterr().out)
    assert all(Path(path).is_file() for path in document["files"])
    assert str(out / "report.html") in document["files"]
    assert "not the area of their union" in document["sum_over_scenes"]["note"]


def test_a_batch_that_was_only_planned_has_a_report(out: Path) -> None:
    make_batch(out)
    Place(out=out).ledger(Shard()).unlink()
    report = write_report(out)
    page = Page((out / "report.html").read_text())
    assert "No scene was begun." in page.text
    assert "5 still to do" in page.text
    assert not (out / "catalog" / "items.parquet").exists()
    assert report.remarks == ()
