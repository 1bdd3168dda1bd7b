"""Date and platform of a scene: read where they stand, never guessed."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.raster.acquired import find_acquired, read_name
from geoseg.raster.scene import open_scene


@pytest.mark.parametrize(
    ("name", "when", "platform"),
    [
        ("S2A_MSIL1C_20180101T101010_N0206_R022_T33UUP_20180203T121212.SAFE", "2018-01-01T10:10:10Z", "Sentinel-2A"),
        ("T33UUP_20180101T101010_B04.jp2", "2018-01-01T10:10:10Z", None),
        ("S2B_30UXC_20201231_0_L2A", "2020-12-31", "Sentinel-2B"),
        ("LC08_L1TP_123045_20180103_20180904_02_T1_B4.TIF", "2018-01-03", "Landsat-8"),
        ("LE07_L2SP_123045_20000229_20200904_02_T1_SR_B4.TIF", "2000-02-29", "Landsat-7"),
        ("LC81230452018003LGN00_B4.TIF", "2018-01-03", "Landsat-8"),
        ("2018-10-13, Sentinel-2B L1C, B08.tiff", "2018-10-13", "Sentinel-2B"),
        ("scene_20200131.tif", "2020-01-31", None),
    ],
)
def test_a_name_tells(name: str, when: str | None, platform: str | None) -> None:
    found = read_name(name)
    assert found is not None
    assert (found.when, found.platform) == (when, platform)
    assert name[:20] in found.source


@pytest.mark.parametrize(
    "name",
    ["2020.tif", "12345678.tif", "20200230.tif", "a_20200131_20200202.tif", "19600101.tif", "99990101.tif", "x.tif"],
)
def test_a_name_that_tells_nothing(name: str) -> None:
    """A year alone, a number, an impossible day, two days, days before satellites and to come."""
    assert read_name(name) is None


def write(path: Path, **tags: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=4, width=4, count=1, dtype="uint8", crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as out:  # fmt: skip
        out.write(np.ones((1, 4, 4), np.uint8))
        out.update_tags(**tags)
    return path


def test_tags_come_before_the_name(tmp_path: Path) -> None:
    scene = write(tmp_path / "scene_20200131.tif", ACQUISITION_DATE="2019-05-06", SPACECRAFT_ID="LANDSAT_8")
    found = find_acquired(open_scene(scene))
    assert found is not None
    assert (found.when, found.platform) == ("2019-05-06", "Landsat-8")
    assert "ACQUISITION_DATE" in found.source


def test_when_the_file_was_made_comes_last_and_is_said(tmp_path: Path) -> None:
    named = find_acquired(open_scene(write(tmp_path / "scene_20200131.tif", TIFFTAG_DATETIME="2021:02:03 04:05:06")))
    assert named is not None
    assert named.when == "2020-01-31"
    found = find_acquired(open_scene(write(tmp_path / "scene.tif", TIFFTAG_DATETIME="2021:02:03 04:05:06")))
    assert found is not None
    assert found.when == "2021-02-03T04:05:06Z"
    assert "when the file was made" in found.source


def test_metadata_of_the_product(tmp_path: Path) -> None:
    """Sentinel-2's MTD four folders up, Landsat's MTL beside its bands; not that of another product."""
    safe = tmp_path / "S2.SAFE"
    band = write(safe / "GRANULE" / "L1C" / "IMG_DATA" / "B04.tif")
    (safe / "MTD_MSIL1C.xml").write_text(
        "<x><PRODUCT_START_TIME>2018-01-01T10:10:10.026Z</PRODUCT_START_TIME>"
        "<SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></x>"
    )
    found = find_acquired(open_scene(band))
    assert found is not None
    assert (found.when, found.platform) == ("2018-01-01T10:10:10Z", "Sentinel-2A")
    landsat = write(tmp_path / "landsat" / "LX_1_B4.tif")
    (tmp_path / "landsat" / "LX_1_MTL.txt").write_text('DATE_ACQUIRED = 2017-03-04\n    SPACECRAFT_ID = "LANDSAT_8"\n')
    found = find_acquired(open_scene(landsat))
    assert found is not None
    assert (found.when, found.platform) == ("2017-03-04", "Landsat-8")
    assert find_acquired(open_scene(write(tmp_path / "landsat" / "other.tif"))) is None


def test_files_that_disagree_tell_nothing(tmp_path: Path) -> None:
    write(tmp_path / "bands" / "B04_20200101.tif")
    write(tmp_path / "bands" / "B03_20200102.tif")
    assert find_acquired(open_scene(tmp_path / "bands")) is None


def test_real_names(test_data: Path) -> None:
    found = find_acquired(open_scene(test_data / "scenes" / "s2_nc_rachel_carson"))
    assert found is not None
    assert (found.when, found.platform) == ("2018-10-13", "Sentinel-2B")
    assert find_acquired(open_scene(test_data / "scenes" / "landsat_peru_pucallpa" / "2020.tif")) is None
