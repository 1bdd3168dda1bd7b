"""Which grids may carry an area: known good and known bad places on the Earth."""

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Transformer

from geoseg.core.grid import check_grid, ground_pixel_m, same_grid
from geoseg.errors import SceneError

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
SHAPE = (64, 64)


def degrees(lon: float, lat: float, step: float = 0.001) -> Affine:
    return Affine(step, 0, lon, 0, -step, lat)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32632", UTM),
        ("EPSG:32632", Affine(10, 0, 500_000, 0, 10, 4_999_360)),
        ("EPSG:32632", Affine(-10, 0, 500_640, 0, -10, 5_000_000)),
        ("EPSG:32632", Affine(8.66, 5, 500_000, 5, -8.66, 5_000_000)),
        ("EPSG:32632", Affine(0, 10, 500_000, 10, 0, 5_000_000)),
        ("EPSG:32636", Affine(30, 0, 808_755, 0, -30, 852_945)),
        ("EPSG:32632", Affine(10, 0, 166_000 - 500_000, 0, -10, 5_000_000)),
        ("EPSG:4326", degrees(10, 60)),
        ("EPSG:4326", degrees(179.99, 10)),
        ("EPSG:4326", degrees(290, -5)),
        ("EPSG:4326", Affine(360 / 64, 0, -180, 0, -180 / 64, 90)),
        ("EPSG:2225", Affine(30, 0, 6_000_000, 0, -30, 2_000_000)),
        ("EPSG:32661", Affine(10, 0, 1_999_680, 0, -10, 2_000_320)),
        ("EPSG:3031", Affine(250, 0, -8000, 0, -250, 8000)),
        ("EPSG:3857", Affine(10, 0, 20_037_300, 0, -10, 4_000_000)),
        ("EPSG:32660", Affine(100, 0, 770_000, 0, -100, 5_700_000)),
        ("EPSG:3035", Affine(100, 0, 4_000_000, 0, -100, 3_000_000)),
        ("ESRI:54009", Affine(250, 0, 1_000_000, 0, -250, 4_000_000)),
        ("+proj=sinu +R=6371007.181 +units=m", Affine(463.3, 0, 1_111_950, 0, -463.3, 6_671_703)),
        ("EPSG:7405", Affine(10, 0, 400_000, 0, -10, 300_000)),
        ("EPSG:4979", degrees(10, 50)),
        ("EPSG:4807", Affine(0.001, 0, 0.5, 0, -0.001, 52)),
    ],
)
def test_grids_on_the_earth_are_accepted(crs: str, transform: Affine) -> None:
    grid = check_grid(crs, transform, shape=SHAPE, place="scene.tif")
    assert grid.transform == transform
    assert tuple(grid.shape) == SHAPE
    assert grid.crs is not None
    assert len(grid.crs.proj.axis_info) == 2
    assert all(1e-2 < side < 1e6 for side in ground_pixel_m(grid))


@pytest.mark.parametrize(
    ("crs", "transform", "words"),
    [
        ("EPSG:32632", Affine(0, 0, 500_000, 0, 0, 5_000_000), "singular"),
        ("EPSG:32632", Affine(10, 10, 500_000, 10, 10, 5_000_000), "singular"),
        ("EPSG:32632", Affine(math.nan, 0, math.nan, 0, -10, 5_000_000), "not finite"),
        ("EPSG:32632", Affine(10, 0, math.inf, 0, -10, 5_000_000), "not finite"),
        ("EPSG:4326", degrees(10, 45, 1e-12), "too small"),
        ("EPSG:4326", degrees(0, 0.1, 1e-9), "impossible"),
        ("EPSG:4326", degrees(10, 91, 0.1), "latitude 91"),
        ("EPSG:4326", degrees(-8, 120), "latitude 120: .*swapped"),
        ("EPSG:4326", degrees(10, -89.99), "latitude -90.05"),
        ("EPSG:4326", degrees(-180, 80, 6), "latitude -304"),
        ("EPSG:4326", Affine(6, 0, -180, 0, -0.1, 10), "longitudes -180 to 204"),
        ("EPSG:4326", degrees(900, 10), "longitudes 900"),
        ("EPSG:32632", Affine(10, 0, 5_000_000, 0, -10, 5_000_000), "44 degrees outside the area of use"),
        ("EPSG:32632", Affine(10, 0, 5e8, 0, -10, 5_000_000), "off the Earth"),
        ("ESRI:54009", Affine(10, 0, -18_000_000, 0, -10, 8_000_000), "off the Earth"),
        ("+proj=geos +h=35785831 +lon_0=0", Affine(170_000, 0, -5_434_895, 0, -170_000, 5_434_895), "off the Earth"),
        ("+proj=longlat +R=1737400", degrees(10, 10, 0.01), "not the Earth"),
        ("+proj=eqc +R=3396190", Affine(100, 0, 0, 0, -100, 0), "not the Earth"),
        ('LOCAL_CS["site",UNIT["metre",1]]', UTM, "Engineering CRS"),
        ("EPSG:4978", UTM, "Geocentric|no horizontal"),
        ("EPSG:5773", UTM, "Vertical|no horizontal"),
        ("+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=40", degrees(10, 10), "pole|Earth"),
        ("nonsense", UTM, "cannot be understood"),
    ],
)
def test_grids_that_would_spoil_an_area_are_refused(crs: str, transform: Affine, words: str) -> None:
    with pytest.raises(SceneError, match=words) as caught:
        check_grid(crs, transform, shape=SHAPE, place="scene.tif")
    assert str(caught.value).startswith("scene.tif")
    assert "\n" not in str(caught.value)
    assert "gdal" in str(caught.value)


