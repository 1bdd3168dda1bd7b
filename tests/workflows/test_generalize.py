"""Maps brought to definitions: against brute force on random maps, and a drawn table of what stays and what goes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage

from geoseg.core.area import PixelArea
from geoseg.core.legend import LandClass, Legend
from geoseg.core.pixel_sides import PixelSides
from geoseg.core.window import Window
from geoseg.definition import Definition
from geoseg.errors import ResourceError, SettingsError
from geoseg.presets import load_definition
from geoseg.raster.classmap import ClassMap, read_classmap
from geoseg.workflows.generalize import Generalized, apply_definition
from tests.core.brute_force import Expected, Ground, fill_gaps, merge_small, take_off_narrow
from tests.core.random_maps import ground_of, random_map

Labels = npt.NDArray[np.uint8]
LEGEND = Legend(
    classes=tuple(
        LandClass(id=number, name=name, color="#00aa00")
        for number, name in [(0, "other"), (1, "forest"), (4, "water"), (7, "mangrove"), (199, "town")]
    )
)


def write_map(path: Path, labels: Labels, grid: GeoBox, legend: Legend = LEGEND) -> ClassMap:
    with rasterio.open(
        path, "w", driver="GTiff", height=grid.shape[0], width=grid.shape[1], count=1, dtype="uint8",
        crs=str(grid.crs), transform=grid.affine, nodata=255,
    ) as file:  # fmt: skip
        file.write(np.where(labels >= 200, 255, labels).astype(np.uint8), 1)
    return read_classmap(path, legend=legend)


def define(**rules: Any) -> Definition:
    return Definition(
        name="test", term="tree cover", source="a test", classes=rules.pop("classes", ("forest",)), **rules
    )


def generalize(folder: Path, labels: Labels, grid: GeoBox, definition: Definition, *, rows: int = 512) -> Generalized:
    classmap = write_map(folder / "map.tif", labels, grid)
    return apply_definition(classmap, definition, pixel_area=PixelArea(grid), scratch=folder, rows=rows)


def final(done: Generalized) -> Labels:
    return np.concatenate([labels for _, labels in done.rows()])


def areas(labels: Labels, ground: Ground, unit_m2: float, only: set[tuple[int, int]] | None = None) -> dict[int, float]:
    units: dict[int, int] = {}
    for place in np.ndindex(labels.shape):
        if labels[place] < 200 and (only is None or place in only):
            units[int(labels[place])] = units.get(int(labels[place]), 0) + int(ground.units[place])
    return {label: count * unit_m2 for label, count in units.items()}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Drawn at random, in proportion to the pixels of a map."""

    cover: set[int]
    connectivity: int
    pixel_m: tuple[float, float]
    unit_m2: float
    """Minimum mapping unit of water and of town."""
    min_width_m: float
    min_area_m2: float
    min_gap_area_m2: float

    def definition(self) -> Definition:
        return define(
            classes=tuple(self.cover),
            patches=[{"classes": ["water", "town"], "min_area_m2": self.unit_m2}],
            **{key: getattr(self, key) for key in ("connectivity", "min_width_m", "min_area_m2", "min_gap_area_m2")},
        )

    def expected(self, labels: Labels, ground: Ground, units_to_m2: float) -> Iterator[Expected]:
        """The map after each rule."""
        result = merge_small(labels, [{4}, {199}], min_units=self.unit_m2 / units_to_m2, connectivity=4, ground=ground)
        yield result
        common: dict[str, Any] = {"connectivity": self.connectivity, "ground": ground}
        size: dict[str, Any] = {"min_width_m": self.min_width_m, "pixel_m": self.pixel_m}
        result = take_off_narrow(result.labels, self.cover, **size, **common)
        yield result
        result = merge_small(result.labels, [self.cover], min_units=self.min_area_m2 / units_to_m2, **common)
        yield result
        common["connectivity"] = 12 - self.connectivity
        yield fill_gaps(result.labels, self.cover, min_units=self.min_gap_area_m2 / units_to_m2, **common)


def random_rules(seed: int, grid: GeoBox) -> Rules:
    random = np.random.default_rng(seed)
    height, width = grid.shape
    size = PixelSides(grid).metres_at(np.array([height / 2]), np.array([width / 2]))
    pixel_m = float(size[0][0, 0]), float(size[1][0, 0])
    least, gap, unit = (float(random.choice([1.5, 3.01, 6])) * pixel_m[0] * pixel_m[1] for _ in range(3))
    return Rules(
        cover=[{1}, {1, 7}][seed % 3 % 2],
        connectivity=4 if seed // 4 % 2 else 8,
        pixel_m=pixel_m,
        unit_m2=unit,
        min_width_m=float(random.choice([1.2, 2.1, 2.9])) * max(pixel_m),
        min_area_m2=least,
        min_gap_area_m2=gap,
    )


