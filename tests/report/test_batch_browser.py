"""The page of an archive in headless Chromium without a network: no request, no complaint, sorting, colors, print."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from geoseg.report.batch_content import ZoneSum
from geoseg.report.batch_map import ArchiveMap
from geoseg.report.batch_page import render_batch_page
from tests.report.browser import Browser
from tests.report.test_batch_map import square
from tests.report.test_batch_page import a_map, a_row, content, union
from tests.report.test_page import HOSTILE, HOSTILE_FILE

CLICK = "[...document.querySelectorAll('.scenes th button')].find(one => one.textContent === '{}').click()"
COLUMN = "[...document.querySelectorAll('.scenes tbody tr')].map(row => row.cells[{}].textContent.trim())"
COLORS = """(() => {
  const drawn = document.querySelector('#map canvas'), canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [drawn.width, drawn.height];
  canvas.getContext('2d').drawImage(drawn, 0, 0);
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let seen = 0;
  for (let at = 0; at < pixels.length; at += 4) {
    const near = [0, 1, 2].every(k => Math.abs(pixels[at + k] - WANTED[k]) < 12);
    if (pixels[at + 3] > 100 && near) { seen += 1; }
  }
  return seen;
})()"""
CHOOSE = """(() => {
  const one = document.getElementById('map-color');
  one.value = '1';
  one.dispatchEvent(new Event('change'));
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))));
})()"""
GREEN, RED, BLUE = "[47, 125, 92]", "[192, 57, 43]", "[44, 127, 184]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Few scenes with hostile names, as a file with a hostile name; and many, in cells."""
    folder = tmp_path_factory.mktemp("pages")
    drawn = ArchiveMap()
    drawn.add(replace(square(10, 50), title=HOSTILE, shares={0: 0.3, 1: 0.7}, link="scenes/ab/report.html"))
    drawn.add(replace(square(11, 50, state="failed"), title=HOSTILE_FILE))
    rows = (
        a_row(title=HOSTILE_FILE, seconds=10.5),
        a_row(title="b", seconds=9.25, link="scenes/ab/report.html"),
        a_row(title="c", seconds=None, state="failed"),
        a_row(title="d", seconds=1200.0),
    )
    zone = ZoneSum(zone=HOSTILE, zone_m2=1e7, footprint_m2=1e6, scenes=2, areas_m2={0: 1e5})
    few, many = folder / "re'po\"rt & <b>.html", folder / "many.html"
    few.write_text(render_batch_page(content(rows=rows, zones=(zone,), map=drawn.to_json(), union=union())))
    many.write_text(render_batch_page(content(map=a_map(5001), scenes=5001)))
    return {"few": few, "many": many}


def seen(browser: Browser, color: str) -> int:
    count: int = browser.evaluate(COLORS.replace("WANTED", color))
    return count


@pytest.mark.parametrize("kind", ["few", "many"])
@pytest.mark.parametrize("width", [1200, 400])
def test_it_asks_for_nothing_and_nothing_complains(
    browser: Browser, pages: dict[str, Path], kind: str, width: int
) -> None:
    browser.open(pages[kind], width=width)
    assert browser.evaluate("document.documentElement.dataset.map") == "ready"
    browser.call("Page.captureScreenshot")
    assert browser.requested == [pages[kind].as_uri()]
    assert browser.complaints == []
    assert browser.evaluate("document.scrollingElement.scrollWidth") <= width


def test_scenes_are_sorted_by_a_click(browser: Browser, pages: dict[str, Path]) -> None:
    """Numbers as numbers, what has none last, both ways; the state is told to screen readers."""
    browser.open(pages["few"])
    browser.evaluate(CLICK.format("Seconds"))
    assert browser.evaluate(COLUMN.format(2)) == ["9.25", "10.50", "1200.00", "–"]
    browser.evaluate(CLICK.format("Seconds"))
    assert browser.evaluate(COLUMN.format(2)) == ["1200.00", "10.50", "9.25", "–"]
    assert browser.evaluate("document.querySelectorAll('.scenes th')[2].getAttribute('aria-sort')") == "descending"
    browser.evaluate(CLICK.format("Scene"))
    assert browser.evaluate(COLUMN.format(0)) == [HOSTILE_FILE, "b", "c", "d"]
    assert browser.complaints == []


def test_the_map_takes_the_color_that_is_chosen(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["few"])
    assert seen(browser, GREEN) > 100
    assert seen(browser, RED) > 100
    browser.evaluate(CHOOSE)
    assert seen(browser, BLUE) > 100
    assert seen(browser, RED) == 0, "a scene without areas is grey"
    assert "60–80 %" in browser.evaluate("document.getElementById('map-legend').textContent")
    assert browser.complaints == []


def test_a_scene_tells_its_name_as_text(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["few"])
    click = "new MouseEvent('{}', {{bubbles: true, view: window, clientX: x, clientY: y}})"
    events = "".join(f"target.dispatchEvent({click.format(kind)});" for kind in ("mousemove", "mousedown", "mouseup"))
    browser.evaluate(
        "(() => { const target = document.querySelector('#map canvas'), box = target.getBoundingClientRect(), "
        "map = document.getElementById('map').getBoundingClientRect(), "
        "x = map.left + map.width * 0.3, y = map.top + map.height / 2; "
        f"{events} target.dispatchEvent({click.format('click')}); }})()"
    )
    assert browser.evaluate("document.querySelector('.leaflet-popup-content a').textContent") == HOSTILE
    assert "70.0 %" in browser.evaluate("document.querySelector('.leaflet-popup-content').textContent")
    assert browser.complaints == []


def test_it_reads_without_scripts_and_prints(browser: Browser, pages: dict[str, Path]) -> None:
    """Tables and the drawing are there, what needs scripts is not; on paper, too."""
    browser.open(pages["few"], scripts=False)
    for shown in ("#map-static svg", ".scenes", "svg.histogram", "details[open]"):
        assert browser.evaluate(f"document.querySelector('{shown}').checkVisibility()"), shown
    for hidden in ("#map-panel", "#json-buttons"):
        assert not browser.evaluate(f"document.querySelector('{hidden}').checkVisibility()"), hidden
    browser.open(pages["few"])
    assert not browser.evaluate("document.querySelector('#map-static').checkVisibility()")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.evaluate("document.querySelector('#map-static svg').checkVisibility()")
        assert not browser.evaluate("document.querySelector('#map-panel').checkVisibility()")
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
    assert browser.print_pdf().startswith(b"%PDF")
    assert browser.complaints == []
