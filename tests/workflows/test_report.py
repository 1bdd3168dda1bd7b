"""The report of finished products: made again at any time, never of something else, never half written."""

import csv
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.accuracy.allocation import SampleSize
from geoseg.cli import main
from geoseg.errors import ProductError, ResourceError, SceneError
from geoseg.raster.scene import SceneOptions, open_scene
from geoseg.workflows.assess import assess_map
from geoseg.workflows.product import read_product, stage
from geoseg.workflows.report import ReportSources, write_report
from geoseg.workflows.sample import SampleRequest, sample
from tests.report import made_documents
from tests.report.pages import Page
from tests.report.products import GRID, a_legend, a_record, make_change, make_run, write_map


def write_scene(path: Path, *, first_col: int = 0) -> Path:
    """An RGB scene on the grid of the products, or beside it."""
    height, width = GRID.shape
    transform = Affine(*tuple(GRID.transform)[:6]) * Affine.translation(first_col, 0)
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=3, dtype="uint8", crs="EPSG:32633",
        transform=transform, photometric="RGB",
    ) as out:  # fmt: skip
        out.write(np.random.default_rng(0).integers(1, 255, (3, height, width)).astype(np.uint8))
    return path


def shows_scene(path: Path) -> bool:
    return any(attributes.get("id") == "map-scene" for _, attributes in Page(path.read_text()).elements)


def test_a_report_is_a_view(tmp_path: Path) -> None:
    """It is written into the product, which stays what it was; made again it is the same but for the time."""
    out = tmp_path / "out"
    record = make_run(out)
    (path,) = write_report(out)
    assert path == out / "report.html"
    assert read_product(out, checksums=True) == record
    first = path.read_text()
    path.write_text("old")
    path.with_suffix(".pdf").write_text("of the old page")
    write_report(out)
    made = "Made by geoseg"
    assert path.read_text().partition(made)[0] == first.partition(made)[0]
    assert not path.with_suffix(".pdf").exists()
    assert not [one for one in out.iterdir() if ".tmp" in one.name]


def test_the_scene_is_found_beside_only_if_it_is_the_same(tmp_path: Path) -> None:
    """Same name and same fingerprint: it is shown. Touched since: it is not, and the page says so."""
    scene = write_scene(tmp_path / "scene.tif")
    make_run(tmp_path / "out", fingerprint=open_scene(scene, options=SceneOptions()).fingerprint)
    (path,) = write_report(tmp_path / "out")
    assert shows_scene(path)
    os.utime(scene, ns=(1, 1))
    write_report(tmp_path / "out")
    assert not shows_scene(path)
    assert "The scene itself is not shown" in path.read_text()
    write_report(tmp_path / "out", ReportSources(scene=scene))
    assert shows_scene(path)
    assert "could not be proven" in path.read_text()
    write_report(tmp_path / "out", ReportSources(scene=scene, same_scene=True))
    assert shows_scene(path)
    assert "could not be proven" not in path.read_text()


def test_another_scene_is_refused(tmp_path: Path) -> None:
    """Another name, or another grid: its picture would lie."""
    make_run(tmp_path / "out")
    (tmp_path / "other").mkdir()
    for scene in (write_scene(tmp_path / "other.tif"), write_scene(tmp_path / "other" / "scene.tif", first_col=1)):
        with pytest.raises(SceneError, match="is not the scene of this run"):
            write_report(tmp_path / "out", ReportSources(scene=scene))
    assert not (tmp_path / "out" / "report.html").exists()


def test_what_is_no_product_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"run\.json"):
        write_report(tmp_path)
    make_run(tmp_path / "out")
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(ProductError, match=r"run\.json"):
        write_report(tmp_path / "out")


def test_a_change_has_its_own_page(tmp_path: Path) -> None:
    make_change(tmp_path / "out", made_documents.change())
    (path,) = write_report(tmp_path / "out")
    page = Page(path.read_text())
    assert "geoseg change report" in page.text
    assert "Map" in page.text
    assert "The scene itself" not in page.text


def test_a_grid_on_no_mercator_map_has_a_page_without_a_map(tmp_path: Path) -> None:
    polar = GeoBox((96, 128), Affine(100, 0, -6400, 0, -100, 4800), "EPSG:3995")
    make_run(tmp_path / "out", grid=polar)
    (path,) = write_report(tmp_path / "out")
    page = Page(path.read_text())
    assert "No map is shown." in page.text
    assert "on no Mercator map" in page.text
    assert len(page.scripts) == 1


