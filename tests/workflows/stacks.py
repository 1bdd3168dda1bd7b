"""Maps that overlap, as runs leave them, and what they are together by painting every pixel of ground alone."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.claimed import Rule
from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import LabelRows
from geoseg.core.tally import tally_labels
from geoseg.core.window import Window
from geoseg.raster.classmap import ClassMapWriter, read_classmap
from geoseg.raster.mosaic import Layer
from geoseg.workflows.mosaic_input import KnownLayer, RecordedArea

UTM = "EPSG:32633"
PLACE = Affine(10, 0, 500_000, 0, -10, 5_400_000)
LEGEND = Legend(
    classes=(LandClass(id=0, name="other", color="#888888"), LandClass(id=3, name="forest", color="#00ff00"))
)
DAYS = (None, "2020-05-01", "2020-05-01T10:00:00Z", "2021-01-01", "2019-12-31")
RANKS = {"2021-01-01": 0, "2020-05-01T10:00:00Z": 1, "2020-05-01": 2, "2019-12-31": 3, None: 4}
"""The latest first."""
Array = npt.NDArray[np.uint8]
Painted = tuple[Array, Array, tuple[int, int], str | None]
"""Labels, confidence, (row, col) of the first pixel on the ground, date."""


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
    area = RecordedArea(
        pixels={k: tally.pixel_count(k) for k in LEGEND.ids},
        area_m2={k: tally.area_m2(k) for k in LEGEND.ids},
        footprint_m2=tally.area_m2(),
    )
    return KnownLayer(layer=layer, acquired=acquired, area=area if recorded else None)


def random_labels(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Classes and confidence, a third without a class, some with one and without confidence."""
    labels = rng.choice(np.array([0, 3, 255], np.uint8), shape, p=[0.4, 0.3, 0.3])
    confidence = rng.choice(np.array([40, 60, 90, 255], np.uint8), shape)
    return labels, np.where(labels == 255, np.uint8(255), confidence)


def random_stack(
    folder: Path, seed: int, *, count: int, crs: str = UTM, recorded: bool = True
) -> tuple[list[KnownLayer], list[Painted]]:
    """Maps of at most 19 x 19 pixels on one lattice, within 38 x 38."""
    rng = np.random.default_rng(seed)
    place = PLACE if crs == UTM else Affine(1e-4, 0, 14, 0, -1e-4, 48.5)
    painted: list[Painted] = []
    maps = []
    for k in range(count):
        labels, confidence = random_labels(rng, (int(rng.integers(1, 20)), int(rng.integers(1, 20))))
        corner = int(rng.integers(0, 20)), int(rng.integers(0, 20))
        acquired = DAYS[int(rng.integers(len(DAYS)))]
        grid = GeoBox(labels.shape, place * Affine.translation(corner[1], corner[0]), crs)
        painted.append((labels, confidence, corner, acquired))
        maps.append(make_map(folder / str(k), labels, confidence, grid, acquired=acquired, recorded=recorded))
    return maps, painted


def paint(maps: list[Painted], rule: Rule) -> dict[tuple[int, int], int]:
    """The class of each (row, col) of ground that a map covers, 255 = none."""
    order = sorted(range(len(maps)), key=lambda k: (RANKS[maps[k][3]] if rule == "latest" else 0, k))
    seen: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for k in order:
        labels, confidence, (top, left), _ = maps[k]
        for (row, col), label in np.ndenumerate(labels):
            sure = int(confidence[row, col])
            seen.setdefault((top + row, left + col), []).append((int(label), 0 if sure == 255 else sure))
    ground = {}
    for place, shown in seen.items():
        known = [one for one in shown if one[0] != 255]
        if rule == "confident" and known:
            known = [max(known, key=lambda one: one[1])]  # max gives the first of equals
        ground[place] = known[0][0] if known else 255
    return ground
