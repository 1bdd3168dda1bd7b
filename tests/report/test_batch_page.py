"""The page of an archive: sums are no union, names stay text, its size is bounded, it loads nothing."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from geoseg.errors import ProductError
from geoseg.report.batch_content import BatchContent, ClassSum, FailureGroup, SceneRow, ZoneSum
from geoseg.report.batch_map import ArchiveMap
from geoseg.report.batch_page import SHOWN_ROWS, SUMS, render_batch_page
from geoseg.report.document import parse_document
from geoseg.report.facts import Fact
from geoseg.report.histogram import make_histogram
from geoseg.report.union_document import Union, read_union
from tests.report.pages import Page
from tests.report.test_batch_map import square
from tests.report.test_page import HOSTILE, HOSTILE_FILE

UNION: dict[str, Any] = {
    "schema": "geoseg/batch-union/1",
    "rule": "first",
    "rule_text": "of several scenes the first in the manifest counts.",
    "scenes": 3,
    "classes": [
        {"id": 0, "name": "other", "pixels": 100, "area_m2": 3e6, "area_ha": 300.0},
        {"id": 1, "name": "forest", "pixels": 100, "area_m2": 5_678_900.0, "area_ha": 567.89},
    ],
    "nodata_m2": 1e4,
    "footprint_m2": 9e6,
    "sum_of_footprints_m2": 1.2e7,
    "overlap_m2": 3e6,
    "notes": ["scenes of two CRS meet"],
}


def a_map(scenes: int = 3) -> dict[str, Any] | None:
    found = ArchiveMap()
    for k in range(scenes):
        found.add(replace(square(10 + k % 100, 40 - k // 100), shares={0: 0.4, 1: 0.6}, title=f"s{k}.tif"))
    return found.to_json()


def a_row(k: int = 0, **more: Any) -> SceneRow:
    found: dict[str, Any] = {"title": f"s{k}.tif", "uri": f"archive/s{k}.tif", "state": "done", "seconds": 1.5 + k}
    return SceneRow(**{**found, "attempts": 1, "footprint_m2": 4e6, "areas_m2": {0: 1e6, 1: 2e6}, **more})


def content(**more: Any) -> BatchContent:
    """Three scenes that are done and one that failed."""
    failed = a_row(9, state="failed", error="s9.tif has 1 band", areas_m2={}, footprint_m2=None)
    names = ("other", "forest")
    made: dict[str, Any] = {
        "title": "archive",
        "subtitle": "4 scenes",
        "scenes": 4,
        "counts": {"done": 3, "failed": 1},
        "measured": 3,
        "classes": tuple(
            ClassSum(id=k, name=name, color="#1f6b3a", pixels=100, area_m2=6_789_000.0 + k)
            for k, name in enumerate(names)
        ),
        "footprint_m2": 1.2e7,
        "nodata_m2": 2e4,
        "failures": (FailureGroup(code="scene", count=1, shown=(failed,)),),
        "rows": (*(a_row(k) for k in range(3)), failed),
        "seconds": make_histogram([1.5, 2.5, 3.5]),
        "map": a_map(),
        "facts": (Fact(label="Source", value="archive"),),
        "files": (("areas.csv", "areas"),),
        "documents": {"batch-report.json": {"sum": 1}},
    }
    return BatchContent(**{**made, **more})


def page(**more: Any) -> Page:
    return Page(render_batch_page(content(**more)))


def union(**more: Any) -> Union:
    return parse_document(Union, {**UNION, **more}, place="union.json", again="make it again")


def test_a_sum_is_never_called_the_area_of_the_union() -> None:
    """The sentence stands beside the headline and, with a union, both figures stand side by side with its rule."""
    alone, both = page(), page(union=union())
    for one in (alone, both):
        assert SUMS in one.text
        assert "not the area of their union" in one.text
    assert "counted once" not in " ".join(" ".join(row) for row in alone.rows)
    (forest,) = (row for row in both.rows if row[:1] == ["forest"])
    assert forest[2] == "678.90"
    assert forest[4] == "567.89"
    assert UNION["rule_text"] in both.text
    assert "300.00 ha of the footprints show ground that another scene shows" in " ".join(both.text.split())
    assert "Scenes of two CRS meet" in both.text or "scenes of two CRS meet" in both.text


def test_a_union_of_other_scenes_is_told() -> None:
    text = " ".join(page(union=union(scenes=2)).text.split())
    assert "Ground counted once is of 2 scenes, the sums are of 3" in text
    assert "Ground counted once is of" not in page(union=union()).text


def test_a_damaged_union_is_refused_in_one_line(tmp_path: Any) -> None:
    assert read_union(tmp_path) is None
    for text in ('{"schema": "geoseg/batch-union/9"}', "{", json.dumps({**UNION, "footprint_m2": -1})):
        (tmp_path / "union.json").write_text(text)
        with pytest.raises(
            ProductError, match=r"union\.json.*make it again with geoseg batch report --union"
        ) as caught:
            read_union(tmp_path)
        assert "\n" not in str(caught.value)


def test_names_stay_text() -> None:
    """Names of scenes, classes, zones, errors, files and the source that are markup are shown as they are."""
    hostile = a_row(title=HOSTILE_FILE, uri=HOSTILE, error="</td><script>alert(4)</script>", state="failed")
    zone = ZoneSum(zone=HOSTILE, zone_m2=1e6, footprint_m2=1e6, scenes=1, areas_m2={0: 1.0})
    classes = (ClassSum(id=0, name="</script><script>alert(5)</script>", color="#000000", pixels=1, area_m2=1e6),)
    drawn = ArchiveMap()
    drawn.add(replace(square(1, 2), title=HOSTILE))
    bad = page(
        title=HOSTILE,
        rows=(hostile, replace(hostile, link="scenes/ab/report.html")),
        classes=classes,
        zones=(zone,),
        failures=(FailureGroup(code=HOSTILE, count=1, shown=(hostile,)),),
        map=drawn.to_json(),
        remarks=(HOSTILE,),
        documents={HOSTILE: HOSTILE},
    )
    zones = (ZoneSum(zone="z", zone_m2=1e6, footprint_m2=1e6, scenes=1, areas_m2={0: 1.0}),)
    good = page(zones=zones, remarks=("x",))
    assert {tag for tag, _ in bad.elements} <= {tag for tag, _ in good.elements}
    assert [tag for tag, _ in bad.elements if tag == "script"] == ["script"] * 4
    assert HOSTILE_FILE in bad.text
    assert json.loads(bad.data["geoseg-documents"]) == {HOSTILE: HOSTILE}
    assert json.loads(bad.data["geoseg-archive"])["shapes"][0]["title"] == HOSTILE


def test_it_loads_nothing() -> None:
    """The policy admits the scripts and the style of the page by their checksums, and addresses are relative."""
    found = page(rows=(a_row(link="scenes/ab/abcd/report.html"),))
    assert "default-src 'none'" in found.policy
    assert "unsafe" not in found.policy
    addresses = [one.get(key) for _, one in found.elements for key in ("src", "href") if one.get(key)]
    assert "scenes/ab/abcd/report.html" in addresses
    assert not [one for one in addresses if one and re.match(r"[a-z]+:|//", one)]
    assert not [one for _, one in found.elements if "style" in one or any(key.startswith("on") for key in one)]


def test_what_is_left_out_is_said() -> None:
    """Rows and zones are bounded, and the page says where the rest is; scenes that are not done are told of."""
    rows = tuple(a_row(k) for k in range(SHOWN_ROWS))
    found = page(rows=rows, scenes=100_000, counts={"done": 90_000, "failed": 7, "quarantined": 2, "pending": 9991})
    text = " ".join(found.text.split())
    assert f"The first {SHOWN_ROWS:,} of 100,000: summary.parquet has every scene" in text
    assert "7 failed, 2 quarantined, 9,991 still to do: the figures leave these scenes out" in text
    zones = tuple(
        ZoneSum(zone=f"zone {k}", zone_m2=1e6, footprint_m2=float(k), scenes=1, areas_m2={1: 1e4 * k})
        for k in range(500)
    )
    listed = [row[0] for row in page(zones=zones).rows if row and row[0].startswith("zone ")]
    assert listed == [f"zone {k}" for k in range(499, 199, -1)], "those with most ground"


def test_the_largest_page_is_small() -> None:
    """Everything at its bound, with long names: well below 5 MB."""
    long = "a_rather_long_name_of_a_scene_" * 4
    rows = tuple(a_row(k, title=f"{long}{k}.tif", uri=f"folder/{long}{k}.tif") for k in range(SHOWN_ROWS))
    examples = tuple(a_row(k, state="failed", error="why " * 150) for k in range(20))
    drawn = ArchiveMap()
    for k in range(5000):
        drawn.add(replace(square(k % 300 - 150, k // 300 - 40), title=f"{long}{k}.tif", shares={0: 0.4, 1: 0.6}))
    groups = tuple(FailureGroup(code=f"code {k}", count=99, shown=examples) for k in range(50))
    text = render_batch_page(content(rows=rows, map=drawn.to_json(), failures=groups))
    assert len(text.encode()) < 5e6


def test_a_batch_that_was_not_begun_has_a_page() -> None:
    empty: dict[str, Any] = dict.fromkeys(("classes", "rows", "failures"), ())
    found = page(**empty, counts={"pending": 4}, measured=0, seconds=None, map=None, footprint_m2=0.0, nodata_m2=0.0)
    assert "No scene was begun." in found.text
    assert "No scene with a known place." in found.text
