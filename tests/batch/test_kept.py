"""What a worker keeps from one scene to the next: the network, the bundle, the zones; and when it lets them go."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import rasterio
import torch

from geoseg.batch import scene_work
from geoseg.batch.place import Place
from geoseg.batch.worker import JobError
from geoseg.model import bundle, network
from geoseg.model.network import NetworkCache
from geoseg.workflows import zones
from geoseg.workflows.plan import Request, plan_scene
from geoseg.workflows.segment import segment
from tests.batch.test_batch import CONFIG, FAR, WEST, archive, pipeline, plan, plan_zones, tickets, write_zones
from tests.model.bundles import tiny_bundle

__all__ = ["archive"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was loaded, in order; each is really loaded."""
    found: list[str] = []

    def watch(module: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(module, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            found.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, watched)

    watch(network, "prepare_network")
    watch(bundle, "_hash_weights")
    watch(zones, "read_zones")
    watch(scene_work, "plan_scene")
    scene_work._networks.cache_clear()
    bundle._read.cache_clear()
    scene_work._read_zones.cache_clear()
    return found


def test_a_worker_loads_its_bundle_once_and_the_maps_stay_those_of_single_runs(
    archive: Path, tmp_path: Path, calls: list[str]
) -> None:
    """Scenes of several sizes, tiles of several shapes: nothing of one is left in the next."""
    out = tmp_path / "out"
    tiny_bundle(tmp_path / "bundle", kind="unet")
    plan(archive, out)
    calls.clear()
    for name in ("s0", "s1", "s2"):
        scene_work.run_scene(out, tickets(out)[name], CONFIG)
    assert calls.count("prepare_network") == 1
    assert calls.count("_hash_weights") <= 1
    for name in ("s2", "s0", "s1"):
        request = Request(source=str(archive / f"{name}.tif"), pipeline=pipeline(archive), config=CONFIG)
        segment(plan_scene(request), tmp_path / name)
        folder = Place(out=out).scene(tickets(out)[name].scene)
        for raster in ("classes.tif", "confidence.tif"):
            with rasterio.open(folder / raster) as kept, rasterio.open(tmp_path / name / raster) as single:
                assert np.array_equal(kept.read(), single.read()), (name, raster)
        assert (folder / "areas.csv").read_text() == (tmp_path / name / "areas.csv").read_text()


def test_there_is_one_network_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before is gone before the next is there; precision and weights tell them apart."""
    first, second = tiny_bundle(tmp_path / "a", seed=1), tiny_bundle(tmp_path / "b", seed=2)
    cache = NetworkCache()
    one = cache.prepare(first, precision="fp32", device="cpu")
    assert cache.prepare(first, precision="fp32", device="cpu") is one
    weights = [parameter.clone() for parameter in one.parameters()]
    gone = weakref.ref(one)
    del one
    real, alive = network.prepare_network, list[bool]()

    def prepare(*args: Any, **kwargs: Any) -> torch.nn.Module:
        alive.append(gone() is not None)
        return real(*args, **kwargs)

    monkeypatch.setattr(network, "prepare_network", prepare)
    other = cache.prepare(second, precision="fp32", device="cpu")
    assert alive == [False], "two networks in memory"
    pairs = zip(weights, other.parameters(), strict=True)
    assert not all(torch.equal(before, now) for before, now in pairs)
    assert cache.prepare(second, precision="bf16", device="cpu") is not other


def test_scene_after_scene_needs_no_more_memory(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan(archive, out)
    ticket, process, sizes = tickets(out)["s0"], psutil.Process(), []
    for _ in range(40):
        (Place(out=out).scene(ticket.scene) / "run.json").unlink(missing_ok=True)
        scene_work.run_scene(out, ticket, CONFIG)
        sizes.append(process.memory_info().rss)
    assert sizes[-1] - sizes[9] < 8 * 2**20, "30 scenes of 130 kB"


def test_zones_are_read_once(archive: Path, tmp_path: Path, calls: list[str]) -> None:
    """And a scene that is refused for itself is not planned again without them."""
    out, file = tmp_path / "out", tmp_path / "zones.gpkg"
    plan_zones(archive, archive, out, write_zones(file, WEST))
    calls.clear()
    for name in ("s0", "s1", "s2"):
        scene_work.run_scene(out, tickets(out)[name], CONFIG)
    assert calls.count("read_zones") == 1
    calls.clear()
    with pytest.raises(Exception, match="neither GeoTIFF"):
        scene_work.run_scene(out, tickets(out)["bad"], CONFIG)
    assert calls == ["plan_scene"]


def test_zones_that_are_gone_stop_the_batch_and_blame_no_scene(archive: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "zones.gpkg"
    plan_zones(archive, archive, out, write_zones(file, FAR))
    file.unlink()
    with pytest.raises(JobError, match="put them back"):
        scene_work.run_scene(out, tickets(out)["s0"], CONFIG)
