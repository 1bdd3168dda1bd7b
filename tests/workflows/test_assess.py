"""From a map to a figure with its uncertainty: sample, label, assess; and whose sample is refused."""

import csv
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from geoseg.accuracy.allocation import SampleSize
from geoseg.accuracy.assessment_text import summary
from geoseg.errors import GeosegError, InputError, ProductError
from geoseg.workflows.assess import AssessRequest, assess_map
from geoseg.workflows.sample import SampleRequest, sample
from tests.raster.factory import make_raster

LEGEND = "0: other\n1: forest\n"


def label(path: Path, answer: Callable[[float, float], str], *, separator: str = ",") -> None:
    """Fill in reference_class by the x and y of each point, as a spreadsheet would save it."""
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    for row in rows:
        row["reference_class"] = answer(float(row["x"]), float(row["y"]))
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def truth_of(path: Path, names: dict[int, str]) -> Callable[[float, float], str]:
    file = rasterio.open(path)
    return lambda x, y: names[int(next(file.sample([(x, y)]))[0])]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A truth that is a third forest, and a map of it that errs in a tenth of the pixels of each class."""
    rng = np.random.default_rng(4)
    truth = np.zeros((1, 300, 300), np.uint8)
    truth[:, :, 200:] = 1
    mapped = np.where(rng.random(truth.shape) < 0.1, 1 - truth, truth).astype(np.uint8)
    (tmp_path / "legend.yaml").write_text(LEGEND)
    return make_raster(tmp_path / "map.tif", pixels=mapped).path, make_raster(tmp_path / "truth.tif", pixels=truth).path


def draw(classmap: Path, out: Path, total: int) -> None:
    sample(str(classmap), out, SampleRequest(size=SampleSize(total=total), legend=out.parent / "legend.yaml"))


def test_the_story_finds_the_area_that_the_map_misses(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """The map has 1/3 · 0.9 + 2/3 · 0.1 = 36.7 % of forest, the truth 33.3 %."""
    classmap, truth = pair
    points = tmp_path / "points.csv"
    draw(classmap, points, 3000)
    label(points, truth_of(truth, {0: "other", 1: "Forest"}), separator=";")
    found = assess_map(str(classmap), points, tmp_path / "out")
    forest = found.classes[1]
    total = found.design.population_m2
    assert forest.mapped_m2 / total == pytest.approx(0.3667, abs=0.005)
    assert forest.area.low < total / 3 < forest.area.high
    assert not forest.area.low < forest.mapped_m2 < forest.area.high
    assert found.overall.value == pytest.approx(0.9, abs=4 * 0.0055)
    document = json.loads((tmp_path / "out/assessment.json").read_text())
    assert document["schema"] == "geoseg-assessment-1"
    assert document["classes"][1]["area_m2"]["value"] == forest.area.value
    assert (document["reference"]["rows"], document["reference"]["used"]) == (3000, 3000)
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [
        "accuracy.csv", "assessment.json", "error_matrix.csv",
    ]  # fmt: skip
    matrix = list(csv.reader((tmp_path / "out/error_matrix.csv").read_text().splitlines()))
    assert sum(int(row[-1]) for row in matrix[1:3]) == 3000


def test_the_strata_may_be_those_of_another_map(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Strata from the truth itself, so that within them only the map varies: Stehman's estimators."""
    classmap, truth = pair
    points = tmp_path / "points.csv"
    size = SampleSize(total=1000, allocation="equal")
    sample(str(classmap), points, SampleRequest(size=size, legend=tmp_path / "legend.yaml", strata=str(truth)))
    label(points, truth_of(truth, {0: "0", 1: "1"}))
    found = assess_map(str(classmap), points, tmp_path / "out")
    assert "Stehman" in found.estimator
    # every point of a stratum has its reference class: the area has no error left, the accuracy has
    assert found.classes[1].area.value == pytest.approx(found.design.population_m2 / 3, rel=1e-3)
    assert found.classes[1].area.se == pytest.approx(0, abs=1)
    assert found.overall.low < 0.9 < found.overall.high
    users = found.classes[1].users
    assert users is not None
    assert users.low < 0.3 / (0.3 + 2 / 3 * 0.1) < users.high
    document = json.loads((tmp_path / "out/assessment.json").read_text())
    assert document["design"]["strata_source"] == "truth.tif"
    assert np.shape(document["matrix"]["counts_by_stratum"]) == (2, 2, 2)


