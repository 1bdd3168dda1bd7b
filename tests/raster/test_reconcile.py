"""A map read on another grid: each pixel has the class that holds its centre, found one by one with rasterio."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.warp
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.core.placement import same_lattice
from geoseg.raster.classmap import read_classmap
from geoseg.raster.reconcile import read_rows_on
from tests.raster.factory import make_raster

UTM = "EPSG:32633"
PLACE = Affine(10, 0, 500_000, 0, -10, 5_400_000)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 99),
    crs=st.sampled_from([UTM, "EPSG:4326", "EPSG:3857"]),
    turn=st.sampled_from([0.0, 25.0, 180.0]),
    rows=st.sampled_from([1, 7, 512]),
    kind=st.sampled_from(["none", "value", "mask"]),
)
def test_each_pixel_takes_the_class_that_holds_its_centre(
    seed: int, crs: str, turn: float, rows: int, kind: Any, tmp_path: Path
) -> None:
    """Each centre goes through rasterio's own transform, alone; the file's mask is rasterio's as well."""
    side = {UTM: 9.0, "EPSG:3857": 13.0, "EPSG:4326": 1e-4}[crs]
    (x,), (y,) = rasterio.warp.transform(UTM, crs, [500_103.0], [5_399_871.0])
    there = Affine.translation(x, y) * Affine.rotation(turn) * Affine.scale(side, -side)
    values = np.random.default_rng(seed).integers(1, 5, (1, 21, 17)).astype(np.uint8)
    made = make_raster(tmp_path / "map.tif", pixels=values, transform=there, crs=crs, nodata=kind, seed=seed)
    grid = GeoBox((33, 29), PLACE, UTM)
    got = np.concatenate([labels for _, labels in read_rows_on(read_classmap(made.path), grid, rows=rows)])
    assert got.shape == (33, 29)
    inside = 0
    for row in range(33):
        for col in range(29):
            xs, ys = rasterio.warp.transform(UTM, crs, *([one] for one in PLACE * (col + 0.5, row + 0.5)))
            c, r = ~there * (xs[0], ys[0])
            if min(abs(c - round(c)), abs(r - round(r))) < 1e-5:
                continue  # on a border: either is right
            seen = 0 <= r < 21 and 0 <= c < 17 and made.valid[int(r), int(c)]
            assert got[row, col] == (values[0, int(r), int(c)] if seen else 255)
            inside += seen
    assert inside


def test_a_far_finer_map_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).integers(0, 3, (90, 90)).astype(np.uint8)
    fine = make_raster(tmp_path / "fine.tif", pixels=values[None], transform=PLACE * Affine.scale(0.1), crs=UTM)
    grid = GeoBox((9, 9), PLACE, UTM)
    monkeypatch.setattr("geoseg.raster.reconcile._MAX_SOURCE_PIXELS", 300)
    ((_, got),) = read_rows_on(read_classmap(fine.path), grid)
    assert np.array_equal(got, values[5::10, 5::10])


@pytest.mark.parametrize(
    ("transform", "crs", "same"),
    [
        (PLACE, UTM, True),
        (PLACE * Affine.translation(7, -3), UTM, True),
        (PLACE * Affine.translation(7.2, -3), UTM, False),
        (PLACE * Affine.scale(2), UTM, False),
        (PLACE * Affine.scale(0.5), UTM, False),
        (PLACE * Affine.scale(2, 1), UTM, False),
        (PLACE * Affine.scale(1, 2), UTM, False),
        (PLACE * Affine.rotation(90), UTM, False),
        (PLACE, "EPSG:32634", False),
    ],
)
def test_pixels_of_one_lattice(transform: Affine, crs: str, same: bool) -> None:
    assert same_lattice(GeoBox((30, 40), PLACE, UTM), GeoBox((31, 50), transform, crs)) is same
