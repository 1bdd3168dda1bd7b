"""The area of interest on a grid: centres of pixels, whatever the window, the CRS or the size of the outline."""

import pickle
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.core.patch import MASKED, NODATA, OUTSIDE_AOI, LabelRows
from geoseg.core.window import Window
from geoseg.errors import InputError
from geoseg.workflows.aoi import open_aoi

GRIDS = {
    "north": GeoBox((80, 120), Affine(10, 0, 400_000, 0, -10, 5_550_000), "EPSG:32633"),
    "south": GeoBox((80, 120), Affine(10, 0, 400_000, 0, 10, 5_549_200), "EPSG:32633"),
    "rotated": GeoBox((80, 120), Affine(10, 0, 400_100, 0, -10, 5_550_000) @ Affine.rotation(25), "EPSG:32633"),
    "degrees": GeoBox((80, 120), Affine(1e-4, 0, 13.605, 0, -1e-4, 50.095), "EPSG:4326"),
}
MIDDLE = (13.61, 50.09)


def write(path: Path, *polygons: shapely.Geometry) -> Path:
    geopandas.GeoDataFrame({"name": [str(k) for k in range(len(polygons))]}, geometry=[*polygons], crs=4326).to_file(
        path
    )
    return path


def star(vertices: int) -> shapely.Polygon:
    """A jagged outline with a hole, in degrees."""
    turn = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    reach = np.where(np.arange(vertices) % 2, 0.0042, 0.0031)
    ring = np.array(MIDDLE) + reach[:, None] * np.column_stack([np.cos(turn), 0.6 * np.sin(turn)])
    return shapely.Polygon(ring, [shapely.Point(MIDDLE).buffer(0.0008).exterior.coords])


def centres(grid: GeoBox) -> np.ndarray[tuple[int, int], np.dtype[np.object_]]:
    """The centre of every pixel in degrees, by the affine and pyproj."""
    height, width = grid.shape
    row, col = np.mgrid[0:height, 0:width] + 0.5
    x, y = grid.affine * (col.ravel(), row.ravel())
    lon, lat = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y)
    return np.asarray(shapely.points(lon, lat).reshape(height, width))


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("vertices", [14, 6000])
def test_a_pixel_is_inside_with_its_centre(tmp_path: Path, name: str, vertices: int) -> None:
    grid, outline = GRIDS[name], star(vertices)
    other = shapely.box(13.6045, 50.0945, 13.606, 50.0952)
    aoi = open_aoi(write(tmp_path / "aoi.gpkg", outline, other), grid)
    expected = shapely.contains(shapely.union(outline, other), centres(grid))
    found = aoi.inside(Window(row=0, col=0, height=80, width=120))
    assert expected.any()
    assert (found == expected).mean() > 0.9999  # a centre on a border may fall to either side
    for window in (Window(row=17, col=31, height=40, width=23), Window(row=70, col=100, height=32, width=64)):
        rows, cols = slice(window.row, window.row_stop), slice(window.col, window.col_stop)
        part = aoi.inside(window)
        known = found[rows, cols]
        assert (part[: known.shape[0], : known.shape[1]] == known).all()
        assert aoi.touches(window) == part.any()


def test_labels_outside_are_said_to_be(tmp_path: Path) -> None:
    """Whatever they were; inside nothing changes."""
    grid = GRIDS["north"]
    aoi = open_aoi(write(tmp_path / "aoi.gpkg", star(14)), grid)
    window = Window(row=8, col=0, height=64, width=120)
    inside = aoi.inside(window)
    before = np.random.default_rng(0).choice(np.array([0, 1, MASKED, NODATA], np.uint8), window.shape)
    rows = LabelRows(window=window, labels=before.copy(), confidence=np.full(window.shape, 80, np.uint8))
    aoi.mark(rows)
    assert (rows.labels[~inside] == OUTSIDE_AOI).all()
    assert (rows.labels[inside] == before[inside]).all()
    assert set(np.unique(rows.confidence[inside])) == {80}
    assert set(np.unique(rows.confidence[~inside])) == {NODATA}


def test_an_area_travels_and_has_a_name(tmp_path: Path) -> None:
    """To workers; and the same polygons in another file are the same area."""
    grid = GRIDS["north"]
    aoi = open_aoi(write(tmp_path / "aoi.gpkg", star(14)), grid)
    again = open_aoi(write(tmp_path / "again.fgb", star(14)), grid)
    other = open_aoi(write(tmp_path / "other.gpkg", star(16)), grid)
    assert pickle.loads(pickle.dumps(aoi)) == aoi
    assert again.sha256 == aoi.sha256 != other.sha256
    assert aoi.name == "aoi.gpkg"


@pytest.mark.parametrize(
    ("outline", "words"),
    [
        (shapely.box(50, 13, 51, 14), r"no pixel of the scene has its centre in it: is its CRS \(WGS 84\)"),
        (shapely.Point(MIDDLE).buffer(1e-7), "no pixel of the scene has its centre in it"),
        (shapely.Point(MIDDLE), "has no layer of polygons"),
    ],
)
def test_an_area_without_a_pixel_is_refused(tmp_path: Path, outline: shapely.Geometry, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_aoi(write(tmp_path / "aoi.gpkg", outline), GRIDS["north"])
    with pytest.raises(InputError, match="area of interest: absent"):
        open_aoi(Path("absent.gpkg"), GRIDS["north"])
