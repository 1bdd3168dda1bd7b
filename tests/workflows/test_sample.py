"""A class map becomes a sample that can be labelled, and a design that says where it is from."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer

from geoseg.accuracy.allocation import SampleSize
from geoseg.accuracy.design import parse_design
from geoseg.errors import GeosegError, ProductError, SettingsError
from geoseg.workflows.sample import SampleRequest, design_path, sample, summarize
from tests.raster.factory import make_raster


def blocks_of_classes(shape: tuple[int, int] = (120, 200)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """0 left, 1 right, 255 in the last 20 columns, a speck of 2 in the middle of 0."""
    values = np.zeros((1, *shape), np.uint8)
    values[:, :, shape[1] // 2 :] = 1
    values[:, :, -20:] = 255
    values[:, 50:54, 40:44] = 2
    return values


@pytest.fixture
def classmap(tmp_path: Path) -> Path:
    made = make_raster(tmp_path / "map.tif", pixels=blocks_of_classes())
    (tmp_path / "legend.yaml").write_text("0: other\n1: forest\n2: water\n")
    return made.path


def ask(total: int = 120, **more: Any) -> SampleRequest:
    return SampleRequest(size=SampleSize(total=total, min_per_class=10), **more)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))


def test_points_are_pixel_centres_with_the_class_of_their_pixel(classmap: Path, tmp_path: Path) -> None:
    out = tmp_path / "points.csv"
    design = sample(str(classmap), out, ask(legend=tmp_path / "legend.yaml"))
    rows = rows_of(out)
    assert [int(row["sample_id"]) for row in rows] == list(range(1, 121))
    with rasterio.open(classmap) as file:
        values = [int(one[0]) for one in file.sample([(float(row["x"]), float(row["y"])) for row in rows])]
        centres = [file.index(float(row["x"]), float(row["y"])) for row in rows]
        x, y = file.xy(*zip(*centres, strict=True))
        lon, lat = Transformer.from_crs(file.crs, 4326, always_xy=True).transform(x, y)
    names = ["other", "forest", "water"]
    assert [row["map_class"] for row in rows] == [row["stratum"] for row in rows] == [names[one] for one in values]
    assert np.allclose([float(row["x"]) for row in rows], x)
    assert np.allclose([(float(row["lon"]), float(row["lat"])) for row in rows], np.column_stack([lon, lat]))
    assert {row["reference_class"] + row["interpreter"] + row["comment"] for row in rows} == {""}
    assert [(one.row, one.col) for one in design.points] == [(int(r), int(c)) for r, c in centres]


def test_the_design_accounts_for_the_whole_map(classmap: Path, tmp_path: Path) -> None:
    design = sample(str(classmap), tmp_path / "points.gpkg", ask())
    text = (tmp_path / "points.design.json").read_text()
    assert parse_design(text, "x") == design
    assert [(one.id, one.pixels, one.points) for one in design.strata] == [(0, 11984, 61), (1, 9600, 49), (2, 16, 10)]
    assert sum(design.excluded_m2.values()) == pytest.approx(120 * 20 * 100, rel=1e-3)
    assert design.population_m2 + sum(design.excluded_m2.values()) == pytest.approx(design.map.footprint_m2)
    assert design.classes == tuple(
        type(one)(id=one.id, name=one.name, area_m2=one.area_m2, pixels=one.pixels) for one in design.strata
    )
    assert "not in the population: 24.0" in summarize(design)


def test_one_seed_gives_the_same_bytes_and_another_other_points(classmap: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        sample(str(classmap), tmp_path / f"{name}.csv", ask(seed=seed))
    a, b, c = ((tmp_path / f"{name}.csv").read_bytes() for name in "abc")
    assert a == b != c
    assert (tmp_path / "a.design.json").read_bytes() == (tmp_path / "b.design.json").read_bytes()


def test_the_layout_of_the_file_is_no_matter(classmap: Path, tmp_path: Path) -> None:
    """The same map in strips of three rows: the same digest, the same points."""
    make_raster(tmp_path / "strips.tif", pixels=blocks_of_classes(), layout="strips")
    one, other = (sample(str(tmp_path / f"{name}.tif"), tmp_path / f"{name}.csv", ask()) for name in ("map", "strips"))
    assert one.map.pixels_sha256 == other.map.pixels_sha256
    assert one.points == other.points


def test_the_class_can_be_hidden_and_the_order_does_not_give_it_away(classmap: Path, tmp_path: Path) -> None:
    design = sample(str(classmap), tmp_path / "blind.gpkg", ask(hide_class=True))
    table = geopandas.read_file(tmp_path / "blind.gpkg")
    assert {"stratum", "map_class"} & set(table.columns) == set()
    assert {"sample_id", "lon", "lat", "reference_class", "interpreter", "confidence"} <= set(table.columns)
    order = [one.stratum for one in design.points]
    assert order != sorted(order)


def test_a_buffer_moves_area_out_of_the_population(classmap: Path, tmp_path: Path) -> None:
    """3 pixels: the speck of 4 x 4 has no pixel left, and nothing lies near a border, edge or nodata."""
    design = sample(str(classmap), tmp_path / "points.csv", ask(80, buffer_pixels=3))
    assert [one.id for one in design.strata] == [0, 1]
    reason = "nearer than 3 pixels to a class border or edge"
    assert design.excluded_m2[reason] > 0
    assert design.population_m2 + sum(design.excluded_m2.values()) == pytest.approx(design.map.footprint_m2)
    padded = np.pad(blocks_of_classes()[0], 3, constant_values=255)
    for one in design.points:
        around = padded[one.row : one.row + 7, one.col : one.col + 7]
        assert (around == one.map_class).all()
    assert "the buffer biases the sample" in summarize(design)
    assert design.left_out_m2 == {"class 2": pytest.approx(1600, rel=1e-2)}
    assert "class 2 (0.16 ha) has no pixel in the population: nothing" in summarize(design)
    assert parse_design(design_path(tmp_path / "points.csv").read_text(), "x") == design


def test_a_value_that_the_map_s_own_legend_does_not_name_is_refused(classmap: Path, tmp_path: Path) -> None:
    """Edited after it was made: its area would be in no figure."""
    with rasterio.open(classmap, "r+") as file:
        file.update_tags(
            GEOSEG_LEGEND='[{"id": 0, "name": "other", "color": "#aaaaaa"}, {"id": 1, "name": "f", "color": "#00aa00"}]'
        )
    with pytest.raises(ProductError, match=r"map\.tif holds value 2 in 16 pixels.* not name \(0, 1\).*with --legend"):
        sample(str(classmap), tmp_path / "points.csv", ask())
    assert not (tmp_path / "points.csv").exists()
    assert sample(str(classmap), tmp_path / "points.csv", ask(legend=tmp_path / "legend.yaml")).strata[2].pixels == 16


def test_strata_can_be_another_raster(classmap: Path, tmp_path: Path) -> None:
    strata = np.repeat(np.array([3, 4], np.uint8), 60)[None, :, None] * np.ones((1, 120, 200), np.uint8)
    strata[:, :, :5] = 255
    make_raster(tmp_path / "strata.tif", pixels=strata)
    design = sample(str(classmap), tmp_path / "points.csv", ask(strata=str(tmp_path / "strata.tif")))
    assert design.strata_source == "strata.tif"
    assert [one.id for one in design.strata] == [3, 4]
    assert [one.id for one in design.classes] == [0, 1, 2]
    assert all(one.stratum == (3 if one.row < 60 else 4) and one.col >= 5 for one in design.points)
    assert "no stratum in the raster of strata" in design.excluded_m2
    shifted = make_raster(tmp_path / "shifted.tif", pixels=strata, transform=Affine(10, 0, 0, 0, -10, 5.4e6))
    with pytest.raises(ProductError, match=r"shifted.tif is not on the map's grid"):
        sample(str(classmap), tmp_path / "other.csv", ask(strata=str(shifted.path)))


def test_labels_are_never_written_over(classmap: Path, tmp_path: Path) -> None:
    out = tmp_path / "points.csv"
    sample(str(classmap), out, ask())
    with pytest.raises(ProductError, match="already exists"):
        sample(str(classmap), out, ask())
    sample(str(classmap), out, ask(seed=1), overwrite=True)
    text = out.read_text(encoding="utf-8-sig").replace("class 0,,", "class 0,forest,", 1)
    out.write_text(text)
    for name in ("points.csv", "points.gpkg"):
        with pytest.raises(ProductError, match=r"points.csv holds 1 labels \(column reference_class\), which are not"):
            sample(str(classmap), tmp_path / name, ask(seed=2), overwrite=True)
    assert out.read_text() == text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("reference_class", "Reference_Class", r"holds 1 labels \(column Reference_Class\)"),
        ("reference_class", "Klasse", r"holds 1 labels \(column Klasse\)"),
        ("class 0,forest,,,,,", "class 0,,,,,,seen: forest", r"holds 1 labels \(column comment\)"),
        ("class 0,forest,,,,,", "class 0,forest,,,,,,forest", r"may hold labels.*has 14 cells in row"),
        ("sample_id,", ",", "may hold labels.*has a column without name"),
    ],
)
def test_labels_are_found_wherever_they_are(classmap: Path, tmp_path: Path, old: str, new: str, words: str) -> None:
    out = tmp_path / "points.csv"
    sample(str(classmap), out, ask())
    text = out.read_text(encoding="utf-8-sig").replace("class 0,,", "class 0,forest,", 1).replace(old, new, 1)
    out.write_text(text)
    with pytest.raises(ProductError, match=words):
        sample(str(classmap), out, ask(seed=2), overwrite=True)
    assert out.read_text() == text


def test_labels_in_another_layer_are_found(classmap: Path, tmp_path: Path) -> None:
    out = tmp_path / "points.gpkg"
    sample(str(classmap), out, ask())
    table = geopandas.read_file(out)
    table["reference_class"] = "other"
    table.to_file(out, layer="labelled", driver="GPKG")
    with pytest.raises(ProductError, match=r"points\.gpkg holds 120 labels"):
        sample(str(classmap), out, ask(seed=1), overwrite=True)
    out.write_bytes(b"SQLite format 3\0 and no more")
    with pytest.raises(ProductError, match=r"points\.gpkg may hold labels"):
        sample(str(classmap), out, ask(seed=1), overwrite=True)


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("points.xlsx", {}, r"suffix \.xlsx is not one of \.csv, \.gpkg"),
        ("absent/points.csv", {}, "is no folder"),
        ("points.csv", {"total": 20}, "20 points are fewer than the minimum of 30"),
        ("points.csv", {"total": 10**6}, "more than the 21600 pixels"),
        ("points.csv", {"buffer_pixels": 64}, "no pixel of the map can be sampled"),
    ],
)
def test_a_refusal_leaves_nothing(classmap: Path, tmp_path: Path, name: str, more: dict[str, Any], words: str) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(GeosegError, match=words):
        sample(str(classmap), tmp_path / name, ask(**more))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("more", "words"), [({"seed": -1}, "--seed -1"), ({"buffer_pixels": 65}, "--buffer 65")])
def test_a_request_is_checked_at_birth(more: dict[str, int], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ask(**more)


def test_a_design_that_was_touched_is_refused(classmap: Path, tmp_path: Path) -> None:
    sample(str(classmap), tmp_path / "points.csv", ask())
    text = design_path(tmp_path / "points.csv").read_text()
    for changed, words in (
        (text.replace('"seed": 0', '"seed": 1'), "was changed since it was written"),
        (text.replace("geoseg-sample-1", "geoseg-sample-9"), "is not the design of a sample"),
        ("{}", "is not the design of a sample"),
        ("[" * 9000, "is not the design of a sample"),
    ):
        with pytest.raises(ProductError, match=words):
            parse_design(changed, "points.design.json")


def test_a_sample_of_geographic_pixels_weighs_them_by_area(tmp_path: Path) -> None:
    """Strata of a map from 0 to 80 degrees: their areas are those of the report, and points follow the ground."""
    values = np.ones((1, 160, 60), np.uint8)
    made = make_raster(tmp_path / "map.tif", pixels=values, crs="EPSG:4326", transform=Affine(0.5, 0, 0, 0, -0.5, 80))
    design = sample(str(made.path), tmp_path / "points.csv", ask(2000))
    north = sum(one.row < 80 for one in design.points) / 2000
    e = 0.0818191908426215
    q = [np.sin(p) / (1 - (e * np.sin(p)) ** 2) + np.arctanh(e * np.sin(p)) / e for p in np.radians([0, 40, 80])]
    share = (q[2] - q[1]) / q[2]
    assert north == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 2000))
    assert abs(north - 0.5) > 0.1


def test_a_design_without_weights_is_one_of_points_alike(classmap: Path, tmp_path: Path) -> None:
    """As geoseg wrote it before points had weights."""
    design = sample(str(classmap), tmp_path / "points.csv", ask())
    document = json.loads(design.to_text())
    for name in ("left_out_m2", "sha256"):
        del document[name]
    document["points"] = [one[:5] for one in document["points"]]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    document["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    assert parse_design(json.dumps(document), "x") == design
