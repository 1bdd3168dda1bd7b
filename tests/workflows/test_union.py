"""Ground that several maps show is counted once: the same as painting every pixel of ground, one by one."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.core.claimed import RULES, Rule
from geoseg.errors import ProductError
from geoseg.workflows.mosaic_input import KnownLayer
from geoseg.workflows.union import DISJOINT, MIXED, measure_union
from tests.workflows.stacks import LEGEND, PLACE, UTM, make_map, paint, random_labels, random_stack


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(RULES),
    count=st.integers(1, 5),
    crs=st.sampled_from([UTM, "EPSG:4326"]),
    recorded=st.booleans(),
    side=st.sampled_from([(512, 2048), (7, 5)]),
)
def test_on_one_lattice_every_pixel_of_ground_counts_once(
    seed: int,
    rule: Rule,
    count: int,
    crs: str,
    recorded: bool,
    side: tuple[int, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """However the maps are cut, whether or not their runs recorded areas."""
    folder = tmp_path_factory.mktemp("union")
    maps, painted = random_stack(folder, seed, count=count, crs=crs, recorded=recorded)
    ground = paint(painted, rule)
    counts = Counter(ground.values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.workflows.union._SIDE", side)
        union = measure_union(maps, rule)
    assert union.pixels == {0: counts[0], 3: counts[3]}
    pixel_m2 = union.footprint_m2 / len(ground)
    for k in (0, 3):
        assert union.area_m2[k] == pytest.approx(counts[k] * pixel_m2, rel=1e-4, abs=1e-6)
    assert union.nodata_m2 == pytest.approx(counts[255] * pixel_m2, rel=1e-4, abs=1e-5)
    assert union.nodata_pixels == counts[255]
    assert (union.nodata_m2 == 0.0) is (counts[255] == 0)
    sums = sum(labels.size for labels, *_ in painted)
    document = union.to_json()
    assert document["overlap_m2"] == pytest.approx((sums - len(ground)) * pixel_m2, rel=1e-4, abs=1e-5)
    assert (DISJOINT in document["notes"]) is (count > 1 and sums == len(ground))


def smooth(shape: tuple[int, int], transform: Affine, to_world: Transformer, *, phase: float) -> np.ndarray:
    """Forest and other in waves of 400 m over the ground, and a wedge without a class."""
    row, col = np.indices(shape) + 0.5
    x, y = to_world.transform(*(transform * (col, row)))
    labels = np.where(np.sin(x / 64 + phase) * np.cos(y / 64) > 0.2, 3, 0).astype(np.uint8)
    labels[(row + col) < 0.3 * shape[0]] = 255
    return labels


@pytest.mark.parametrize("rule", RULES)
def test_maps_of_two_zones_count_each_ground_once(rule: Rule, tmp_path: Path) -> None:
    """Two UTM zones and a geographic grid against points every 5 m: the error is of seams, far below a pixel's row."""
    centre = 12.0, 48.0  # where zones 32 and 33 meet
    world = f"+proj=laea +lon_0={centre[0]} +lat_0={centre[1]}"
    rng = np.random.default_rng(5)
    maps: list[KnownLayer] = []
    looked = []
    for k, (crs, side, shift) in enumerate(
        [("EPSG:32632", 10.0, -500), ("EPSG:32633", 10.0, 200), ("EPSG:4326", 1e-4, -100)]
    ):
        x, y = Transformer.from_crs(world, crs, always_xy=True).transform(shift, 900 - 300 * k)
        transform = Affine(side, 0, x, 0, -side, y)
        shape = (150 + 10 * k, 140)
        labels = smooth(shape, transform, Transformer.from_crs(crs, world, always_xy=True), phase=0.4 * k)
        confidence = np.where(labels == 255, 255, rng.integers(30, 90, labels.shape)).astype(np.uint8)
        maps.append(make_map(tmp_path / str(k), labels, confidence, GeoBox(shape, transform, crs), recorded=k != 1))
        looked.append((labels, confidence, transform, crs))
    union = measure_union(maps, rule)
    expected = look_at_points(looked, rule, world)
    assert MIXED in union.notes
    assert union.footprint_m2 == pytest.approx(sum(expected.values()), rel=2e-3)
    assert union.nodata_m2 == pytest.approx(expected[255], rel=2e-2)
    for k in LEGEND.ids:
        assert union.area_m2[k] == pytest.approx(expected[k], rel=5e-3)
    assert union.sum_of_footprints_m2 > 1.3 * union.footprint_m2