def test_a_geopackage_labelled_in_a_gis_is_read(pair: tuple[Path, Path], tmp_path: Path) -> None:
    classmap, _ = pair
    points = tmp_path / "points.gpkg"
    draw(classmap, points, 100)
    with sqlite3.connect(points) as package:
        for trigger in package.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            package.execute(f'DROP TRIGGER "{trigger[0]}"')
        package.execute("UPDATE sample SET reference_class = map_class WHERE sample_id > 1")
        package.execute("UPDATE sample SET reference_class = NULL WHERE sample_id = 1")
    found = assess_map(str(classmap), points, tmp_path / "out")
    assert (found.responses.blank, len(found.responses.labels)) == (1, 99)
    assert found.overall.value == 1


def test_another_map_s_sample_is_refused_with_the_reason(pair: tuple[Path, Path], tmp_path: Path) -> None:
    classmap, _ = pair
    points = tmp_path / "points.csv"
    draw(classmap, points, 100)
    label(points, lambda x, y: "forest")
    with rasterio.open(classmap) as file:
        pixels = file.read()
        transform = file.transform
    one_pixel = pixels.copy()
    one_pixel[0, 7, 7] = 1 - one_pixel[0, 7, 7]
    others = {
        "truth.tif": "the classes of their pixels differ",
        "one_pixel.tif": "the classes of their pixels differ",
        "smaller.tif": r"\(300, 300\) pixels and \(299, 300\)",
        "shifted.tif": "their transforms differ",
        "zone.tif": "so that their CRSs differ",
    }
    make_raster(tmp_path / "one_pixel.tif", pixels=one_pixel)
    make_raster(tmp_path / "smaller.tif", pixels=pixels[:, :299])
    make_raster(tmp_path / "shifted.tif", pixels=pixels, transform=transform.translation(10, 0) @ transform)
    make_raster(tmp_path / "zone.tif", pixels=pixels, crs="EPSG:3857", transform=transform)
    for name, words in others.items():
        with pytest.raises(ProductError, match=f"drawn from map.tif, not from {name}: .*{words}") as caught:
            assess_map(str(tmp_path / name), points, tmp_path / "out")
        assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_copy_of_the_map_in_another_file_is_the_same_map(pair: tuple[Path, Path], tmp_path: Path) -> None:
    classmap, _ = pair
    draw(classmap, tmp_path / "points.csv", 100)
    label(tmp_path / "points.csv", lambda x, y: "forest" if int(x) % 3 else "other")
    with rasterio.open(classmap) as file:
        make_raster(tmp_path / "copy.tif", pixels=file.read(), layout="strips")
    assert assess_map(str(tmp_path / "copy.tif"), tmp_path / "points.csv", tmp_path / "out").table.points.sum() == 100


def test_points_of_another_sample_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """The ids are 1 … n in every sample: it is the coordinates that betray them."""
    classmap, _ = pair
    draw(classmap, tmp_path / "points.csv", 100)
    sample(
        str(classmap),
        tmp_path / "other.csv",
        SampleRequest(size=SampleSize(total=100), seed=9, legend=tmp_path / "legend.yaml"),
    )
    label(tmp_path / "other.csv", lambda x, y: "forest")
    request = AssessRequest(design=tmp_path / "points.design.json")
    with pytest.raises(ProductError, match="these are not the points of this design"):
        assess_map(str(classmap), tmp_path / "other.csv", tmp_path / "out", request)


def test_a_sample_needs_its_design(pair: tuple[Path, Path], tmp_path: Path) -> None:
    classmap, _ = pair
    draw(classmap, tmp_path / "points.csv", 100)
    (tmp_path / "labelled.csv").write_text("sample_id,reference_class\n1,forest\n2,other\n")
    with pytest.raises(ProductError, match=r"labelled.design.json cannot be read.*--design"):
        assess_map(str(classmap), tmp_path / "labelled.csv", tmp_path / "out")