def test_a_pdf_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without WeasyPrint one line with the remedy, and nothing is written; with it a PDF."""
    make_run(tmp_path / "out")
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(ResourceError, match=r"geoseg\[pdf\]"):
        write_report(tmp_path / "out", pdf=True)
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_pdf_beside_the_page(tmp_path: Path) -> None:
    try:
        import_module("weasyprint")
    except (ImportError, OSError) as error:
        pytest.skip(f"no WeasyPrint: {error}")
    make_run(tmp_path / "out")
    page, pdf = write_report(tmp_path / "out", pdf=True)
    assert page.name == "report.html"
    assert pdf.read_bytes().startswith(b"%PDF")


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path on stdout; a refusal is one line and exit 2."""
    out = tmp_path / "out"
    make_run(out)

    def command(*words: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["report", *words])
        return (stop.value.code, *capsys.readouterr())

    assert command(str(out)) == (0, f"{out / 'report.html'}\n", "")
    code, text, _ = command(str(out), "--json")
    assert (code, json.loads(text)["paths"]) == (0, [str(out / "report.html")])
    for words in ([str(tmp_path)], [str(out), "--assessment", str(tmp_path)], [str(out), "--scene", str(out / "none")]):
        code, text, error = command(*words)
        assert (code, text, error.count("\n")) == (2, "", 1), error


def test_unknown_figures_are_refused_in_one_line(tmp_path: Path) -> None:
    document: dict[str, Any] = {**made_documents.areas(), "footprint_m2": "much"}
    make_run(tmp_path / "out", areas=document)
    with pytest.raises(ProductError, match="footprint_m2") as caught:
        write_report(tmp_path / "out")
    assert "\n" not in str(caught.value)


def assess_run(run: Path, folder: Path) -> Path:
    """A sample of the run's map, labelled as the map says but for one point, and assessed."""
    points = folder / "points.csv"
    sample(str(run / "classes.tif"), points, SampleRequest(size=SampleSize(total=120)))
    with points.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    for one in rows:
        one["reference_class"] = one["map_class"]
    rows[0]["reference_class"] = next(one["map_class"] for one in rows if one["map_class"] != rows[0]["map_class"])
    with points.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assess_map(str(run / "classes.tif"), points, folder / "assessment")
    return folder / "assessment"


def test_an_assessment_of_equal_pixels_elsewhere_is_refused(tmp_path: Path) -> None:
    """Shifted by a pixel, or in the next UTM zone, where even the areas are equal: other ground, other figures."""
    make_run(tmp_path / "here")
    found = assess_run(tmp_path / "here", tmp_path)
    write_report(tmp_path / "here", ReportSources(assessment=found))
    assert "Error-adjusted area" in (tmp_path / "here" / "report.html").read_text()
    shifted = GeoBox(GRID.shape, Affine(10, 0, 500_010, 0, -10, 5_400_000), "EPSG:32633")
    next_zone = GeoBox(GRID.shape, GRID.transform, "EPSG:32632")
    for name, grid in (("shifted", shifted), ("next_zone", next_zone)):
        make_run(tmp_path / name, grid=grid)
        with pytest.raises(ProductError, match=r"is of another map than .* in its pixels or its place"):
            write_report(tmp_path / name, ReportSources(assessment=found))
        with pytest.raises(ProductError, match=r"their transforms differ|their CRSs differ, EPSG:32633 and EPSG:32632"):
            assess_map(str(tmp_path / name / "classes.tif"), tmp_path / "points.csv", tmp_path / f"{name}-assessment")


@pytest.mark.parametrize("name", ["areas.json", "change.json", "classes.tif", "change.tif"])
def test_a_file_changed_behind_its_record_is_not_quoted(tmp_path: Path, name: str) -> None:
    """Of the same size, so that only the checksum tells: one line, and the page of before stays."""
    out = tmp_path / "out"
    if name.startswith("change"):
        make_change(out, made_documents.change())
    else:
        make_run(out)
    (page,) = write_report(out)
    before = page.read_bytes()
    content = (out / name).read_bytes()
    if name.endswith(".json"):
        (out / name).write_bytes(content.replace(b"36000000.0", b"99000000.0", 1))
    else:
        (out / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert content != (out / name).read_bytes()
    with pytest.raises(ProductError, match=f"{name} has other bytes than when it was made"):
        write_report(out)
    assert page.read_bytes() == before


def test_a_document_that_is_not_the_run_s_is_not_quoted(tmp_path: Path) -> None:
    """A run without areas.json, beside which somebody laid one, and a change.json: the figures are the record's."""
    out, other = tmp_path / "out", made_documents.areas()
    with stage(out, overwrite=True) as staging:
        write_map(staging.folder, a_legend("other", "forest", "water"))
        staging.publish(a_record(areas=made_documents.areas()))
    other["classes"][1]["area_m2"] = 99_000_000.0
    (out / "areas.json").write_text(json.dumps(other))
    (out / "change.json").write_text(json.dumps(made_documents.change()))
    (path,) = write_report(out)
    page = Page(path.read_text())
    assert "3,600" in page.text
    assert "9,900" not in page.text
