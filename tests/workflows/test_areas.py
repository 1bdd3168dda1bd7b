"""Areas and polygons of finished maps: what is asked, what is given, what is refused."""

import csv
from pathlib import Path

import numpy as np
import pytest

from geoseg.errors import GeosegError, ProductError, SettingsError
from geoseg.workflows.areas import AreaRequest, measure_areas
from geoseg.workflows.open_map import read_legend
from geoseg.workflows.vectorize import vectorize
from tests.raster.factory import make_raster


@pytest.fixture
def classmap(tmp_path: Path) -> Path:
    values = np.array([[[0, 1, 1], [-9999, 1, 0]]], np.int16)
    return make_raster(tmp_path / "map.tif", pixels=values).path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a legend"),
        ("[1]", "not a legend"),
        ("[" * 3000, "not a legend"),
        ("a: b", "class id 'a' is not in 0"),
        ("1.7: b", "class id 1.7 is not in 0"),
        ("true: b", "class id True is not in 0"),
        ("-1: b", "class id -1 is not in 0"),
        ("300: b", "class id 300 is not in 0"),
        ("1:", "class 1 has no name"),
        ("1: a\n2: a", "not unique"),
        ("1: {name: a, color: red}", "not #rrggbb"),
    ],
)
def test_a_faulty_legend_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "legend.yaml").write_text(text)
    with pytest.raises(SettingsError, match=words):
        read_legend(tmp_path / "legend.yaml")


@pytest.mark.parametrize("text", ["10: ten\n9: nine", '{"10": "ten", "9": "nine"}'])
def test_a_legend_is_yaml_or_json_in_any_order(tmp_path: Path, text: str) -> None:
    (tmp_path / "legend.yaml").write_text(text)
    assert [(one.id, one.name) for one in read_legend(tmp_path / "legend.yaml")] == [(9, "nine"), (10, "ten")]


def test_any_value_can_be_named_as_nodata(classmap: Path) -> None:
    with pytest.raises(ProductError, match=r"-9999 .* name it with --nodata"):
        measure_areas(AreaRequest(source=str(classmap)))
    report = measure_areas(AreaRequest(source=str(classmap), nodata=-9999)).report
    assert [(one.id, one.pixels) for one in report.classes] == [(0, 2), (1, 3)]


def test_a_csv_has_the_patches_that_were_asked_for(classmap: Path, tmp_path: Path) -> None:
    """0 1 1 / - 1 0: the zeros touch nowhere, the ones are one piece."""
    measure_areas(AreaRequest(source=str(classmap), out=tmp_path / "plain.csv", nodata=-9999))
    measure_areas(AreaRequest(source=str(classmap), out=tmp_path / "counted.csv", nodata=-9999, patches=8))
    plain, counted = (
        list(csv.reader((tmp_path / name).read_text().splitlines())) for name in ("plain.csv", "counted.csv")
    )
    assert [row[:-1] for row in counted] == plain
    assert "patches" not in plain[0]
    assert [row[-1] for row in counted[:3]] == ["patches", "2", "1"]
    assert {row[-1] for row in counted[3:]} == {""}


@pytest.mark.parametrize(
    ("source", "words"),
    [("", "empty path"), ("https://host/map.tif", "not a local file"), ("absent.tif", "not exist"), (".", "regular")],
)
def test_what_is_no_local_file_is_refused_with_the_remedy(source: str, words: str) -> None:
    with pytest.raises(GeosegError, match=words):
        measure_areas(AreaRequest(source=source))


def test_a_place_that_is_not_there_is_noticed_before_the_work(classmap: Path, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="is no folder"):
        measure_areas(AreaRequest(source=str(classmap), out=tmp_path / "absent/areas.csv", nodata=-9999))
    with pytest.raises(ProductError, match="is no folder"):
        vectorize(str(classmap), tmp_path / "absent/map.gpkg", nodata=-9999)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif"]


def test_a_suffix_may_be_in_capitals(classmap: Path, tmp_path: Path) -> None:
    assert vectorize(str(classmap), tmp_path / "MAP.GPKG", nodata=-9999).count == 3
    assert (tmp_path / "MAP.GPKG").is_file()


def test_inputs_and_products_are_never_written_over(tmp_path: Path, classmap: Path) -> None:
    """--overwrite replaces an old result, not what the result is made of."""
    legend = tmp_path / "legend.json"
    legend.write_text('{"0": "other", "1": "forest", "2": "water"}')
    before = classmap.read_bytes()
    with pytest.raises(ProductError, match="is read to make it"):
        measure_areas(AreaRequest(source=str(classmap), nodata=-9999, legend=legend, out=legend, overwrite=True))
    product = tmp_path / "run"
    product.mkdir()
    (product / "run.json").write_text("{}")
    with pytest.raises(ProductError, match="is a file of the product in"):
        vectorize(str(classmap), product / "polygons.gpkg", nodata=-9999, overwrite=True)
    assert classmap.read_bytes() == before
