"""What was frozen is held to: another manifest, other products or inputs than those of the batch do not get in."""

import os
import shutil
import time
from pathlib import Path

import pytest

from geoseg.batch.driver import Driver
from geoseg.batch.event import Offered, Record, Submit, Ticked, Ticket
from geoseg.batch.job import read_job, write_job
from geoseg.batch.ledger import Ledger
from geoseg.batch.manifest import read_manifest
from geoseg.batch.place import Place, Shard
from geoseg.batch.policy import Policy, bounded
from geoseg.batch.repair import repair
from geoseg.batch.run import open_ledger
from geoseg.batch.scene_work import run_scene
from geoseg.batch.status import read_status
from geoseg.batch.union import done_layers
from geoseg.batch.worker import JobError
from geoseg.errors import ProductError
from tests.batch.chaos import make_batch
from tests.batch.test_batch import CONFIG, WEST, archive, plan, plan_zones, run, tickets, write_zones
from tests.workflows.test_segment import write_scene

__all__ = ["archive"]
WHOLE = Shard()


def make(out: Path, *names: str) -> None:
    """Products without a ledger."""
    for name in names:
        run_scene(out, tickets(out)[name], CONFIG)


def lose_ledgers(out: Path) -> None:
    for path in out.glob("journal.sqlite*"):
        path.unlink()


def test_another_manifest_is_refused_wherever_it_is_read(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    make_batch(out, 5)
    make_batch(other, 3)
    shutil.copy(Place(out=other).manifest, Place(out=out).manifest)
    place, job = Place(out=out), read_job(out)
    with pytest.raises(ProductError, match="not the one"):
        open_ledger(place, job, WHOLE)
    with pytest.raises(ProductError, match="not the one"):
        repair(out)
    with pytest.raises(ProductError, match="not the one"):
        done_layers(out, "first")
    assert place.ledgers() == []
    assert not list(out.glob(".*.tmp"))


def test_products_of_two_versions_do_not_mix(archive: Path, tmp_path: Path) -> None:
    """Neither here nor on a worker of another machine."""
    out = tmp_path / "out"
    job = plan(archive, out).job
    write_job(job.model_copy(update={"output_version": job.output_version + 1}), Place(out=out))
    with pytest.raises(ProductError, match=r"products have version .* plan the batch again"):
        run(out)
    with pytest.raises(JobError, match="the same geoseg"):
        make(out, "s0")


def test_repair_takes_only_products_of_the_input_as_it_was_planned(archive: Path, tmp_path: Path) -> None:
    """A scene was replaced, and planned again; what the old one gave is no product of this batch."""
    out = tmp_path / "out"
    plan(archive, out)
    make(out, "s0", "s1")
    for name in ("batch.json", "manifest.parquet"):
        (out / name).unlink()
    write_scene(archive / "s0.tif", height=90, width=120, seed=9)
    os.utime(archive / "s0.tif", ns=(time.time_ns(), time.time_ns() + 10**9))
    plan(archive, out)
    assert repair(out).done == 1
    lose_ledgers(out)
    make(out, "s0")
    assert repair(out).done == 2


def test_repair_takes_only_products_of_the_same_zones(archive: Path, tmp_path: Path) -> None:
    out, zones = tmp_path / "out", write_zones(tmp_path / "zones.gpkg", WEST)
    plan_zones(archive, archive, out, zones)
    make(out, "s0")
    assert repair(out).done == 1
    lose_ledgers(out)
    job = read_job(out)
    write_job(job.model_copy(update={"zones": None}), Place(out=out))
    assert repair(out).done == 0


def test_repair_believes_the_old_ledger_where_the_input_is_gone(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = plan(archive, out).job
    place, ticket = Place(out=out), tickets(out)["s0"]
    result = run_scene(out, ticket, CONFIG)
    (archive / "s0.tif").unlink()
    assert repair(out).done == 0, "nobody knows of what it was made"
    lose_ledgers(out)
    with Ledger.create(place.ledger(WHOLE), read_manifest(place), job=job.digest) as ledger:
        ledger.write([Record(at=1.0, ticket=ticket, state="done", outcome="done", seconds=1.0, result=result)])
    assert repair(out).done == 1


def test_repair_frees_the_number_of_shards_and_keeps_failures_before_a_bad_page(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_batch(out, 3000)
    place, shard = Place(out=out), Shard(index=0, count=2)
    place.shards.write_text("2")
    with open_ledger(place, read_job(out), shard) as ledger:
        ledger.write(
            Record(at=1.0, ticket=one, state="failed", outcome="broke", code="scene", error="bad")
            for one in ledger.pending(after=0, count=3000)
        )
    path = place.ledger(shard)
    good = path.read_bytes()
    page = len(good) // 4096 // 2
    path.write_bytes(good[: page * 4096] + bytes(4096) + good[(page + 1) * 4096 :])
    with pytest.raises(ProductError, match=r"00000-of-00002.sqlite is damaged .* batch repair"):
        read_status(out)
    assert 0 < repair(out).failed <= 1500
    assert not place.shards.exists()
    assert read_status(out).counts["pending"] + read_status(out).counts["failed"] == 3000


def test_a_clock_that_was_ahead_puts_no_scene_off_for_long() -> None:
    policy = Policy(backoff_s=1.0, backoff_most_s=10.0)
    late = Ticket(row=1, scene="a", uri="/a.tif", fingerprint="x", not_before=1e6)
    driver = Driver(policy, workers=1)
    driver.on(Ticked(at=100.0))
    driver.on(Offered(at=100.0, tickets=(late,)))
    driver.on(Offered(at=100.0, tickets=()))
    assert driver.wake_at == 115.0
    assert any(isinstance(order, Submit) for order in driver.on(Ticked(at=115.0)))
    assert bounded(late, 100.0, policy).not_before == 115.0
    soon = Ticket(row=1, scene="a", uri="/a.tif", fingerprint="x", not_before=101.0)
    assert bounded(soon, 100.0, policy) == soon