@pytest.mark.parametrize("code", ["EPSG:32632", "EPSG:4326", "EPSG:3857", "EPSG:2056", "ESRI:102039"])
def test_a_known_crs_keeps_its_short_name_however_it_was_written(code: str) -> None:
    x, y = Transformer.from_crs(4326, code, always_xy=True).transform(*_middle(code))
    step = 0.001 if CRS.from_user_input(code).is_geographic else 10
    transform = Affine(step, 0, x, 0, -step, y)
    grid = check_grid(CRS.from_user_input(code).to_wkt(), transform, shape=SHAPE, place="x")
    assert str(grid.crs) == code
    assert grid.crs is not None
    assert grid.crs.proj.area_of_use is not None


@settings(max_examples=25)
@given(
    lon=st.floats(-170, 170),
    lat=st.floats(-70, 70),
    angle=st.floats(0, 360),
    side_m=st.floats(0.5, 500),
    aspect=st.floats(0.3, 3),
)
def test_ground_pixels_are_geodesic_lengths(lon: float, lat: float, angle: float, side_m: float, aspect: float) -> None:
    """In an azimuthal projection centred on the scene the pixel at the centre is as large as it says."""
    crs = f"+proj=aeqd +lat_0={lat} +lon_0={lon} +ellps=WGS84"
    turned = Affine.rotation(angle) @ Affine.scale(side_m, -side_m * aspect)
    center = turned @ (32.0, 32.0)
    transform = Affine.translation(-center[0], -center[1]) @ turned
    height, width = ground_pixel_m(check_grid(crs, transform, shape=SHAPE, place="x"))
    assert (height, width) == pytest.approx((side_m * aspect, side_m), rel=1e-6)


def test_ground_pixel_of_web_mercator_is_smaller_than_it_says() -> None:
    grid = check_grid("EPSG:3857", Affine(10, 0, 1_000_000, 0, -10, 8_400_000), shape=SHAPE, place="x")
    x, y = 1_000_320.0, 8_399_680.0
    lons, lats = Transformer.from_crs(3857, 4326, always_xy=True).transform(np.array([x, x + 10]), np.array([y, y]))
    _, _, width = Geod(ellps="WGS84").inv(lons[0], lats[0], lons[1], lats[1])
    assert ground_pixel_m(grid)[1] == pytest.approx(width, rel=1e-9)
    assert width == pytest.approx(5.01, abs=0.01)


def test_grids_are_the_same_to_a_hundredth_of_a_pixel() -> None:
    grid = GeoBox(SHAPE, UTM, "EPSG:32632")
    near = GeoBox(SHAPE, Affine(10 + 1e-9, 0, 500_000.001, 0, -10, 5_000_000), "EPSG:32632")
    assert same_grid(grid, near)
    for other in (
        GeoBox(SHAPE, Affine(10, 0, 500_001, 0, -10, 5_000_000), "EPSG:32632"),
        GeoBox(SHAPE, Affine(10.01, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632"),
        GeoBox((64, 65), UTM, "EPSG:32632"),
        GeoBox(SHAPE, UTM, "EPSG:32633"),
    ):
        assert not same_grid(grid, other)


def _middle(code: str) -> tuple[float, float]:
    area = CRS.from_user_input(code).area_of_use
    assert area is not None
    return (area.west + area.east) / 2, (area.south + area.north) / 2
