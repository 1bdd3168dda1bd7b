"""Ground that several maps show is counted once: the same as painting every pixel of ground, one by one."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.claimed import RULES, Rule
from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import LabelRows
from geoseg.core.tally import tally_labels
from geoseg.core.window import Window
from geoseg.raster.classmap import ClassMapWriter, read_classmap
from geoseg.raster.mosaic import Layer
from geoseg.workflows.mosaic_input import KnownLayer
from geoseg.workflows.union import DISJOINT, measure_union

UTM = "EPSG:32633"
PLACE = Affine(10, 0, 500_000, 0, -10, 5_400_000)
LEGEND = Legend(
    classes=(LandClass(id=0, name="other", color="#888888"), LandClass(id=3, name="forest", color="#00ff00"))
)
DAYS = (None, "2020-05-01", "2020-05-01T10:00:00Z", "2021-01-01", "2019-12-31")
Array = npt.NDArray[np.uint8]


def make_map(
    folder: Path, labels: Array, confidence: Array, grid: GeoBox, *, acquired: str | None = None, recorded: bool = True
) -> KnownLayer:
    """A map as a run leaves it, confidence beside it."""
    folder.mkdir()
    window = Window(row=0, col=0, height=labels.shape[0], width=labels.shape[1])
    with ClassMapWriter(folder, grid=grid, legend=LEGEND, tags={}, confidence=True, threads=1) as writer:
        writer.write(LabelRows(window=window, labels=labels, confidence=confidence))
        writer.finish()
    classmap = read_classmap(folder / "classes.tif")
    layer = Layer(name=folder.name, classmap=classmap, confidence=folder / "confidence.tif")
    tally = tally_labels(labels, window, PixelArea(classmap.grid))
    rows = [{"id": k, "pixels": tally.pixel_count(k), "area_m2": tally.area_m2(k)} for k in LEGEND.ids]
    areas: dict[str, Any] = {"classes": rows, "footprint_m2": tally.area_m2()}
    return KnownLayer(layer=layer, acquired=acquired, areas=areas if recorded else None)


def random_labels(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
    labels = rng.choice(np.array([0, 3, 255], np.uint8), shape, p=[0.4, 0.3, 0.3])
    confidence = rng.choice(np.array([40, 60, 90, 255], np.uint8), shape)
    return labels, np.where(labels == 255, np.uint8(255), confidence)


def paint(maps: list[tuple[Array, Array, tuple[int, int], str | None]], rule: Rule) -> dict[int, int]:
    """Pixels by class of the union, 255 = covered without a class: every pixel of ground looked at alone."""
    order = list(range(len(maps)))
    if rule == "latest":
        dates = {k: DAYS.index(maps[k][3]) for k in order}
        rank = {3: 0, 2: 1, 1: 2, 4: 3, 0: 4}  # 2021, the morning of 2020-05-01, its midnight, 2019, none
        order.sort(key=lambda k: (rank[dates[k]], k))
    seen: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for k in order:
        labels, confidence, (top, left), _ = maps[k]
        for (row, col), label in np.ndenumerate(labels):
            sure = int(confidence[row, col])
            seen.setdefault((top + row, left + col), []).append((int(label), 0 if sure == 255 else sure))
    counts = {0: 0, 3: 0, 255: 0}
    for shown in seen.values():
        known = [one for one in shown if one[0] != 255]
        if not known:
            counts[255] += 1
        elif rule == "confident":
            counts[max(known, key=lambda one: one[1])[0]] += 1  # max gives the first of equals
        else:
            counts[known[0][0]] += 1
    return counts


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
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("union")
    place = PLACE if crs == UTM else Affine(1e-4, 0, 14, 0, -1e-4, 48.5)
    painted, maps = [], []
    for k in range(count):
        labels, confidence = random_labels(rng, (int(rng.integers(1, 20)), int(rng.integers(1, 20))))
        corner = int(rng.integers(0, 20)), int(rng.integers(0, 20))
        acquired = DAYS[int(rng.integers(len(DAYS)))]
        grid = GeoBox(labels.shape, place * Affine.translation(corner[1], corner[0]), crs)
        painted.append((labels, confidence, corner, acquired))
        maps.append(make_map(folder / str(k), labels, confidence, grid, acquired=acquired, recorded=recorded))
    expected = paint(painted, rule)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.workflows.union._SIDE", side)
        union = measure_union(maps, rule)
    assert union.pixels == {0: expected[0], 3: expected[3]}
    pixel_m2 = union.footprint_m2 / sum(expected.values())
    for k in (0, 3):
        assert union.area_m2[k] == pytest.approx(expected[k] * pixel_m2, rel=1e-4, abs=1e-6)
    assert union.nodata_m2 == pytest.approx(expected[255] * pixel_m2, rel=1e-4, abs=1e-5)
    sums = sum(labels.size for labels, *_ in painted)
    document = union.to_json()
    assert document["overlap_m2"] == pytest.approx((sums - sum(expected.values())) * pixel_m2, rel=1e-4, abs=1e-5)
    assert (DISJOINT in document["notes"]) is (count > 1 and sums == sum(expected.values()))
