"""A huge scene done in parts by several workers: the same pixels and areas as in one piece, whatever the parts."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geoseg.batch.event import Record, State, Ticket
from geoseg.batch.job import read_job
from geoseg.batch.ledger import Ledger
from geoseg.batch.manifest import Part, read_manifest
from geoseg.batch.place import Place, Shard
from geoseg.batch.plan import BatchRequest, plan_batch
from geoseg.batch.results import write_results
from geoseg.batch.run import RunOptions, run_batch
from geoseg.batch.scene_work import run_scene
from geoseg.batch.status import read_status
from geoseg.config import Config
from geoseg.pipeline import Pipeline
from geoseg.workflows.parts import part_width
from geoseg.workflows.plan import Request, plan_scene
from geoseg.workflows.segment import segment
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import write_scene


class Quiet:
    def begin(self, counts: dict[State, int], workers: int) -> None:
        pass

    def ended(self, record: Record) -> None:
        pass

    def say(self, text: str) -> None:
        pass


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A wide scene, beside a narrow one, and a network that looks around itself."""
    folder = tmp_path / "archive"
    folder.mkdir()
    write_scene(folder / "huge.tif", height=300, width=1700)
    write_scene(folder / "narrow.tif", height=60, width=200)
    tiny_bundle(tmp_path / "bundle", kind="unet")
    return folder


def pipeline(archive: Path) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "test",
            "model": str(archive.parent / "bundle"),
            "tiling": {"tile": 128, "margin": 16, "ramp": 16},
            "inference": {"engine": "torch-cpu", "precision": "fp32"},
            "products": ["classes", "confidence", "areas", "polygons"],
        }
    )


def config(block: int, **cluster: Any) -> Config:
    return Config.model_validate({"threads": 1, "cluster": {"block": block, **cluster}})


def plan(archive: Path, out: Path, block: int) -> dict[str, Ticket]:
    plan_batch(BatchRequest(source=str(archive), pipeline=pipeline(archive), config=config(block)), out)
    entries = enumerate(read_manifest(Place(out=out)), start=1)
    found = [Ticket(row=k, scene=one.scene, uri=one.uri, fingerprint=one.fingerprint, attempts=1) for k, one in entries]
    return {ticket.uri.rpartition("/")[2] if "#" not in ticket.uri else ticket.uri[-3:]: ticket for ticket in found}


def check_like_whole(archive: Path, tmp_path: Path, folder: Path) -> None:
    single = tmp_path / "single"
    request = Request(source=str(archive / "huge.tif"), pipeline=pipeline(archive), config=Config(threads=1))
    segment(plan_scene(request), single, overwrite=True)
    for name in ("classes.tif", "confidence.tif"):
        with rasterio.open(folder / name) as made, rasterio.open(single / name) as whole:
            assert np.array_equal(made.read(), whole.read())
    assert json.loads((folder / "areas.json").read_text()) == json.loads((single / "areas.json").read_text())
    made_record, whole_record = (json.loads((one / "run.json").read_text()) for one in (folder, single))
    assert (made_record["job"], made_record["notes"]) == (whole_record["job"], whole_record["notes"])


@pytest.mark.parametrize(("block", "parts"), [(512, 4), (600, 2), (1000, 2), (1700, 1)])
def test_parts_make_the_whole(huge: Path, tmp_path: Path, block: int, parts: int) -> None:
    """In any order; requested widths are rounded up to 512."""
    out = tmp_path / "out"
    tickets = plan(huge, out, block)
    assert len(tickets) == parts + 1, "the narrow scene is whole"
    assert (read_job(out).block, read_job(out).scenes) == (part_width(block), parts + 1)
    assert read_status(out).counts["pending"] == parts + 1
    chosen = [ticket for ticket in tickets.values() if "huge" in ticket.uri][::-1]
    results = [run_scene(out, ticket, Config(threads=1)) for ticket in chosen]
    folder = Place(out=out).scene(chosen[0].scene)
    assert {result["output"] for result in results} == {str(folder.relative_to(out))}
    check_like_whole(huge, tmp_path, folder)
    assert not list((out / "parts").rglob("*.*"))
    assert run_scene(out, chosen[0], Config(threads=1))["skipped"]


def test_a_part_of_another_job_or_cut_off_is_made_again(huge: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tickets = plan(huge, out, 1000)
    first, second = tickets["0/2"], tickets["1/2"]
    run_scene(out, first, Config(threads=1))
    path = Place(out=out).part(first.scene, 0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    run_scene(out, second, Config(threads=1))
    assert not (Place(out=out).scene(first.scene) / "run.json").exists(), "not of half a part"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("part.json", json.dumps({"job": "another", "panel": [0, 1024], "windows": [], "notes": []}))
    run_scene(out, second, Config(threads=1))
    assert not (Place(out=out).scene(first.scene) / "run.json").exists(), "not of another job"
    run_scene(out, first, Config(threads=1))
    check_like_whole(huge, tmp_path, Place(out=out).scene(first.scene))


def test_parts_that_nobody_put_together_are_found(huge: Path, tmp_path: Path) -> None:
    """Two workers on a network file system, each of which missed the other's part; and areas are counted once."""
    out = tmp_path / "out"
    tickets = plan(huge, out, 1000)
    place, done = Place(out=out), []
    for name in ("0/2", "1/2"):
        result = run_scene(out, tickets[name], Config(threads=1))
        done.append(Record(at=1.0, ticket=tickets[name], state="done", outcome="done", seconds=1.0, result=result))
        if name == "0/2":
            kept = place.part(tickets[name].scene, 0).read_bytes()
    folder = place.scene(tickets["0/2"].scene)
    (folder / "run.json").unlink()
    for k in range(2):  # whatever is in them: the first is whole, the second is made again
        place.part(tickets["0/2"].scene, k).parent.mkdir(parents=True, exist_ok=True)
        place.part(tickets["0/2"].scene, k).write_bytes(kept)
    with Ledger.create(place.ledger(Shard()), read_manifest(place), job=read_job(out).digest) as ledger:
        ledger.write(done)
    summary = run_batch(out, RunOptions(config=config(0)), Quiet())
    assert summary.counts["done"] == 3
    check_like_whole(huge, tmp_path, folder)
    results = write_results(out)
    assert results.scenes == 2
    narrow = json.loads((place.scene(tickets["narrow.tif"].scene) / "areas.json").read_text())
    wide = json.loads((folder / "areas.json").read_text())
    for k, (_, _, area) in enumerate(results.classes):
        assert area == wide["classes"][k]["area_m2"] + narrow["classes"][k]["area_m2"]


@pytest.mark.slow
@pytest.mark.alone
def test_two_workers_share_a_scene(huge: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tickets = plan(huge, out, 512)
    summary = run_batch(out, RunOptions(config=config(512, kind="local", workers=2)), Quiet())
    assert (summary.exit_code, summary.counts["done"]) == (0, 5)
    check_like_whole(huge, tmp_path, Place(out=out).scene(tickets["0/4"].scene))


def test_the_name_of_a_part() -> None:
    assert Part.parse("/a/b.tif") == Part(uri="/a/b.tif", index=0, count=1)
    assert Part.parse("/a#part=1/b.tif#part=2/8") == Part(uri="/a#part=1/b.tif", index=2, count=8)
    assert [part_width(n) for n in (1, 512, 2048, 3072, 5000)] == [512, 512, 2048, 3072, 5120]
