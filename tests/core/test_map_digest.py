"""A map's digest: equal for one map in other words, different for every other map and every other place."""

import numpy as np
import pytest
from pyproj import CRS

from geoseg.core.map_digest import PixelDigest, digest_map, same_crs

TRANSFORM = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_400_000.0)
LAMBERT = "+proj=lcc +lat_1=12 +lat_2=41 +lat_0=3 +lon_0=7.5 +ellps=GRS80 +units=m +type=crs"


def digest(*, crs: str = "EPSG:32633", transform: tuple[float, ...] = TRANSFORM, value: int = 1) -> str:
    pixels = PixelDigest((4, 6))
    pixels.add(np.full((4, 6), value, np.uint8))
    return digest_map(pixels.sha256, crs=crs, transform=transform)


def test_rows_may_come_in_any_blocks() -> None:
    labels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    whole, parts, turned = PixelDigest((4, 6)), PixelDigest((4, 6)), PixelDigest((6, 4))
    whole.add(labels)
    for part in (labels[:1], labels[1:]):
        parts.add(part)
    turned.add(labels.reshape(6, 4))
    assert whole.sha256 == parts.sha256 != turned.sha256


@pytest.mark.parametrize("crs", ["EPSG:32633", LAMBERT])
def test_one_map_in_other_words(crs: str) -> None:
    """WKT of both versions, a zero with a sign, the last bit of a number."""
    a, b, c, d, e, f = TRANSFORM
    for form in ("WKT2_2019", "WKT1_GDAL") if crs != LAMBERT else ("WKT2_2019",):
        assert digest(crs=CRS.from_user_input(crs).to_wkt(form)) == digest(crs=crs)
    moved = (a, -b, float(np.nextafter(c, 0)), -d, float(np.nextafter(e, 0)), f)
    assert digest(crs=crs, transform=moved) == digest(crs=crs)


def test_other_pixels_and_places_are_other_maps() -> None:
    """UTM zones 32 and 33 agree in everything but the place: pixels, coordinates, areas."""
    others = [
        digest(),
        digest(value=2),
        digest(crs="EPSG:32632"),
        digest(crs=LAMBERT),
        digest(transform=(*TRANSFORM[:5], 5_400_010.0)),
        digest(transform=(10.0, 0.0, 500_000.0, 0.0, 10.0, 5_400_000.0)),
    ]
    assert len(set(others)) == len(others)


def test_the_same_crs_in_other_words() -> None:
    assert same_crs("EPSG:4326", "OGC:CRS84")
    assert same_crs("EPSG:32633", CRS.from_epsg(32633).to_wkt("WKT1_GDAL"))
    assert not same_crs("EPSG:32633", "EPSG:32632")
    assert not same_crs("EPSG:32633", "no such place")
