"""What planning leaves where nothing could be planned: nothing of its own, and everything that was there."""

import json
from pathlib import Path
from typing import Any

import pytest

from geoseg.batch.listing import Listing
from geoseg.batch.plan import BatchRequest, plan_batch
from geoseg.errors import InputError
from tests.batch.test_batch import CONFIG, pipeline
from tests.model.bundles import tiny_bundle


@pytest.fixture
def request_of_a_bad_search(tmp_path: Path) -> BatchRequest:
    """Items of two files, each of which gets a list, and a last that is no item: more than are looked at together."""
    tiny_bundle(tmp_path / "bundle")
    (tmp_path / "archive").mkdir()
    names = [(f"{k}-B2", f"{k}-B3") for k in range(300)]
    assets = [{name: {"href": f"{name}.tif", "roles": ["data"]} for name in both} for both in names]
    items: list[Any] = [*({"type": "Feature", "id": "good", "assets": one} for one in assets), None]
    source = tmp_path / "archive" / "search.json"
    source.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return BatchRequest(source=str(source), pipeline=pipeline(tmp_path / "archive"), config=CONFIG)


def test_a_refused_plan_leaves_no_folder(tmp_path: Path, request_of_a_bad_search: BatchRequest) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"features.300: item without id"):
        plan_batch(request_of_a_bad_search, tmp_path / "of" / "many" / "folders")
    assert sorted(tmp_path.iterdir()) == before


def test_a_refused_plan_leaves_what_was_there(tmp_path: Path, request_of_a_bad_search: BatchRequest) -> None:
    """Files of somebody who gave the wrong folder, of whatever name."""
    mine = [tmp_path / "mine" / name for name in ("lists/a.txt", "logs/b.txt", "signatures.json", "manifest.parquet")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    with pytest.raises(InputError):
        plan_batch(request_of_a_bad_search, tmp_path / "mine")
    assert [path.read_text() for path in mine] == ["mine"] * 4


def test_what_is_left_out_is_noted(tmp_path: Path, request_of_a_bad_search: BatchRequest) -> None:
    source = tmp_path / "archive" / "list.txt"
    source.write_text("a.tif\na.tif\n")
    request = BatchRequest(source=str(source), pipeline=request_of_a_bad_search.pipeline, config=CONFIG)
    listing = Listing()
    planned = plan_batch(request, tmp_path / "out", listing)
    assert planned.notes == ("named more than once, but done once: 1 scene", "not there now: 1 of 1 scene")
    assert (tmp_path / "out" / "logs").is_dir()
    assert listing.scenes == 2
