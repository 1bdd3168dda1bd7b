"""Two runs compared: what is on record of them, what differs is told first, and they are never overwritten."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import LabelRows
from geoseg.core.window import Window
from geoseg.errors import ProductError, SettingsError
from geoseg.outcome import RunRecord
from geoseg.raster.classmap import ClassMapWriter
from geoseg.workflows.change import ChangeRequest, compare
from geoseg.workflows.product import read_product, stage

UTM = "EPSG:32633"
PLACE = Affine(10, 0, 500_000, 0, -10, 5_400_000)


def make_run(out: Path, labels: Any, **said: Any) -> Path:
    """A finished run's folder, as far as a comparison reads it."""
    facts: dict[str, Any] = {
        "geoseg": "0", "scene": "scene.tif", "fingerprint": "f", "job": "j", "pipeline": {}, "pipeline_digest": "p",
        "bundle": "forest", "bundle_sha256": "b", "engine": "torch-cpu", "precision": "fp32", "device": "cpu",
        "versions": {}, "started": datetime.now(UTC), "finished": datetime.now(UTC),
        "platform": "Landsat 5", "level": "surface",
    }  # fmt: skip
    values = np.asarray(labels, np.uint8)
    legend = Legend(classes=tuple(LandClass(id=k, name=n, color="#00ff00") for k, n in enumerate(("other", "forest"))))
    grid = GeoBox(values.shape, PLACE, UTM)
    with stage(out, overwrite=False) as staging:
        with ClassMapWriter(staging.folder, grid=grid, legend=legend, tags={}, confidence=False, threads=1) as writer:
            window = Window(row=0, col=0, height=values.shape[0], width=values.shape[1])
            writer.write(LabelRows(window=window, labels=values, confidence=values))
            writer.finish()
        staging.publish(RunRecord(**{**facts, **said}))
    return out


LAST = "these are counted pixels"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({}, {}, []),
        ({"platform": "Landsat 8"}, {}, ["the sensors differ (Landsat 8; Landsat 5)"]),
        ({"platform": None}, {"platform": None}, ["the sensors are not known"]),
        ({"bundle_sha256": "c", "bundle": "mine"}, {}, ["the model bundles differ (mine; forest)"]),
        ({"pipeline_digest": "q"}, {}, ["the pipelines differ"]),
        ({"level": None}, {}, ["the radiometric levels differ (not stated; surface)"]),
        ({"level": "display8"}, {"level": "display8"}, ["both maps are from display images"]),
        ({"engine": "torch-cuda"}, {}, ["the engines differ (torch-cuda fp32; torch-cpu fp32)"]),
        ({"areas": {"definition": {"name": "fao", "sha256": "1"}}}, {}, ["the definitions differ (fao; not stated)"]),
        ({"forest_definition": "trees"}, {}, ["the bundles mean different things"]),
        ({"acquired": "2010-01-30"}, {}, ["the seasons differ: 2010-01-30 and 2020-07-15"]),
        ({"acquired": "2010-08-30"}, {}, []),
        ({"acquired": "2010-12-10"}, {"acquired": "2020-01-20"}, []),
        ({"acquired": None}, {}, ["the dates of the maps are not known"]),
        ({"acquired": "2010-01-01/2010-12-31"}, {}, ["the dates of the maps are not known"]),
    ],
)
def test_what_differs_between_two_runs_comes_first(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], said: list[str]
) -> None:
    one = make_run(tmp_path / "one", [[1, 1, 0]], **{"acquired": "2010-07-01T14:00:00Z", **first})
    two = make_run(tmp_path / "two", [[1, 0, 0]], **{"acquired": "2020-07-15T14:00:00+00:00", **second})
    done = compare(ChangeRequest(first=str(one), second=str(two / "classes.tif")), tmp_path / "out")
    warnings = json.loads((tmp_path / "out" / "change.json").read_text())["warnings"]
    assert len(warnings) == len(said) + 1, warnings
    for warning, words in zip(warnings, [*said, LAST], strict=True):
        assert warning.startswith(words)
    assert done.report.maps[0].bundle == first.get("bundle", "forest")


def test_dates_of_runs_give_rates_unless_others_are_given(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", [[1, 1, 0]], acquired="2010-07-01T14:00:00Z")
    two = make_run(tmp_path / "two", [[1, 0, 0]], acquired="2020-07-01T14:00:00Z")
    assert compare(ChangeRequest(first=str(one), second=str(two)), tmp_path / "a").report.table.years == 10
    given = ChangeRequest(first=str(one), second=str(two), date1=date(2018, 7, 1))
    assert compare(given, tmp_path / "b").report.table.years == 2
    done = compare(ChangeRequest(first=str(one), second=str(two), years=5), tmp_path / "c")
    assert done.report.table.years == 5
    assert any(
        "years between the maps: 5, as given with --years, where the dates of the maps say 10" in note
        for note in done.report.notes
    )
    with pytest.raises(SettingsError, match="name the earlier map first"):
        compare(ChangeRequest(first=str(two), second=str(one), years=5), tmp_path / "d")


def test_a_run_is_never_overwritten_by_its_comparison(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one", [[1, 1, 0]]), make_run(tmp_path / "two", [[1, 0, 0]])
    for out in (one, two):
        with pytest.raises(ProductError, match="name another folder for the results"):
            compare(ChangeRequest(first=str(one), second=str(two / "classes.tif")), out, overwrite=True)
        read_product(out, checksums=True)


def test_a_map_changed_behind_its_record_is_refused(tmp_path: Path) -> None:
    """Of the same size: the checksum on record would stand beside figures of another map."""
    one, two = (make_run(tmp_path / name, [[1, 1, 0]]) for name in ("one", "two"))
    path = two / "classes.tif"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ProductError, match="has other bytes than when it was made"):
        compare(ChangeRequest(first=str(one), second=str(two), years=1), tmp_path / "out")
