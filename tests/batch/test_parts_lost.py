"""A part of a scene whose file was lost is made again, by the shard that it belongs to; no scene is lost in silence."""

from pathlib import Path

import pytest

from geoseg.batch.loop import Summary
from geoseg.batch.place import Place, Shard
from geoseg.batch.report import write_report
from geoseg.batch.run import RunOptions, run_batch
from geoseg.batch.status import read_status
from tests.batch.test_parts import Quiet, check_like_whole, config, huge, plan

__all__ = ["huge"]
SHARDS = 3


def run_shard(out: Path, index: int, count: int = SHARDS) -> Summary:
    return run_batch(out, RunOptions(config=config(0), shard=Shard(index=index, count=count)), Quiet())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["removed", "cut off"])
def test_a_shard_makes_its_lost_part_again(huge: Path, tmp_path: Path, how: str) -> None:
    """The last shard does not say that all is well; when the first is run again the scene has its product."""
    (huge / "narrow.tif").unlink()
    out = tmp_path / "out"
    tickets = plan(huge, out, 512)
    place, scene = Place(out=out), tickets["0/4"].scene
    assert run_shard(out, 0).exit_code == 0, "the scene waits for the other shards"
    file = place.part(scene, 0)
    if how == "removed":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:100])
    assert run_shard(out, 1).exit_code == 0
    last = run_shard(out, 2)
    assert (last.exit_code, last.counts["done"]) == (4, 1)
    assert "run every shard again" in last.stop.reason
    assert (read_status(out).lost, read_status(out).exit_code) == (1, 4)
    assert run_shard(out, 0).exit_code == 0
    assert read_status(out).exit_code == 0
    check_like_whole(huge, tmp_path, place.scene(scene))
    assert [run_shard(out, k).exit_code for k in range(SHARDS)] == [0, 0, 0]


@pytest.mark.slow
def test_a_lost_product_of_a_scene_in_parts_is_told_and_made_again(huge: Path, tmp_path: Path) -> None:
    (huge / "narrow.tif").unlink()
    out = tmp_path / "out"
    tickets = plan(huge, out, 1000)
    assert run_shard(out, 0, 1).exit_code == 0
    folder = Place(out=out).scene(tickets["0/2"].scene)
    (folder / "run.json").unlink()
    assert any("1 " in remark and "product" in remark for remark in write_report(out).remarks)
    assert run_shard(out, 0, 1).exit_code == 0
    check_like_whole(huge, tmp_path, folder)
    assert not any("product" in remark for remark in write_report(out).remarks)
