"""What a report says, and what it never does: load, run or show markup from a name, or state what nobody measured."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from geoseg.core.legend import LandClass, Legend
from geoseg.errors import ProductError
from geoseg.outcome import RunRecord
from geoseg.report.areas_document import Areas
from geoseg.report.change_document import UNASSESSED
from geoseg.report.content import ReportContent
from geoseg.report.document import parse_document
from geoseg.report.numbers import digits_of
from geoseg.report.page import render_page
from geoseg.report.target import find_target
from geoseg.workflows.product import read_product
from geoseg.workflows.report import ReportSources, build_report
from tests.report import made_documents
from tests.report.pages import Page
from tests.report.products import a_legend, make_change, make_run

HOSTILE = "<script>alert(1)</script>"
HOSTILE_FILE = "a\"b'c&d<img src=x onerror=alert(2)>.tif"

MATRIX = made_documents.assessment("")["matrix"]


def report(out: Path, record: RunRecord, *, assessment: dict[str, Any] | None = None) -> Page:
    """The page of a product, with an assessment of its map if asked."""
    sources = None
    if assessment is not None:
        folder = out.parent / f"{out.name}-assessment"
        folder.mkdir(exist_ok=True)
        (folder / "assessment.json").write_text(json.dumps(assessment))
        sources = ReportSources(assessment=folder)
    return Page(build_report(out, record, sources).encode("utf-8").decode("utf-8"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_names_stay_text(tmp_path: Path) -> None:
    """A class, a file, a zone and a note that are markup are shown as they are, and nothing of them is markup."""
    names = ("other", HOSTILE, "</svg><style>*{}</style>")
    areas = made_documents.areas(**made_documents.zones("<b onmouseover=alert(3)>Zone</b>", "East"))
    areas["classes"][1]["name"] = HOSTILE
    plain = make_run(tmp_path / "plain")
    hostile = make_run(
        tmp_path / "hostile", legend=a_legend(*names), areas=areas, scene=HOSTILE_FILE, notes=["</title><h1>"]
    )
    page, other = report(tmp_path / "hostile", hostile), report(tmp_path / "plain", plain)
    assert [tag for tag, _ in page.elements if tag == "script"] == ["script"] * 4
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in other.elements}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.scripts == other.scripts
    assert page.styles == other.styles
    for text in (HOSTILE, names[2], HOSTILE_FILE, "</title><h1>", "<b onmouseover=alert(3)>Zone</b>"):
        assert text in page.text
    assert any(row and row[0] == HOSTILE for row in page.rows)


@pytest.mark.parametrize("kind", ["run", "change"])
def test_nothing_is_loaded(tmp_path: Path, kind: str) -> None:
    """No address in any attribute or style; the policy admits these scripts and this style by their checksum."""
    out = tmp_path / "out"
    record = make_run(out) if kind == "run" else make_change(out, made_documents.change())
    page = report(out, record)
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith("data:image/"), value[:80]
        assert "style" not in attributes
    (style,) = page.styles
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in style
    assert len(page.scripts) == 2
    assert "sourceMappingURL" not in "".join(page.scripts)

    def allowed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    directives = dict(one.strip().split(" ", 1) for one in page.policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "data:"
    assert sorted(directives["script-src"].split()) == sorted(map(allowed, page.scripts))
    assert directives["style-src"] == allowed(style)


def test_the_documents_are_in_the_page(tmp_path: Path) -> None:
    """The JSON block gives back every figure unrounded, also with markup in it."""
    out = tmp_path / "out"
    areas = made_documents.areas(scene=HOSTILE)
    areas["classes"][1]["area_m2"] = 36_000_000.123456789
    record = make_run(out, areas=areas)
    assessment = made_documents.assessment(sha256(out / "classes.tif"))
    found = json.loads(report(out, record, assessment=assessment).data["geoseg-documents"])
    assert found["areas.json"] == json.loads((out / "areas.json").read_text())
    assert found["assessment.json"] == assessment
    assert found["run.json"]["job"] == record.job


def test_a_block_of_data_ends_nowhere_else(tmp_path: Path) -> None:
    """Neither an end tag with a space nor a comment in a name can end or swallow the block: it holds no markup."""
    out = tmp_path / "out"
    names = ("</script ><b>", "<!--<script>", "]]>&lt;")
    areas = made_documents.areas()
    areas["classes"] = [{**areas["classes"][0], "id": k, "name": name} for k, name in enumerate(names)]
    page = build_report(out, make_run(out, legend=a_legend(*names), areas=areas))
    for block in ("geoseg-documents", "geoseg-map"):
        text = page.partition(f'id="{block}">')[2].partition("</script>")[0]
        assert set("<>&").isdisjoint(text)
        found = json.loads(text)
        classes = found["classes"] if block == "geoseg-map" else found["areas.json"]["classes"]
        assert [one["name"] for one in classes] == list(names)


def test_tables_say_it_without_scripts(tmp_path: Path) -> None:
    """Figures are cells of the page itself: classes, what has no class, the footprint."""
    out = tmp_path / "out"
    page = report(out, make_run(out))
    rows = {row[0]: row for row in page.rows if row}
    assert rows["forest"][1:6] == ["360,000", "36,000,000", "3,600.00", "40.00 %", "36.00 %"]
    assert rows["not observed (nodata)"][2:4] == ["10,000,000", "1,000.00"]
    assert rows["footprint"][2:4] == ["100,000,000", "10,000.00"]
    assert rows["classes.tif"][2] == sha256(out / "classes.tif")


def test_without_a_sample_no_uncertainty_is_stated(tmp_path: Path) -> None:
    out = tmp_path / "out"
    page = report(out, make_run(out))
    assert "no uncertainty can be stated" in page.text
    assert "±" not in page.text
    assert "confidence interval" not in page.text
    assert "Error-adjusted" not in page.text


def test_with_a_sample_the_two_figures_stand_apart(tmp_path: Path) -> None:
    """Error-adjusted with its interval, mapped without one."""
    out = tmp_path / "out"
    record = make_run(out)
    page = report(out, record, assessment=made_documents.assessment(sha256(out / "classes.tif")))
    figures = re.findall(r"(Error-adjusted area|Mapped area) of class “forest”\s+([\d,.]+(?: ± [\d,.]+)?)\s", page.text)
    assert figures == [("Error-adjusted area", "3,870 ± 176"), ("Mapped area", "3,600.00")]
    assert "3,694 to 4,046 ha" in page.text
    assert "no uncertainty can be stated" not in page.text
    assert ["forest", "9 1.80 %", "191 38.20 %", "200"] in page.rows


def test_a_rare_class_has_its_score_interval(tmp_path: Path) -> None:
    """Few points of omission: ± would promise too much."""
    out = tmp_path / "out"
    record = make_run(out)
    assessment = made_documents.assessment(sha256(out / "classes.tif"))
    assessment["classes"][1]["area_interval"] = "score"
    assessment["classes"][1]["area_score_m2"] = {"low": 3.6e7, "high": 4.2e7}
    assessment["classes"][1]["producers_accuracy_score"] = {"low": 0.852, "high": 0.987}
    assessment["classes"][0]["users_accuracy"] = {"value": 1.0, "se": 0.0, "half_width": 0.0}
    assessment["classes"][0]["users_accuracy_score"] = {"low": 0.886, "high": 1.0}
    page = report(out, record, assessment=assessment)
    assert "3,870 ±" not in page.text
    assert re.search(r"Error-adjusted area of class “forest”\s+3,870\s", page.text)
    assert "Score interval 3,600 to 4,200 ha" in page.text
    rates = {row[0]: row[1:3] for row in page.rows if len(row) == 6}
    assert rates["forest"] == ["92.0 ± 3.1 %", "96.8 % (85.2 to 98.7)"]
    assert rates["other"] == ["100.0 % (88.6 to 100.0)", "96.8 ± 2.0 %"]


def test_an_assessment_of_another_map_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    record = make_run(out)
    with pytest.raises(ProductError, match="is of another map"):
        report(out, record, assessment=made_documents.assessment("0" * 64))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": None}, r"classes: .*make it again with geoseg assess"),
        ({"confidence_level": 2}, "confidence_level"),
        ({"confidence_level": 0.2}, "confidence_level"),
        ({"confidence_level": 0.9999}, "confidence_level"),
        ({"overall_accuracy": {"value": "x"}}, r"overall_accuracy\.value"),
        ({"matrix": {**MATRIX, "counts": [[276, 24]]}}, r"matrix: .*counts are not 2 rows of 2"),
        ({"matrix": {**MATRIX, "counts": [[276, 24], [9]]}}, r"matrix: .*counts are not 2 rows of 2"),
        ({"matrix": {**MATRIX, "counts": [[276, 24], [9, -1]]}}, r"matrix\.counts\.1\.1"),
        ({"matrix": {**MATRIX, "proportions": [[0.5], [0.5]]}}, r"matrix: .*proportions are not 2 rows of 2"),
        ({"matrix": {**MATRIX, "proportions": [[0.5, 0.5], [1.5, 0]]}}, r"matrix\.proportions\.1\.0"),
        ({"notes": [10**400]}, r"notes\.0"),
    ],
)
def test_a_damaged_assessment_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    out = tmp_path / "out"
    record = make_run(out)
    with pytest.raises(ProductError, match=words) as caught:
        report(out, record, assessment={**made_documents.assessment(sha256(out / "classes.tif")), **change})
    assert "\n" not in str(caught.value)


NOT_FINITE = [json.dumps({**made_documents.areas(), "more": 0})[:-2] + one + "}" for one in ("NaN", "1e999", "-1e400")]


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff", '{"a":' * 5000 + "1" + "}" * 5000, *NOT_FINITE])
def test_what_is_no_document_is_refused(tmp_path: Path, text: str) -> None:
    out = tmp_path / "out"
    record = make_run(out)
    (out / "areas.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ProductError, match=r"areas\.json.*make it again with geoseg run"):
        report(out, record)


def test_what_no_page_shows_does_no_harm(tmp_path: Path) -> None:
    """Half a surrogate pair and a whole number beyond all floats, under keys that nobody asked for."""
    out = tmp_path / "out"
    record = make_run(out)
    document = {**made_documents.assessment(sha256(out / "classes.tif")), "half": "\ud83d", "many": 10**400}
    page = report(out, record, assessment=document)
    (text,) = (text for text in page.data.values() if "10000000000000000" in text)
    assert json.loads(text)["assessment.json"]["half"] == "\ud83d"


def test_nesting_that_can_be_read_but_not_written_again_is_refused() -> None:
    """Reading and writing JSON do not end at the very same depth."""
    areas = parse_document(Areas, made_documents.areas(), place="x", again="y")
    deep: Any = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(ProductError, match="nested too deep"):
        render_page(ReportContent(title="x", areas=areas, documents={"areas.json": deep}))


def test_forest_is_said_only_where_something_says_it(tmp_path: Path) -> None:
    """Class names, bundle or definition; else it is mapped tree cover."""
    out = tmp_path / "trees"
    areas = made_documents.areas()
    areas["classes"][1]["name"] = "trees"
    page = report(out, make_run(out, legend=a_legend("other", "trees", "water"), areas=areas))
    assert "forest" not in page.text.lower()
    assert "Area of mapped tree cover (class “trees”)" in page.text
    defined = report(
        out, make_run(out, legend=a_legend("other", "trees", "water"), areas={**areas, "definition": fao("trees")})
    )
    assert "Mapped area of forest" in defined.text
    assert "patches of at least 0.5 ha; at least 20 m wide" in defined.text


def fao(*classes: str) -> dict[str, Any]:
    entry: dict[str, Any] = {**made_documents.definition()["definition"], "classes": list(classes)}
    return entry


def test_rules_and_zones_are_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    areas = made_documents.areas(**made_documents.definition(), **made_documents.zones("North", "South"))
    page = report(out, make_run(out, areas=areas))
    assert ["forest", "3,700.00", "3,600.00", "−100.00", "2.10"] in page.rows
    assert "7 undetermined" in page.text
    assert ["North", "2,700.00", "1,800.00", "500.00", "90.0 %", ""] in page.rows
    assert ["all zones", "5,400.00", "3,600.00", "", "", ""] in page.rows
    assert "its ring crosses itself" in page.text


def test_a_change_says_its_warnings_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    page = report(out, make_change(out, made_documents.change()))
    assert page.text.index("Before these figures are used") < page.text.index("Mapped loss of class “forest”")
    rows = {row[0]: row for row in page.rows if row}
    assert rows["Second map"] == ["Second map", "5,700.00", "3,300.00", "9,000.00"]
    assert rows["Footprint"][-1] == "10,000.00"
    assert rows["Not observed"][-1] == "1,000.00"
    assert "8.3 % larger" in page.text
    assert "no uncertainty can be stated" in page.text


def test_an_assessed_change_has_its_estimates_first(tmp_path: Path) -> None:
    """Loss and gain as the sample has them, each beside what the map has."""
    out = tmp_path / "out"
    record = make_change(out, made_documents.change())
    document = made_documents.assessment(sha256(out / "change.tif"))
    document["classes"][0]["name"], document["classes"][1]["name"] = "stable forest", "forest loss"
    text = report(out, record, assessment=document).text
    places = [text.index(one) for one in ("Error-adjusted loss of class “forest”", "3,870 ± 176", "Mapped loss of")]
    assert places == sorted(places)
    assert text.index("Mapped loss of") < text.index("Mapped gain of")


def test_only_a_change_without_assessment_asks_for_one(tmp_path: Path) -> None:
    """The other warnings stay; what asks is the very sentence that geoseg change writes."""
    out = tmp_path / "out"
    change = made_documents.change(warnings=["The maps are of different seasons.", UNASSESSED])
    record = make_change(out, change)
    assert "assess the change map with geoseg sample" in report(out, record).text
    assessed = report(out, record, assessment=made_documents.assessment(sha256(out / "change.tif"))).text
    assert "assess the change map" not in assessed
    assert "The maps are of different seasons." in assessed
    make_change(out, made_documents.change(warnings=[UNASSESSED]))
    assert (
        "Before these figures are used"
        not in report(out, record, assessment=made_documents.assessment(sha256(out / "change.tif"))).text
    )


def part_of_it() -> dict[str, Any]:
    """An assessment whose sample was drawn where a third of the mapped forest is."""
    document = made_documents.assessment("")
    document["classes"][1] |= {"mapped_m2": 1.2e7, "area_m2": {**document["classes"][1]["area_m2"], "value": 1.3e7}}
    return document


def test_a_sample_of_a_part_says_so_first(tmp_path: Path) -> None:
    """The figure of the whole is the mapped one and comes first; the estimate is of the part, in words."""
    out = tmp_path / "out"
    record = make_run(out)
    document = part_of_it() | {"map": {"name": "classes.tif", "sha256": sha256(out / "classes.tif")}}
    text = " ".join(report(out, record, assessment=document).text.split())
    label = "Error-adjusted area of class “forest”, in the sampled part alone"
    places = [text.index(one) for one in ("Mapped area of class “forest”", label)]
    assert places == sorted(places)
    assert "a part of the map that holds 1,200.00 of the 3,600.00 ha mapped as forest" in text
    assert "no figure for the whole" in text


def test_a_sample_of_a_part_of_a_change_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    record = make_change(out, made_documents.change())
    document = part_of_it() | {"map": {"name": "change.tif", "sha256": sha256(out / "change.tif")}}
    document["classes"][1] |= {"name": "forest loss", "mapped_m2": 3.0e6}
    text = " ".join(report(out, record, assessment=document).text.split())
    assert "Error-adjusted loss of class “forest”, in the sampled part alone" in text
    assert "a part of the map that holds 300.00 of the 400.00 ha mapped as forest loss" in text


def test_a_definition_of_both_maps_names_their_change(tmp_path: Path) -> None:
    """Of one map only it does not."""
    both = made_documents.change(classes=made_documents.change()["classes"][:])
    for one in ("map1", "map2"):
        both[one] = {**both[one], "definition": fao("forest")}
    out = tmp_path / "out"
    assert "Mapped loss of forest from" in report(out, make_change(out, both)).text
    both["map2"] = {**both["map2"], "definition": None}
    assert "Mapped loss of class “forest” from" in report(out, make_change(out, both)).text


def test_an_old_product_without_the_new_keys_has_a_page(tmp_path: Path) -> None:
    """Products of versions before zones, rules and definitions."""
    out = tmp_path / "out"
    areas = {key: one for key, one in made_documents.areas().items() if key not in {"zones", "nominal"}}
    assert ["footprint", "", "100,000,000"] in [row[:3] for row in report(out, make_run(out, areas=areas)).rows]
    assert read_product(out).scene == "scene.tif"


@pytest.mark.parametrize(
    ("names", "ids", "term"),
    [
        (["other", "forest"], (1,), "class “forest”"),
        (["forest", "non-forest"], (0,), "class “forest”"),
        (["conifer forest", "mixed forest", "water"], (0, 1), "classes “conifer forest”, “mixed forest”"),
        (["no trees", "trees"], (1,), "mapped tree cover (class “trees”)"),
        (["background", "water"], (1,), "class “water”"),
        (["water", "town"], None, ""),
        (["forestry road", "town"], None, ""),
    ],
)
def test_the_headline_is_about(names: list[str], ids: tuple[int, ...] | None, term: str) -> None:
    found = find_target(dict(enumerate(names)))
    assert (found.ids, found.term) == (ids, term) if found else ids is None


@pytest.mark.parametrize(
    ("half", "digits"), [(12_345.0, 0), (123.4, 0), (12.3, 0), (1.23, 1), (0.123, 2), (1e-9, 4), (0.0, 2)]
)
def test_no_more_digits_than_the_interval_knows(half: float, digits: int) -> None:
    assert digits_of(half) == digits


def test_a_shared_color_is_no_shared_class(tmp_path: Path) -> None:
    """Two classes of one color are drawn a step apart, so that each can be hidden; the page shows the legend's."""
    out = tmp_path / "out"
    legend = Legend(classes=tuple(LandClass(id=k, name=f"class {k}", color="#808080") for k in range(3)))
    page = report(out, make_run(out, legend=legend))
    shown = json.loads(page.data["geoseg-map"])["classes"]
    assert len({one["drawn"] for one in shown}) == 3
    assert {one["color"] for one in shown} == {"#808080"}
