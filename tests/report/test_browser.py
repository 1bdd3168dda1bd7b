"""A report in headless Chromium without a network: no request, no complaint, toggles, print, narrow screens."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoseg.core.legend import LandClass, Legend
from geoseg.workflows.report import ReportSources, build_report
from tests.report import made_documents
from tests.report.browser import Browser
from tests.report.products import a_legend, make_change, make_labels, make_run
from tests.report.test_page import HOSTILE, HOSTILE_FILE, sha256

SHOWN = """(() => {
  const canvas = document.querySelector('#map canvas');
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = {};
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at + 3]) {
      const color = [pixels[at], pixels[at + 1], pixels[at + 2]].join();
      seen[color] = (seen[color] || 0) + 1;
    }
  }
  return seen;
})()"""
CLICK = "[...document.querySelectorAll('#map-controls label')].find(one => one.textContent.trim() === {}).click()"
SLIDE = """(range => {
  range.value = 40;
  range.dispatchEvent(new Event('input'));
})(document.getElementById('map-opacity'))"""
PAPER_WIDTH = 688
"""A4 within its margins, 182 mm at 96 pixels an inch."""
RED, GREEN, BLUE = "217,199,154", "31,107,58", "51,102,204"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run with everything and hostile names, and a change, as files with a hostile name."""
    folder = tmp_path_factory.mktemp("pages")
    areas = made_documents.areas(**made_documents.definition(), **made_documents.zones(HOSTILE, "East"))
    areas["classes"][1]["name"] = HOSTILE
    record = make_run(folder / "run", legend=a_legend("other", HOSTILE, "water"), areas=areas, scene=HOSTILE_FILE)
    (folder / "assessment").mkdir()
    document = made_documents.assessment(sha256(folder / "run" / "classes.tif"))
    (folder / "assessment" / "assessment.json").write_text(json.dumps(document))
    run = folder / "re'po\"rt & <b>.html"
    run.write_text(build_report(folder / "run", record, ReportSources(assessment=folder / "assessment")))
    change = folder / "change.html"
    change.write_text(build_report(folder / "change", make_change(folder / "change", made_documents.change())))
    return {"run": run, "change": change}


@pytest.mark.parametrize("kind", ["run", "change"])
@pytest.mark.parametrize("width", [1200, 400])
def test_it_asks_for_nothing_and_nothing_complains(
    browser: Browser, pages: dict[str, Path], kind: str, width: int
) -> None:
    """The page itself is the only request; no alert, no violation of the policy, nothing wider than the screen."""
    browser.open(pages[kind], width=width)
    assert browser.evaluate("document.documentElement.dataset.map") == "ready"
    browser.call("Page.captureScreenshot")
    assert browser.requested == [pages[kind].as_uri()]
    assert browser.complaints == []
    assert browser.evaluate("document.scrollingElement.scrollWidth") <= width


def test_classes_can_be_hidden(browser: Browser, pages: dict[str, Path]) -> None:
    """Each box takes the pixels of its class off the map, and only those; the opacity and the layers obey."""
    browser.open(pages["run"])
    before = browser.evaluate(SHOWN)
    assert set(before) == {RED, GREEN, BLUE}
    assert sum(before.values()) == pytest.approx(4 * (make_labels() != 255).sum(), rel=0.1)
    browser.evaluate(CLICK.format(json.dumps(HOSTILE)))
    assert browser.evaluate(SHOWN) == {key: count for key, count in before.items() if key != GREEN}
    browser.evaluate(CLICK.format("'other'"))
    assert set(browser.evaluate(SHOWN)) == {BLUE}
    browser.evaluate(CLICK.format(json.dumps(HOSTILE)))
    browser.evaluate(CLICK.format("'other'"))
    assert browser.evaluate(SHOWN) == before
    browser.evaluate(SLIDE)
    assert browser.evaluate("document.querySelector('#map canvas').style.opacity") == "0.4"
    assert browser.evaluate("document.querySelectorAll('#map .map-confidence').length") == 0
    browser.evaluate(CLICK.format("'Confidence below 90 % (the darker, the less certain)'"))
    assert browser.evaluate("document.querySelectorAll('#map .map-confidence').length") == 1
    levels = "['.map-confidence', 'canvas'].map(one => +getComputedStyle(document.querySelector('#map ' + one)).zIndex)"
    above, below = browser.evaluate(levels)
    assert above > below
    assert browser.complaints == []