def look_at_points(
    looked: list[tuple[np.ndarray, np.ndarray, Affine, str]], rule: Rule, world: str
) -> dict[int, float]:
    """Square metres by class from points 5 m apart on an equal-area plane: each asks every map, in their order."""
    step = 5.0
    x, y = np.meshgrid(np.arange(-1800, 1800, step), np.arange(-1800, 1800, step))
    final, best = np.full(x.shape, 254, np.uint8), np.full(x.shape, -1)
    for labels, confidence, transform, crs in looked:
        col, row = ~transform * Transformer.from_crs(world, crs, always_xy=True).transform(x, y)
        inside = (row >= 0) & (row < labels.shape[0]) & (col >= 0) & (col < labels.shape[1])
        row, col = np.where(inside, row, 0).astype(int), np.where(inside, col, 0).astype(int)
        label, sure = labels[row, col], np.where(rule == "confident", confidence[row, col], 1).astype(int)
        takes = inside & (label != 255) & ((final >= 254) | (sure > best))
        final[inside & (final == 254)] = 255
        final[takes], best[takes] = label[takes], sure[takes]
    return {k: float((final == k).sum() * step**2) for k in (*LEGEND.ids, 255)}


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 0.75])
def test_parallel_grids_are_wrong_by_half_a_pixel_a_seam_and_no_more(shift: float, tmp_path: Path) -> None:
    """Five maps in a row, each a part of a pixel further: the error is that of every seam, and the note says so."""
    side, step, count = 64, 48 + shift, 5
    labels = np.zeros((side, side), np.uint8)
    grids = [GeoBox(labels.shape, PLACE * Affine.translation(k * step, 0), UTM) for k in range(count)]
    maps = [make_map(tmp_path / str(k), labels, labels + 50, grid) for k, grid in enumerate(grids)]
    union = measure_union(maps, "first")
    error = union.pixels[0] - side * ((count - 1) * step + side)
    assert abs(error) == side * (count - 1) * min(shift, 1 - shift)  # no seam makes up for another
    assert (MIXED in union.notes) is (shift > 0)
    assert "parallel it does not" in MIXED


def test_ground_across_the_antimeridian_is_one(tmp_path: Path) -> None:
    """The same ground as longitude 179.995 … 180.005, as -180.005 … -179.995, and in UTM zone 1."""
    side, shape = 1e-4, (50, 100)
    rng = np.random.default_rng(3)
    labels, confidence = random_labels(rng, shape)
    maps = []
    for k, west in enumerate((179.995, -180.005)):
        grid = GeoBox(shape, Affine(side, 0, west, 0, -side, 10.0), "EPSG:4326")
        maps.append(make_map(tmp_path / str(k), labels, confidence, grid))
    one = measure_union(maps[:1], "first")
    both = measure_union(maps, "first")
    assert both.pixels == one.pixels
    assert both.footprint_m2 == pytest.approx(one.footprint_m2)
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32601", always_xy=True).transform(-179.999, 9.9985)
    inner = np.full((10, 20), 3, np.uint8)
    grid = GeoBox(inner.shape, Affine(10, 0, x, 0, -10, y), "EPSG:32601")
    utm = make_map(tmp_path / "utm", inner, inner, grid)
    for order in ([*maps, utm], [utm, *maps]):
        union = measure_union(order, "first")
        assert union.footprint_m2 == pytest.approx(one.footprint_m2, rel=2e-3)


def test_ground_around_a_pole_is_one(tmp_path: Path) -> None:
    """A polar map over the pole, and the ring of longitudes beneath it: together no more than the cap."""
    cap = np.full((80, 80), 3, np.uint8)
    polar = make_map(tmp_path / "polar", cap, cap, GeoBox(cap.shape, Affine(1e4, 0, -4e5, 0, -1e4, 4e5), "EPSG:3413"))
    ring = np.zeros((10, 360), np.uint8)
    world = make_map(tmp_path / "ring", ring, ring, GeoBox(ring.shape, Affine(1, 0, -180, 0, -1, 90), "EPSG:4326"))
    alone = measure_union([world], "first")
    union = measure_union([world, polar], "first")
    assert (union.pixels, union.area_m2) == ({0: 3600, 3: 0}, alone.area_m2)
    other = measure_union([polar, world], "first")
    assert other.footprint_m2 == pytest.approx(alone.footprint_m2, rel=0.05)
    assert other.area_m2[3] == pytest.approx(measure_union([polar], "first").area_m2[3])


def test_maps_apart_are_not_read(tmp_path: Path) -> None:
    """What their runs recorded is summed, and that the sum is the union is said."""
    rng = np.random.default_rng(1)
    maps = []
    for k in range(3):
        grid = GeoBox((30, 30), PLACE * Affine.translation(30 * k, 0), UTM)
        maps.append(make_map(tmp_path / str(k), *random_labels(rng, (30, 30)), grid))
    summed = {k: sum(one.area.pixels[k] for one in maps if one.area) for k in LEGEND.ids}
    for one in maps:
        Path(one.layer.classmap.path).write_bytes(b"")  # nothing could be read of them
    union = measure_union(maps, "first")
    assert union.pixels == summed
    assert union.notes == (DISJOINT,)


def test_a_damaged_map_is_named(tmp_path: Path) -> None:
    maps, _ = random_stack(tmp_path, 4, count=2)
    path = Path(maps[0].layer.classmap.path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ProductError, match=r"^0: classes\.tif cannot be opened .*: copy it again"):
        measure_union([maps[0], maps[0]], "first")
