"""The benchmarks of batches run, tiny, so that they cannot rot; what they measure is no matter here."""

import subprocess
import sys

import pytest

from benchmarks.batch_chaos import drill
from benchmarks.batch_overhead import measure_batch, measure_ledger


def test_the_ledger_is_measured() -> None:
    assert measure_ledger(2000)["rows"] == 2000


@pytest.mark.slow
@pytest.mark.alone
def test_overhead_is_measured() -> None:
    found = measure_batch(300, kind="here", workers=1)
    assert found["scenes"] == 300
    assert 0 < found["first_result_s"] < 30


@pytest.mark.long
@pytest.mark.alone
def test_the_drill_at_length() -> None:
    found = drill(1000, "local")
    assert found["lost"] == 0
    assert found["exit_codes"] == [-9, 130, 3, 3]


def test_a_driver_carries_none_of_what_its_workers_need() -> None:
    """Its memory is bounded by it: torch alone takes twice what a driver of 100,000 scenes may."""
    heavy = "torch", "geopandas", "pyogrio", "scipy", "exactextract"
    code = f"import sys, geoseg.batch.run; print(*(one for one in {heavy} if one in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