def test_the_documents_can_be_shown(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["run"])
    assert browser.evaluate("document.getElementById('json-view').hidden")
    browser.evaluate("document.getElementById('json-show').click()")
    shown = json.loads(browser.evaluate("document.getElementById('json-view').innerText"))
    assert shown["assessment.json"]["reference"]["used"] == 500
    assert browser.complaints == []


def test_it_reads_without_scripts(browser: Browser, pages: dict[str, Path]) -> None:
    """Tables and a still picture of the map; what needs scripts is not shown."""
    browser.open(pages["run"], scripts=False)
    assert browser.evaluate("document.documentElement.dataset.map") is None
    assert browser.evaluate("document.getElementById('map-classes').checkVisibility()")
    assert browser.evaluate("document.getElementById('map-classes').naturalWidth") > 100
    assert browser.evaluate("document.querySelectorAll('table').length") >= 6
    assert not browser.evaluate("document.getElementById('json-buttons').checkVisibility()")
    assert not browser.evaluate("document.getElementById('map-panel').checkVisibility()")
    assert browser.complaints == []


def test_it_prints(browser: Browser, pages: dict[str, Path]) -> None:
    """On paper the still picture takes the place of the map, and buttons go."""
    browser.open(pages["run"])
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.evaluate("document.getElementById('map-classes').checkVisibility()")
        assert not browser.evaluate("document.getElementById('map-panel').checkVisibility()")
        assert not browser.evaluate("document.getElementById('json-buttons').checkVisibility()")
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
    pdf = browser.print_pdf()
    assert pdf.startswith(b"%PDF")
    assert b"/Type /Page" in pdf or b"/Type/Page" in pdf


def test_nothing_is_cut_off_on_paper(browser: Browser, tmp_path: Path) -> None:
    """A dozen classes and their matrices: at the width of A4 no table is wider than the page."""
    names = tuple(f"class {k} with a rather long name" for k in range(12))
    legend = Legend(classes=tuple(LandClass(id=k, name=one, color=f"#0000{20 * k:02x}") for k, one in enumerate(names)))
    areas = made_documents.areas()
    areas["classes"] = [{**areas["classes"][0], "id": k, "name": one} for k, one in enumerate(names)]
    zone = {"zone": "Zone", "zone_m2": 1e8, "coverage_share": 0.9, "not_observed_m2": 1e7, "classes": areas["classes"]}
    record = make_run(tmp_path / "run", legend=legend, areas={**areas, "zones": [zone]})
    document = made_documents.assessment(sha256(tmp_path / "run" / "classes.tif"))
    document["classes"] = [{**document["classes"][0], "id": k, "name": one} for k, one in enumerate(names)]
    square = {"counts": [[100] * 12] * 12, "proportions": [[1 / 144] * 12] * 12}
    document["matrix"] = {"strata": list(range(12)), "reference_classes": list(range(12)), **square}
    (tmp_path / "assessment.json").write_text(json.dumps(document))
    run = build_report(tmp_path / "run", record, ReportSources(assessment=tmp_path))
    moved = made_documents.change(target=None)
    moved["classes"] = [{**moved["classes"][0], "id": k, "name": one} for k, one in enumerate(names)]
    moved["transitions"] = [
        {"from": j, "from_name": first, "to": k, "to_name": second, "area_m2": 1.2345678e9}
        for j, first in enumerate(names)
        for k, second in enumerate(names)
    ]
    change = build_report(tmp_path / "change", make_change(tmp_path / "change", moved, legend=legend))
    for name, text in {"run": run, "change": change}.items():
        page = tmp_path / f"{name}.html"
        page.write_text(text)
        assert max(right_edges_on_paper(browser, page)) <= PAPER_WIDTH + 1, name


def right_edges_on_paper(browser: Browser, page: Path) -> list[float]:
    """Where the tables of a page end, pixels from its left edge, when it is printed."""
    browser.open(page, width=PAPER_WIDTH)
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        found: list[float] = browser.evaluate(
            "[...document.querySelectorAll('table')].map(one => one.getBoundingClientRect().right)"
        )
        return found
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