def test_an_assessment_replaces_only_itself(pair: tuple[Path, Path], tmp_path: Path) -> None:
    classmap, _ = pair
    points, out = tmp_path / "points.csv", tmp_path / "out"
    draw(classmap, points, 100)
    label(points, lambda x, y: "forest" if int(x) % 3 else "other")
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assess_map(str(classmap), points, out)
    with pytest.raises(ProductError, match=r"already holds assessment\.json: give --overwrite"):
        assess_map(str(classmap), points, out)
    found = assess_map(str(classmap), points, out, AssessRequest(level=0.9), overwrite=True)
    assert json.loads((out / "assessment.json").read_text())["confidence_level"] == found.level == 0.9
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(ProductError, match="is a file; an assessment needs a folder"):
        assess_map(str(classmap), points, points)
    with pytest.raises(ProductError, match="is no folder"):
        assess_map(str(classmap), points, tmp_path / "absent/out")


def test_what_cannot_be_read_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    classmap, _ = pair
    draw(classmap, tmp_path / "points.csv", 100)
    request = AssessRequest(design=tmp_path / "points.design.json")
    with pytest.raises(GeosegError, match="does not exist"):
        assess_map(str(classmap), tmp_path / "absent.csv", tmp_path / "out", request)
    (tmp_path / "book.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"book\.xlsx is a spreadsheet: save it as CSV"):
        assess_map(str(classmap), tmp_path / "book.xlsx", tmp_path / "out", request)


def test_a_name_that_is_a_formula_stays_text(tmp_path: Path) -> None:
    pixels = np.repeat(np.array([0, 1], np.uint8), 50)[None, None] * np.ones((1, 100, 100), np.uint8)
    classmap = make_raster(tmp_path / "map.tif", pixels=pixels).path
    (tmp_path / "legend.yaml").write_text("0: =1+1\n1: '@forest'\n")
    points = tmp_path / "points.csv"
    draw(classmap, points, 80)
    assert "'=1+1" in points.read_text()
    rows = list(csv.DictReader(points.read_text(encoding="utf-8-sig").splitlines()))
    answers = {(float(row["x"]), float(row["y"])): row["map_class"] for row in rows}
    label(points, lambda x, y: answers[x, y])
    found = assess_map(str(classmap), points, tmp_path / "out")
    assert found.overall.value == 1
    for name in ("accuracy.csv", "error_matrix.csv"):
        cells = [cell for row in csv.reader((tmp_path / "out" / name).read_text().splitlines()) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "@"))]


def test_real_maps_of_guadeloupe(test_data: Path, tmp_path: Path) -> None:
    """The forest of 2000 as a map of that of 2020: the sample must find the 72,935.73 ha that are there."""
    folder = test_data / "area_reference/guadeloupe_forest"
    (tmp_path / "legend.yaml").write_text(LEGEND)
    points = tmp_path / "points.csv"
    draw(folder / "forest_t1.tif", points, 1200)
    label(points, truth_of(folder / "forest_t3.tif", {0: "other", 1: "forest", 255: "?"}))
    found = assess_map(str(folder / "forest_t1.tif"), points, tmp_path / "out")
    forest = found.classes[1]
    assert forest.mapped_m2 / 1e4 == pytest.approx(80045.30, abs=0.01)
    assert abs(forest.area.value / 1e4 - 72935.73) < 4 * forest.area.se / 1e4
    assert forest.area_interval == "score"  # hardly any forest came where there was none
    assert forest.score_m2[0] < 72935.73e4 < forest.score_m2[1]