@pytest.mark.parametrize("seed", range(200))
def test_all_rules_are_those_of_brute_force(tmp_path: Path, seed: int) -> None:
    """Each in its turn, on the map the one before it left; areas and counts too."""
    labels, grid = random_map(seed, classes=(0, 1, 1, 1, 4, 7, 7, 199))
    labels[labels >= 200] = 255
    ground, unit_m2 = ground_of(grid), PixelArea(grid).unit_m2
    rules = random_rules(seed, grid)
    done = generalize(tmp_path, labels, grid, rules.definition(), rows=1 + seed % 16)
    mapped = labels
    for effect, expected in zip(done.effects, rules.expected(labels, ground, unit_m2), strict=True):
        assert effect.before_m2 == areas(mapped, ground, unit_m2)
        mapped = expected.labels
        assert effect.after_m2 == areas(mapped, ground, unit_m2)
        assert (effect.changed, effect.undetermined) == (expected.changed, expected.undetermined)
        assert effect.undetermined_m2 == areas(mapped, ground, unit_m2, expected.undetermined_pixels)
    assert np.array_equal(final(done), mapped)
    final_m2 = {one: done.tally.area_m2(one) for one in LEGEND.ids if one in done.tally.pixels}
    assert final_m2 == areas(mapped, ground, unit_m2)


def utm(shape: tuple[int, int], pixel_m: float) -> GeoBox:
    """True to scale to 1e-5: 1.6 degrees from the middle of the zone, at the equator."""
    return GeoBox(shape, Affine(pixel_m, 0, 679_700, 0, -pixel_m, 1000), "EPSG:32632")


DRAWN = {
    # name: ((rows, columns) of the drawn part in pixels of 1 m, stays)
    "0.49 ha": ((70, 70), False),
    "0.51 ha": ((51, 100), True),
    "19 m strip": ((300, 19), False),
    "21 m strip": ((300, 21), True),
}


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_patches(tmp_path: Path, name: str) -> None:
    """Alone in a field; and the same as a clearing in the forest, for which width is no matter."""
    shape, stays = DRAWN[name]
    labels = np.zeros((340, 140), np.uint8)
    labels[20 : 20 + shape[0], 20 : 20 + shape[1]] = 1
    fao = load_definition("fao")
    assert np.array_equal(final(generalize(tmp_path, labels, utm((340, 140), 1.0), fao)) == 1, labels * stays == 1)
    clearing = (1 - labels).astype(np.uint8)
    stays = shape[0] * shape[1] > 5000
    expected = clearing if stays else np.ones_like(clearing)
    assert np.array_equal(final(generalize(tmp_path, clearing, utm((340, 140), 1.0), fao)), expected)


@pytest.mark.parametrize(("strip", "stays"), [(1, False), (2, True)])
def test_drawn_strips_of_ten_metre_pixels(tmp_path: Path, strip: int, stays: bool) -> None:
    labels = np.zeros((90, 20), np.uint8)
    labels[10:80, 5 : 5 + strip] = 1
    done = generalize(tmp_path, labels, utm((90, 20), 10.0), load_definition("fao"))
    assert np.array_equal(final(done) == 1, labels * stays == 1)
    assert done.effects[0].changed == (not stays)


def test_the_drawn_table(tmp_path: Path) -> None:
    """All in one map: what each rule changed, in its own words and square metres."""
    labels = np.zeros((400, 600), np.uint8)
    labels[20:90, 20:90] = 1  # 0.49 ha: goes
    labels[20:120, 120:171] = 1  # 0.51 ha: stays
    labels[150:200, 0:60] = 1  # 0.3 ha at the edge: undetermined, stays
    labels[250:300, 40:100] = 1  # 0.3 ha beside no class: undetermined, stays
    labels[250:300, 100:110] = 255
    labels[20:390, 200:219] = 1  # 19 m wide: goes
    labels[20:390, 240:261] = 1  # 21 m wide: stays
    labels[20:380, 280:580] = 1
    labels[40:110, 300:370] = 4  # 0.49 ha clearing: filled
    labels[40:140, 400:451] = 4  # 0.51 ha clearing: stays
    expected = labels.copy()
    expected[20:90, 20:90] = 0
    expected[20:390, 200:219] = 0
    expected[40:110, 300:370] = 1
    done = generalize(tmp_path, labels, utm((400, 600), 1.0), load_definition("fao"))
    assert np.array_equal(final(done), expected)
    width, patches, gaps = done.effects
    assert "forest narrower than 20 m" in width.rule
    assert "Patches of forest below 0.5 ha (4-connected)" in patches.rule
    assert "Gaps below 0.5 ha (8-connected) that forest wholly surrounds" in gaps.rule
    assert [one.changed for one in done.effects] == [1, 1, 1]
    assert [one.undetermined for one in done.effects] == [0, 2, 0]
    drawn = {"strip": 370 * 19, "patch": 4900, "gap": 4900}
    for effect, key, sign in [(width, "strip", -1), (patches, "patch", -1), (gaps, "gap", 1)]:
        assert effect.after_m2[1] - effect.before_m2[1] == pytest.approx(sign * drawn[key], rel=1e-4)
    assert patches.undetermined_m2 == pytest.approx({1: 6000}, rel=1e-4)
    assert gaps.before_m2[4] - gaps.after_m2[4] == pytest.approx(4900, rel=1e-4)


