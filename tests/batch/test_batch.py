"""A batch of real scenes: the same products as single runs, frozen settings, nothing trusted but the products."""

import csv
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet
import pytest
import rasterio
import shapely

from geoseg.batch.event import Record, State, Ticket
from geoseg.batch.job import read_job
from geoseg.batch.ledger import Ledger
from geoseg.batch.loop import Summary
from geoseg.batch.manifest import read_manifest
from geoseg.batch.place import Place, Shard
from geoseg.batch.plan import BatchRequest, Planned, plan_batch
from geoseg.batch.repair import repair
from geoseg.batch.results import write_results
from geoseg.batch.run import RunOptions, run_batch
from geoseg.batch.scene_work import run_scene
from geoseg.batch.status import read_failures, read_status
from geoseg.batch.worker import JobError
from geoseg.config import Config
from geoseg.errors import ProductError, SceneError, SettingsError
from geoseg.pipeline import Pipeline
from geoseg.workflows.plan import Request, plan_scene
from geoseg.workflows.segment import segment
from geoseg.workflows.zones import ZoneFile
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import write_scene

CONFIG = Config(threads=1)
WHOLE = Shard()


class Quiet:
    """Keeps what a listener is told."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def begin(self, counts: dict[State, int], workers: int) -> None:
        pass

    def ended(self, record: Record) -> None:
        self.records.append(record)

    def say(self, text: str) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three scenes and a file that is none; a bundle beside them."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for k in range(3):
        write_scene(folder / f"s{k}.tif", height=90 + 7 * k, width=120, seed=k)
    (folder / "bad.tif").write_text("hello")
    tiny_bundle(tmp_path / "bundle")
    return folder


def pipeline(archive: Path, **tiling: Any) -> Pipeline:
    content = {"name": "test", "model": str(archive.parent / "bundle"), "tiling": {"tile": 64, "margin": 0, **tiling}}
    return Pipeline.model_validate({**content, "inference": {"engine": "torch-cpu", "precision": "fp32"}})


def plan(archive: Path, out: Path, **tiling: Any) -> Planned:
    return plan_batch(BatchRequest(source=str(archive), pipeline=pipeline(archive, **tiling), config=CONFIG), out)


def run(out: Path, listener: Quiet | None = None, **options: Any) -> Summary:
    return run_batch(out, RunOptions(config=CONFIG, **options), listener or Quiet())


def tickets(out: Path) -> dict[str, Ticket]:
    entries = enumerate(read_manifest(Place(out=out)), start=1)
    found = (Ticket(row=k, scene=one.scene, uri=one.uri, fingerprint=one.fingerprint, attempts=1) for k, one in entries)
    return {Path(ticket.uri).stem: ticket for ticket in found}


def pixels(path: Path) -> Any:
    with rasterio.open(path) as dataset:
        return dataset.read()


def products(out: Path) -> Iterator[tuple[str, Path]]:
    for name, ticket in tickets(out).items():
        folder = Place(out=out).scene(ticket.scene)
        if (folder / "run.json").exists():
            yield name, folder


@pytest.mark.slow
def test_a_batch_makes_what_single_runs_make(archive: Path, tmp_path: Path) -> None:
    """And when it is run again it does nothing; when its ledger is lost, the products are believed."""
    out = tmp_path / "out"
    plan(archive, out)
    summary = run(out)
    assert summary.exit_code == 3
    assert {state: n for state, n in summary.counts.items() if n} == {"done": 3, "failed": 1}
    made = dict(products(out))
    assert made.keys() == {"s0", "s1", "s2"}
    with Ledger(Place(out=out).ledger(WHOLE)) as ledger:
        rows = {Path(row["uri"]).stem: row for row in ledger.rows()}
    for name, folder in made.items():
        single = tmp_path / name
        request = Request(source=str(archive / f"{name}.tif"), pipeline=pipeline(archive), config=CONFIG)
        segment(plan_scene(request), single)
        for raster in ("classes.tif", "confidence.tif"):
            assert np.array_equal(pixels(folder / raster), pixels(single / raster))
        areas = json.loads((single / "areas.json").read_text())
        assert json.loads((folder / "areas.json").read_text()) == areas
        kept = json.loads(rows[name]["areas"])["classes"]
        assert [(one["id"], one["area_m2"]) for one in kept] == [
            (one["id"], one["area_m2"]) for one in areas["classes"]
        ]
        assert rows[name]["output"] == str(folder.relative_to(out))
    (failure,) = read_failures(out)
    assert (failure["state"], failure["error_code"]) == ("failed", "scene")
    assert "bad.tif is neither GeoTIFF" in failure["error"]
    check_tables(out, made)
    again = Quiet()
    assert run(out, again).exit_code == 3
    assert again.records == []
    (made["s1"] / "classes.tif").unlink()
    for path in out.glob("journal.sqlite*"):
        path.write_bytes(b"lost" * 1000)
    found = repair(out)
    assert (found.scenes, found.done, found.failed) == (4, 2, 0)
    listener = Quiet()
    assert run(out, listener).exit_code == 3
    assert {Path(one.ticket.uri).stem: one.state for one in listener.records} == {"s1": "done", "bad": "failed"}
    assert read_status(out).counts["done"] == 3


def check_tables(out: Path, made: dict[str, Path]) -> None:
    """Each table says what the products say; sums are exact and are not called an area of the union."""
    results = write_results(out)
    documents = [json.loads((folder / "areas.json").read_text()) for folder in made.values()]
    for k, name, area in results.classes:
        parts = [one["area_m2"] for document in documents for one in document["classes"] if one["id"] == k]
        assert area == math.fsum(parts)
        assert name == f"class {k}"
    assert "not the area of their union" in results.to_json()["sum_over_scenes"]["note"]
    summary = pyarrow.parquet.read_table(out / "summary.parquet").to_pylist()
    assert {Path(row["uri"]).stem: row["state"] for row in summary} == {**dict.fromkeys(made, "done"), "bad": "failed"}
    for row in summary:
        if row["state"] == "done":
            document = json.loads((out / row["output"] / "areas.json").read_text())
            assert [row[f"area_m2_{one['id']}"] for one in document["classes"]] == [
                one["area_m2"] for one in document["classes"]
            ]
            assert row["footprint_m2"] == document["footprint_m2"]
        else:
            assert row["area_m2_0"] is None
    with (out / "areas.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 6
    with (out / "failures.csv").open() as stream:
        (failure,) = csv.DictReader(stream)
    assert failure["error_code"] == "scene"
    assert not list(out.glob(".*.tmp"))


def test_a_finished_scene_is_found_and_not_done_again(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan(archive, out)
    ticket = tickets(out)["s0"]
    first = run_scene(out, ticket, CONFIG)
    assert "skipped" not in first
    folder = Place(out=out).scene(ticket.scene)
    before = (folder / "run.json").stat().st_mtime_ns
    second = run_scene(out, ticket, CONFIG)
    assert second == {**first, "skipped": True}
    (folder / "confidence.tif").unlink()
    assert run_scene(out, ticket, CONFIG) == first, "an incomplete product is made again"
    assert (folder / "run.json").stat().st_mtime_ns != before


def test_a_scene_that_changed_or_is_gone_fails(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan(archive, out)
    found = tickets(out)
    write_scene(archive / "s0.tif", height=50, width=60)
    with pytest.raises(SceneError, match="has changed since the batch was planned"):
        run_scene(out, found["s0"], CONFIG)
    (archive / "s1.tif").unlink()
    with pytest.raises(SceneError, match="is not there"):
        run_scene(out, found["s1"], CONFIG)


def test_another_bundle_in_the_same_place_is_another_job(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan(archive, out)
    shutil.rmtree(tmp_path / "bundle")
    tiny_bundle(tmp_path / "bundle", seed=1)
    with pytest.raises(JobError, match="put that bundle back"):
        run_scene(out, tickets(out)["s0"], CONFIG)


def test_other_settings_are_refused_and_shown(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = plan(archive, out)
    assert first.is_new
    assert not plan(archive, out).is_new
    with pytest.raises(SettingsError, match=r"pipeline\.tiling\.tile: 64 -> 128\)") as caught:
        plan(archive, out, tile=128)
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match="source: "):
        plan_batch(BatchRequest(source=str(archive / "s0.tif"), pipeline=pipeline(archive), config=CONFIG), out)
    (tmp_path / "bundle").rename(tmp_path / "moved")
    moved = pipeline(archive).model_copy(update={"model": str(tmp_path / "moved")})
    assert not plan_batch(BatchRequest(source=str(archive), pipeline=moved, config=CONFIG), out).is_new
    assert read_job(out) == first.job


WEST = shapely.box(499_000, 5_399_000, 500_300, 5_401_000)
FAR = shapely.box(599_000, 5_399_000, 600_300, 5_401_000)


def write_zones(path: Path, *polygons: shapely.Polygon) -> ZoneFile:
    path.unlink(missing_ok=True)
    names = [f"zone {k}" for k in range(len(polygons))]
    frame = geopandas.GeoDataFrame({"name": names}, geometry=list(polygons), crs="EPSG:32633")
    frame.to_file(path, layer="zones")
    return ZoneFile(path=path)


def plan_zones(source: Path, archive: Path, out: Path, zones: ZoneFile) -> BatchRequest:
    request = BatchRequest(source=str(source), pipeline=pipeline(archive), config=CONFIG, zones=zones)
    plan_batch(request, out)
    return request


def test_areas_by_zone_are_told(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan_zones(archive / "s0.tif", archive, out, write_zones(tmp_path / "zones.gpkg", WEST, FAR))
    (ticket,) = tickets(out).values()
    result = run_scene(out, ticket, CONFIG)
    place = Place(out=out)
    with Ledger.create(place.ledger(WHOLE), read_manifest(place), job=read_job(out).digest) as ledger:
        ledger.write([Record(at=1.0, ticket=ticket, state="done", outcome="done", seconds=1, result=result)])
    names = [path.name for path in write_results(out).files]
    assert names == ["summary.parquet", "areas.csv", "zones.csv", "failures.csv"]
    with (out / "zones.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    document = json.loads((place.scene(ticket.scene) / "areas.json").read_text())
    assert [(row["zone"], row["class"]) for row in rows] == [("zone 0", "class 0"), ("zone 0", "class 1")]
    assert [float(row["area_m2"]) for row in rows] == [one["area_m2"] for one in document["zones"][0]["classes"]]


def test_zones_are_frozen_and_may_lie_beside_a_scene(archive: Path, tmp_path: Path) -> None:
    out, zones = tmp_path / "out", tmp_path / "zones.gpkg"
    request = plan_zones(archive, archive, out, write_zones(zones, FAR))
    made = run_scene(out, tickets(out)["s1"], CONFIG)
    assert made["areas"]["classes"], "a scene that no zone touches is done without"
    with pytest.raises(SceneError, match="neither GeoTIFF"):
        run_scene(out, tickets(out)["bad"], CONFIG)
    write_zones(zones, WEST)
    with pytest.raises(JobError, match="has changed since the batch was planned"):
        run_scene(out, tickets(out)["s0"], CONFIG)
    with pytest.raises(SettingsError, match="zones: "):
        plan_batch(request, out)


def test_folders_in_other_use_are_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="is a file"):
        plan(archive, archive / "bad.tif")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(ProductError, match="single run"):
        plan(archive, tmp_path / "run")
    with pytest.raises(ProductError, match="holds no batch"):
        run(tmp_path / "run")
    out = tmp_path / "out"
    plan(archive, out)
    (out / "batch.json").write_text('{"format": "geoseg batch 9"}')
    with pytest.raises(ProductError, match="damaged or of another version"):
        run(out)


def test_a_ledger_of_another_job_is_not_used(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan(archive, out)
    Ledger.create(Place(out=out).ledger(WHOLE), read_manifest(Place(out=out)), job="another")
    with pytest.raises(ProductError, match="belongs to another job"):
        run(out)


def test_status_counts_shards_that_were_not_begun(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = plan(archive, out).job
    place, shard = Place(out=out), Shard(index=1, count=3)
    Ledger.create(place.ledger(shard), read_manifest(place, shard), job=job.digest)
    found = read_status(out)
    assert (found.scenes, found.open, found.counts["pending"], found.ledgers) == (4, 4, 4, 1)
