"""Fixtures of every test; rasters are made by tests/raster/factory.py."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# In CI the examples are the same every time: a landing is not stopped by what another change would have met as well.
settings.register_profile(
    "geoseg",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("geoseg")

ROOT = Path(__file__).resolve().parent.parent


def find_test_data() -> Path | None:
    """The folder of real data: GEOSEG_TEST_DATA, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("GEOSEG_TEST_DATA") or ROOT.parent / "shared" / "data")
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data; skips where it is absent."""
    folder = find_test_data()
    if folder is None:
        pytest.skip("no real data: set GEOSEG_TEST_DATA to the folder of test data")
    return folder