def test_a_map_without_the_rules_is_given_back(tmp_path: Path) -> None:
    labels, grid = random_map(3)
    done = generalize(tmp_path, labels, grid, define())
    assert done.effects == ()
    assert np.array_equal(final(done), np.where(labels >= 200, 255, labels))


def test_a_definition_of_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean forest"):
        generalize(tmp_path, *random_map(3), define(classes=("forrest",), min_area_m2=1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
@pytest.mark.parametrize("label", [0, 1, 255])
def test_the_smallest_maps(tmp_path: Path, shape: tuple[int, int], label: int) -> None:
    """All of it is at an edge: nothing changes, and forest below the minimum is undetermined."""
    labels = np.full(shape, label, np.uint8)
    done = generalize(tmp_path, labels, utm(shape, 10.0), load_definition("fao"))
    assert np.array_equal(final(done), labels)
    assert [one.undetermined for one in done.effects] == [label == 1, label == 1, label == 0]


def test_a_map_of_all_two_hundred_classes_has_no_place_for_a_width(tmp_path: Path) -> None:
    legend = Legend(classes=tuple(LandClass(id=k, name=f"class {k}", color="#00aa00") for k in range(200)))
    classmap = write_map(tmp_path / "map.tif", np.ones((3, 3), np.uint8), utm((3, 3), 10.0), legend)
    with pytest.raises(SettingsError, match="200 classes"):
        apply_definition(
            classmap, define(classes=(1,), min_width_m=20), pixel_area=PixelArea(classmap.grid), scratch=tmp_path
        )


def test_a_full_scratch_folder_is_said(tmp_path: Path) -> None:
    classmap = write_map(tmp_path / "map.tif", np.ones((3, 3), np.uint8), utm((3, 3), 10.0))
    with pytest.raises(ResourceError, match="choose another scratch folder"):
        apply_definition(
            classmap, define(min_area_m2=1), pixel_area=PixelArea(classmap.grid), scratch=tmp_path / "not there"
        )


def test_augusta_has_no_small_patch_left(test_data: Path, tmp_path: Path) -> None:
    """A real map of 15 classes, 30 m pixels: the same for every cut; what is left is large or at the edge."""
    path = test_data / "area_reference" / "augusta_nlcd" / "augusta_nlcd.tif"
    classmap = read_classmap(path, nodata=0)
    woods = (41, 42, 43, 90)
    definition = define(classes=woods, min_width_m=60, min_area_m2=20_000, min_gap_area_m2=20_000)
    pixel_area = PixelArea(classmap.grid)
    results = []
    for rows in (512, 37):
        done = apply_definition(classmap, definition, pixel_area=pixel_area, scratch=tmp_path, rows=rows)
        results.append((final(done).tobytes(), done.effects, done.tally))
    assert results[0] == results[1]
    labels = np.frombuffer(results[0][0], np.uint8).reshape(classmap.grid.shape)
    pixel_m2 = pixel_area.of(Window(row=0, col=0, height=1, width=1))[0, 0]
    for inside, structure in ((np.isin(labels, woods), None), (~np.isin(labels, woods), np.ones((3, 3), int))):
        patches, count = ndimage.label(inside & (labels < 200), structure)
        cut = np.unique(patches[ndimage.binary_dilation(labels >= 200, np.ones((3, 3), bool), border_value=True)])
        sizes = np.bincount(patches.ravel(), minlength=count + 1)
        sizes[cut] = sizes.max()
        assert count > 20
        assert sizes.min() * pixel_m2 > 19_990
