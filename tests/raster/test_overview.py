"""Pictures of maps: every pixel shows the class of the ground it lies on, whatever the grid."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import LabelRows
from geoseg.core.picture import Picture
from geoseg.core.window import Window
from geoseg.errors import ProductError, SceneError
from geoseg.raster.classmap import ClassMapWriter, read_classmap
from geoseg.raster.overview import Frame, draw_classes, draw_confidence, draw_scene, plan_frame
from geoseg.raster.scene import open_scene

LEGEND = Legend(
    classes=tuple(
        LandClass(id=k, name=f"class {k}", color=color) for k, color in enumerate(("#ff0000", "#00ff00", "#0000ff"))
    )
)
GRIDS = {
    "utm": GeoBox((160, 240), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633"),
    "south up": GeoBox((160, 240), Affine(10, 0, 500_000, 0, 10, 5_400_000), "EPSG:32633"),
    "geographic": GeoBox((160, 240), Affine(0.01, 0, 20, 0, -0.01, 61), "EPSG:4326"),
    "across 180 degrees": GeoBox((160, 240), Affine(500, 0, 750_000, 0, -500, 5_000_000), "EPSG:32660"),
    "beyond 180 degrees": GeoBox((160, 240), Affine(0.01, 0, 179, 0, -0.01, 10), "EPSG:4326"),
}
GRIDS["rotated"] = GeoBox(
    (160, 240), Affine.translation(500_000, 5_400_000) * Affine.rotation(30) * Affine.scale(10, -10), "EPSG:32633"
)
BLOCK = 16


def write_map(folder: Path, grid: GeoBox, *, confidence: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
    """classes.tif in random blocks of 16 pixels, one of them without class; gives its labels."""
    height, width = grid.shape
    coarse = np.random.default_rng(1).integers(0, 3, (-(-height // BLOCK), -(-width // BLOCK))).astype(np.uint8)
    coarse[2:3, 3:4] = 255
    labels: npt.NDArray[np.uint8] = coarse.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[:height, :width]
    with ClassMapWriter(folder, grid=grid, legend=LEGEND, tags={}, confidence=confidence is not None, threads=1) as out:
        for row in range(0, height, 512):
            for col in range(0, width, 512):
                window = Window(row=row, col=col, height=min(512, height - row), width=min(512, width - col))
                part = labels[row : row + 512, col : col + 512]
                sure = part if confidence is None else confidence[row : row + 512, col : col + 512]
                out.write(LabelRows(window=window, labels=part, confidence=sure))
        out.finish()
    return labels


def decode(picture: Picture) -> npt.NDArray[np.uint8]:
    """(bands, height, width) as another reader of the file sees it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(picture.content) as memory, memory.open() as file:
            pixels: npt.NDArray[np.uint8] = file.read()
            return pixels


