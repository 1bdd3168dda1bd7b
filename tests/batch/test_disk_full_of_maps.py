"""Real maps on a disk that fills up: GDAL and torch are loaded here, which the workers of other tests do without."""

from pathlib import Path

import pytest

from geoseg.batch.run import run_batch
from tests.batch.chaos import Told
from tests.batch.test_batch import plan
from tests.batch.test_disk_full import check_finished, check_stopped, fill, options_of, small_disk
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import write_scene

__all__ = ["small_disk"]
pytestmark = [pytest.mark.alone, pytest.mark.slow]


def test_maps_that_no_longer_fit_stop_the_batch_and_it_resumes(small_disk: Path, tmp_path: Path) -> None:
    """Whichever library meets the full disk first: GDAL's writers say it in their own words."""
    archive, out = tmp_path / "archive", small_disk / "out"
    archive.mkdir()
    tiny_bundle(tmp_path / "bundle")
    for k in range(8):
        write_scene(archive / f"{k}.tif", height=500, width=700, seed=k)
    plan(archive, out)
    filler, options = fill(small_disk, leave=2_000_000), options_of("here")
    check_stopped(out, options, 8)
    assert not list(out.glob("scenes/*/*/.[0-9a-z]*/*")), "a half-made product is left"
    filler.unlink()
    assert run_batch(out, options, Told()).exit_code == 0
    check_finished(out, 8)
    assert len(list(out.glob("scenes/*/*/run.json"))) == 8
