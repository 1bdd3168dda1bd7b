"""run.json as a value: load(dump(x)) == x, and what it refuses."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from geoseg.outcome import ProductFile, RunRecord

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)
sha256s = st.text("0123456789abcdef", min_size=64, max_size=64)
names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.timezones() | st.just(UTC))

records = st.builds(
    RunRecord,
    geoseg=texts,
    scene=texts,
    fingerprint=texts,
    scene_sha256=st.none() | sha256s,
    job=texts,
    pipeline=json_objects,
    pipeline_digest=texts,
    bundle=texts,
    bundle_sha256=texts,
    engine=texts,
    precision=texts,
    device=texts,
    versions=st.dictionaries(texts, texts, max_size=3),
    timings=st.dictionaries(texts, numbers, max_size=3),
    peak_memory_bytes=st.none() | st.integers(0, 2**50),
    notes=st.lists(texts, max_size=3).map(tuple),
    started=moments,
    finished=moments,
    areas=json_objects,
    products=st.dictionaries(names, st.builds(ProductFile, sha256=sha256s, bytes=st.integers(0, 2**60)), max_size=3),
)


@given(records)
def test_a_record_comes_back_from_its_text(record: RunRecord) -> None:
    assert RunRecord.from_text(record.to_text()) == record
    assert RunRecord.from_text(record.to_text()).to_text() == record.to_text()


def a_record() -> RunRecord:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    words = {name: name for name in ("geoseg", "scene", "fingerprint", "job", "bundle", "engine", "precision")}
    more = {name: name for name in ("pipeline_digest", "bundle_sha256", "device")}
    return RunRecord.model_validate({**words, **more, "pipeline": {}, "versions": {}, "started": now, "finished": now})


@pytest.mark.parametrize("name", ["../areas.json", "/etc/passwd", "a/b", "", ".hidden", "a\n", "..", "a\\b"])
def test_a_record_cannot_point_out_of_its_folder(name: str) -> None:
    content = json.loads(a_record().to_text())
    content["products"] = {name: {"sha256": "0" * 64, "bytes": 1}}
    with pytest.raises(ValidationError):
        RunRecord.from_text(json.dumps(content))


@pytest.mark.parametrize(
    "change", [{"format": "geoseg run 2"}, {"format": None}, {"job": 3}, {"started": "2026-01-01"}, {"extra": 1}]
)
def test_what_is_no_record_is_refused(change: dict[str, Any]) -> None:
    content = json.loads(a_record().to_text())
    with pytest.raises(ValidationError):
        RunRecord.from_text(json.dumps({**content, **change}))