def ground_of(frame: Frame, grid: GeoBox) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(rows, cols) on the map of the centre of every pixel of a picture, from its edges in degrees alone."""
    height, width = frame.grid.shape
    bounds = frame.bounds
    top, bottom = (np.arcsinh(np.tan(np.radians(one))) for one in (bounds.north, bounds.south))
    lats = np.degrees(np.arctan(np.sinh(top + (bottom - top) * (np.arange(height) + 0.5) / height)))
    lons = bounds.west + (bounds.east - bounds.west) * (np.arange(width) + 0.5) / width
    lon, lat = np.meshgrid(lons, lats)
    if grid.crs == "EPSG:4326":
        west = grid.transform.c
        xs, ys = (lon - west + 5) % 360 + west - 5, lat
    else:
        xs, ys = Transformer.from_crs("EPSG:4326", str(grid.crs), always_xy=True).transform(lon, lat)
    a, b, c, d, e, f = tuple(~Affine(*tuple(grid.transform)[:6]))[:6]
    return d * xs + e * ys + f, a * xs + b * ys + c


@pytest.mark.parametrize("name", GRIDS)
def test_a_pixel_shows_the_class_of_its_ground(tmp_path: Path, name: str) -> None:
    """Checked where no border of blocks is within a quarter of a pixel, against coordinates by PROJ."""
    grid = GRIDS[name]
    labels = write_map(tmp_path, grid)
    frame = plan_frame(grid)
    drawn = draw_classes(read_classmap(tmp_path / "classes.tif"), frame)
    found = decode(drawn.picture)
    assert found.shape == (1, *frame.grid.shape)
    rows, cols = ground_of(frame, grid)
    height, width = grid.shape
    inside = (rows > 0.25) & (rows < height - 0.25) & (cols > 0.25) & (cols < width - 0.25)
    outside = (rows < -0.25) | (rows > height + 0.25) | (cols < -0.25) | (cols > width + 0.25)
    near = (abs((rows + BLOCK / 2) % BLOCK - BLOCK / 2) < 0.25) | (abs((cols + BLOCK / 2) % BLOCK - BLOCK / 2) < 0.25)
    sure = inside & ~near
    expected = labels[rows[sure].astype(int), cols[sure].astype(int)]
    assert sure.mean() > 0.4
    np.testing.assert_array_equal(found[0][sure], expected)
    assert set(np.unique(found[0][outside])) <= {255}
    assert frame.bounds.east - frame.bounds.west < 10


@pytest.mark.parametrize("west", [-180, 0, 100, -180.5])
def test_a_map_of_the_world_is_shown_whole(tmp_path: Path, west: float) -> None:
    """Wherever its first column lies: every column of it is in the picture, on its own longitude."""
    grid = GeoBox((160, 360), Affine(1, 0, west, 0, -1, 80), "EPSG:4326")
    labels = write_map(tmp_path, grid)
    frame = plan_frame(grid)
    assert frame.bounds.east - frame.bounds.west == 360
    assert (frame.bounds.west + 360 - west) % 360 == pytest.approx(0, abs=1e-9)
    found = decode(draw_classes(read_classmap(tmp_path / "classes.tif"), frame).picture)[0]
    height, width = found.shape
    cols = (np.arange(width) + 0.5) / width * 360
    rows = 80 - np.degrees(
        np.arctan(np.sinh(np.arcsinh(np.tan(np.radians(80))) * (1 - 2 * (np.arange(height) + 0.5) / height)))
    )
    sure = np.ix_(abs(rows % BLOCK - BLOCK / 2) < 6, abs(cols % BLOCK - BLOCK / 2) < 6)
    expected = labels[np.ix_(rows.astype(int), cols.astype(int))]
    np.testing.assert_array_equal(found[sure], expected[sure])
    assert set(cols[sure[1][0]].astype(int) // BLOCK) == set(range(23))


def test_the_whole_turn_is_of_the_ground_not_of_the_nodes() -> None:
    """What is round the Earth in another CRS, or round a pole, has the whole turn; a gap narrower than nodes stays."""
    world = GeoBox((400, 400), Affine(100_187.5, 0, -20_037_500, 0, -100_187.5, 20_037_500), "EPSG:3857")
    polar = GeoBox((100, 100), Affine(40_000, 0, -1e6, 0, -40_000, 3e6), "EPSG:3995")
    quarter = GeoBox((100, 100), Affine(40_000, 0, 0, 0, -40_000, 0), "EPSG:3995")
    nearly = GeoBox((100, 358), Affine(1, 0, -176, 0, -1, 50), "EPSG:4326")
    widths = [
        bounds.east - bounds.west for bounds in (plan_frame(one).bounds for one in (world, polar, quarter, nearly))
    ]
    assert widths == pytest.approx([360, 360, 90, 358])
    assert plan_frame(nearly).bounds.west == pytest.approx(-176)


def test_a_palette_image_tells_classes_by_color(tmp_path: Path) -> None:
    write_map(tmp_path, GRIDS["utm"])
    classmap = read_classmap(tmp_path / "classes.tif")
    drawn = draw_classes(classmap, plan_frame(classmap.grid))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(drawn.picture.content) as memory, memory.open() as file:
            table = file.colormap(1)
    assert [table[k] for k in range(3)] == [(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255)]
    assert table[255][3] == 0
    assert dict(drawn.colors) == {one.id: one.color for one in LEGEND}
    assert drawn.picture.content.startswith(b"\x89PNG")


def test_a_large_map_gives_a_small_picture(tmp_path: Path) -> None:
    """The longer side is what is asked; blocks are still where they belong."""
    grid = GeoBox((600, 2400), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633")
    labels = write_map(tmp_path, grid)
    frame = plan_frame(grid, max_side=480)
    drawn = draw_classes(read_classmap(tmp_path / "classes.tif"), frame)
    assert max(drawn.picture.height, drawn.picture.width) == 480
    rows, cols = ground_of(frame, grid)
    sure = (abs(rows % BLOCK - BLOCK / 2) < 2) & (abs(cols % BLOCK - BLOCK / 2) < 2)
    sure &= (rows > 0) & (rows < 600) & (cols > 0) & (cols < 2400)
    found = decode(drawn.picture)[0]
    assert sure.sum() > 500
    np.testing.assert_array_equal(found[sure], labels[rows[sure].astype(int), cols[sure].astype(int)])


def test_the_pole_is_on_no_such_map() -> None:
    """A grid around the pole is refused in words; one that reaches beyond 85 degrees is cut there."""
    polar = GeoBox((100, 100), Affine(1000, 0, -50_000, 0, -1000, 50_000), "EPSG:3995")
    with pytest.raises(SceneError, match="on no Mercator map"):
        plan_frame(polar)
    high = GeoBox((100, 100), Affine(0.2, 0, 10, 0, -0.2, 90), "EPSG:4326")
    assert plan_frame(high).bounds.north == 85.0


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
def test_a_thin_map_has_a_picture(tmp_path: Path, shape: tuple[int, int]) -> None:
    grid = GeoBox(shape, Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633")
    labels = write_map(tmp_path, grid)
    drawn = draw_classes(read_classmap(tmp_path / "classes.tif"), plan_frame(grid))
    assert set(np.unique(decode(drawn.picture))) <= set(np.unique(labels)) | {255}
    assert (decode(drawn.picture) != 255).any()


def test_confidence_is_drawn_in_steps(tmp_path: Path) -> None:
    grid = GRIDS["utm"]
    percent = np.linspace(0, 100, 160 * 240).reshape(160, 240).round().astype(np.uint8)
    labels = write_map(tmp_path, grid, confidence=percent)
    drawn = draw_confidence(tmp_path / "confidence.tif", grid, plan_frame(grid))
    found = decode(drawn.picture)[0]
    assert set(np.unique(found)) == {40, 50, 60, 70, 80, 90, 255}
    assert [percent for percent, _ in drawn.colors] == [40, 50, 60, 70, 80]
    rows, cols = (one.astype(int) for one in ground_of(plan_frame(grid), grid))
    middle = (slice(100, 200), slice(100, 300))
    expected = np.clip(percent[rows[middle], cols[middle]] // 10, 4, 9) * 10
    expected[labels[rows[middle], cols[middle]] == 255] = 255
    assert (found[middle] == expected).mean() > 0.97


def test_the_scene_is_transparent_where_nobody_looked(tmp_path: Path) -> None:
    """Nodata is transparent, the rest is stretched from dark to light; a pixel keeps its place."""
    grid = GRIDS["utm"]
    height, width = grid.shape
    ramp = np.linspace(100, 9000, width).round().astype(np.uint16) * np.ones((height, 1), np.uint16)
    pixels = np.stack([ramp] * 3)
    pixels[:, :40, :60] = 0
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", height=height, width=width, count=3, dtype="uint16",
        crs="EPSG:32633", transform=Affine(*tuple(grid.transform)[:6]), nodata=0, photometric="RGB",
    ) as out:  # fmt: skip
        out.write(pixels)
    frame = plan_frame(grid)
    picture = draw_scene(open_scene(tmp_path / "scene.tif"), frame)
    found = decode(picture)
    rows, cols = ground_of(frame, grid)
    empty = (rows > 1) & (rows < 39) & (cols > 1) & (cols < 59)
    seen = (rows > 42) & (rows < height - 1) & (cols > 1) & (cols < width - 1)
    assert (found[3][empty] == 0).all()
    assert (found[3][seen] == 255).all()
    light = found[0][seen].astype(float)
    assert np.corrcoef(light, cols[seen])[0, 1] > 0.99
    assert light.min() < 20
    assert light.max() > 235
    assert "for viewing only" in picture.note


def test_a_damaged_map_is_refused(tmp_path: Path) -> None:
    write_map(tmp_path, GRIDS["utm"])
    classmap = read_classmap(tmp_path / "classes.tif")
    content = bytearray((tmp_path / "classes.tif").read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    (tmp_path / "classes.tif").write_bytes(content)
    with pytest.raises((ProductError, SceneError), match=r"classes\.tif"):
        draw_classes(classmap, plan_frame(classmap.grid))
