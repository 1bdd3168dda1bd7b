"""Lengths along a grid against Karney's geodesics over the same edges, cut fine."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from geoseg.vector import measure as measure_module
from geoseg.vector.measure import EdgeLength

GRIDS = {
    "utm tile": ("EPSG:32632", Affine(10, 0, 399960, 0, -10, 5e6), (10980, 10980)),
    "utm beyond its zone": ("EPSG:32632", Affine(10, 0, 8e5, 0, -10, 1e6), (16384, 16384)),
    "web mercator": ("EPSG:3857", Affine(10, 0, 1e6, 0, -10, 9e6), (8000, 8000)),
    "degrees over 180": ("EPSG:4326", Affine(1e-4, 0, 179.5, 0, -1e-4, 60), (9000, 9000)),
    "the world, poles too": ("EPSG:4326", Affine(0.01, 0, -180, 0, -0.01, 90), (18000, 36000)),
    "a pole inside": ("EPSG:3413", Affine(30, 0, -2e5, 0, -30, 2e5), (13000, 13000)),
    "rotated": ("EPSG:3035", Affine(9, 2, 4e6, 2, -9, 3e6), (5000, 5000)),
    "sheared degrees": ("EPSG:4326", Affine(1e-4, 1e-5, 10, 2e-5, -1e-4, 80), (100, 50000)),
    "huge pixels": ("EPSG:4326", Affine(0.3, 0, -30, 0, -0.5, 80), (300, 200)),
    "flat": ("EPSG:32632", Affine(0.5, 0, 4e5, 0, -0.5, 5e6), (1, 40000)),
    "one pixel": ("EPSG:32632", Affine(0.5, 0, 4e5, 0, -0.5, 5e6), (1, 1)),
}


def compare(name: str, seed: int) -> None:
    crs, affine, (height, width) = GRIDS[name]
    rng = np.random.default_rng(seed)
    edges = 150
    row, col = (rng.integers(0, most + 1, edges).astype(float) for most in (height, width))
    pixels = rng.integers(1, 400, edges) * rng.choice([-1, 1], edges)
    down = rng.random(edges) < 0.5
    ahead_row = np.where(down, np.clip(row + pixels, 0, height), row)
    ahead_col = np.where(down, col, np.clip(col + pixels, 0, width))
    after = np.concatenate([np.arange(edges) + edges, np.arange(edges)])
    length = EdgeLength(GeoBox((height, width), affine, crs))
    found = length.of(np.concatenate([row, ahead_row]), np.concatenate([col, ahead_col]), after)
    assert found[:edges] == pytest.approx(found[edges:], rel=1e-9)  # there and back
    share = np.linspace(0, 1, 801)
    rows, cols = row[:, None] + (ahead_row - row)[:, None] * share, col[:, None] + (ahead_col - col)[:, None] * share
    a, b, c, d, e, f = affine[:6]
    x, y = Transformer.from_crs(crs, 4326, always_xy=True).transform(a * cols + b * rows + c, d * cols + e * rows + f)
    geod = Geod(ellps="WGS84")
    expected = [geod.line_length(*line) for line in zip(x, y, strict=True)]
    assert found[:edges] == pytest.approx(expected, rel=3e-7, abs=1e-6)


@pytest.mark.parametrize("name", GRIDS)
def test_lengths_are_those_of_karney(name: str) -> None:
    compare(name, 1)


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(sorted(GRIDS)), seed=st.integers(0, 2**32))
def test_lengths_are_those_of_karney_anywhere(name: str, seed: int) -> None:
    compare(name, seed)


@pytest.mark.parametrize("name", ["utm tile", "a pole inside", "huge pixels", "one pixel"])
def test_geodesics_take_over_where_nodes_would_be_too_many(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "_MOST_NODES", 1)
    compare(name, 2)