def test_the_same_pixels_in_another_zone_are_another_map(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """The neighbouring zone has the same transform and the same areas; only the CRS tells them apart."""
    classmap, _ = pair
    draw(classmap, tmp_path / "points.csv", 100)
    label(tmp_path / "points.csv", lambda x, y: "forest" if int(x) % 3 else "other")
    with rasterio.open(classmap) as file:
        crs = f"EPSG:{int(file.crs.to_epsg()) + 1}"
        other = make_raster(tmp_path / "other.tif", pixels=file.read(), crs=crs, transform=file.transform).path
    with pytest.raises(ProductError, match=r"drawn from map\.tif, not from other\.tif: their CRSs differ"):
        assess_map(str(other), tmp_path / "points.csv", tmp_path / "out")


def test_a_class_counted_completely_on_a_grid_in_degrees_is_known(tmp_path: Path) -> None:
    """Fifteen pixels near 59 degrees that are wrong and fifteen near 1 degree that are right: of the class not the half
    is there but the larger part, by the areas of their rows on the ellipsoid."""
    values = np.full((1, 120, 40), 0, np.uint8)
    values[0, :3, :5] = values[0, 117:, :5] = 1
    (tmp_path / "legend.yaml").write_text(LEGEND)
    transform = Affine(0.5, 0, 0, 0, -0.5, 60)
    classmap = make_raster(tmp_path / "map.tif", pixels=values, crs="EPSG:4326", transform=transform).path
    points = tmp_path / "points.csv"
    size = SampleSize(counts={"forest": 30, "other": 100})
    sample(str(classmap), points, SampleRequest(size=size, legend=tmp_path / "legend.yaml"))
    label(points, lambda x, y: "forest" if y < 1.5 and x < 2.5 else "other")
    found = assess_map(str(classmap), points, tmp_path / "out")
    sines = np.sin(np.radians(60 - 0.5 * np.arange(121)))
    e = 0.0818191908426215
    q = sines / (1 - (e * sines) ** 2) + np.arctanh(e * sines) / e
    rows = -np.diff(q)
    share = rows[117:].sum() / (rows[:3].sum() + rows[117:].sum())
    assert share > 0.65
    users = found.classes[1].users
    assert users is not None
    assert users.value == pytest.approx(share, rel=1e-7)
    assert users.se == pytest.approx(0, abs=1e-9)
    assert found.classes[1].users_score == pytest.approx((share, share), rel=1e-7)
    assert f" {share:.3f}  " in summary(found)
    assert f"{share:.3f} …" not in summary(found)
    assert found.classes[1].area.value == pytest.approx(share * found.classes[1].mapped_m2, rel=1e-7)


def test_what_fails_leaves_the_old_assessment(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classmap, _ = pair
    points, out = tmp_path / "points.csv", tmp_path / "out"
    draw(classmap, points, 100)
    label(points, lambda x, y: "forest" if int(x) % 3 else "other")
    assess_map(str(classmap), points, out)
    before = {one.name: one.read_bytes() for one in out.iterdir()}

    def fail(found: object) -> None:
        raise KeyError("users_accuracy_half_width")

    monkeypatch.setattr("geoseg.accuracy.assessment_text.accuracy_columns", fail)
    with pytest.raises(KeyError):
        assess_map(str(classmap), points, out, overwrite=True)
    assert {one.name: one.read_bytes() for one in out.iterdir()} == before


def test_a_point_dragged_in_a_gis_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """The geometry may be in another CRS; moved by three pixels it is no longer the point that was drawn."""
    classmap, _ = pair
    points, moved = tmp_path / "points.gpkg", tmp_path / "moved.gpkg"
    draw(classmap, points, 100)
    table = geopandas.read_file(points)
    table["reference_class"] = [("other", "forest")[k % 2] for k in range(100)]
    request = AssessRequest(design=tmp_path / "points.design.json")
    table.to_crs(4326).to_file(moved, layer="sample", driver="GPKG")
    assert assess_map(str(classmap), moved, tmp_path / "out", request).responses.has_coordinates
    table.geometry = [one if k else shapely.Point(one.x + 30, one.y) for k, one in enumerate(table.geometry)]
    table.to_file(moved, layer="sample", driver="GPKG")
    with pytest.raises(ProductError, match="these are not the points of this design, or rows were mixed up or points"):
        assess_map(str(classmap), moved, tmp_path / "other", request)


def test_rows_sorted_apart_are_refused_by_their_class(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Coordinates that a spreadsheet rewrote say nothing; the class of the map beside the label does."""
    classmap, _ = pair
    points = tmp_path / "points.csv"
    draw(classmap, points, 100)
    rows = list(csv.DictReader(points.read_text(encoding="utf-8-sig").splitlines()))
    for number, row in enumerate(rows, start=1):
        row |= {"x": "4.499.545,0", "y": "", "reference_class": "forest", "sample_id": str(number % 100 + 1)}
    with points.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(ProductError, match=r"has map_class .* rows were mixed up"):
        assess_map(str(classmap), points, tmp_path / "out")
