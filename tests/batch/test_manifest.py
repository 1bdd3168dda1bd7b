"""The manifest: each scene once, the same id for ever, and shards that share it out exactly."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.batch.manifest import fingerprint, freeze, identify, read_manifest
from geoseg.batch.place import Place, Shard
from geoseg.batch.source import Found
from geoseg.errors import ProductError, SettingsError


def of(*names: str) -> list[Found]:
    return [Found(files=(name,)) for name in names]


@settings(max_examples=25)
@given(names=st.lists(st.text("abcé/ .", min_size=1, max_size=8), min_size=1, max_size=30), shards=st.integers(1, 8))
def test_shards_share_the_manifest_out(names: list[str], shards: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(out=Path(folder))
        frozen = freeze(of(*names), place)
        once = list(dict.fromkeys(names))
        assert [one.uri for one in read_manifest(place)] == once
        assert (frozen.scenes, frozen.repeated) == (len(once), len(names) - len(once))
        parts = [[one.uri for one in read_manifest(place, Shard(index=k, count=shards))] for k in range(shards)]
        assert sorted(uri for part in parts for uri in part) == sorted(once)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_id_of_a_scene_is_for_ever() -> None:
    """Folders of products are named by it: it may never change. Computed with sha256sum."""
    assert identify("/archive/0.tif") == "f5cf8d58b5107e32"


def test_a_fingerprint_tells_a_changed_scene(tmp_path: Path) -> None:
    scene = tmp_path / "a.tif"
    scene.write_bytes(b"12345")
    before, size = fingerprint(str(scene))
    assert size == 5
    os.utime(scene, ns=(1, 1))
    later, _ = fingerprint(str(scene))
    assert before != later
    scene.write_bytes(b"123456")
    os.utime(scene, ns=(1, 1))
    assert fingerprint(str(scene))[0] != later
    assert fingerprint(str(tmp_path / "b.tif")) == ("", None)


def test_a_scene_of_several_files_has_the_fingerprint_of_all(tmp_path: Path) -> None:
    for name in ("B02.tif", "B03.tif"):
        (tmp_path / name).write_bytes(b"123")
    folder, size = fingerprint(str(tmp_path))
    assert size == 6
    place = Place(out=tmp_path / "out")
    freeze([Found(files=(str(tmp_path / "B02.tif"), str(tmp_path / "B03.tif")))], place)
    (one,) = read_manifest(place)
    assert Path(one.uri).read_text().split() == [str(tmp_path / "B02.tif"), str(tmp_path / "B03.tif")]
    assert (one.fingerprint, one.size) == (folder, 6)
    (tmp_path / "B03.tif").write_bytes(b"1234")
    assert fingerprint(one.uri)[0] != one.fingerprint


def test_missing_scenes_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"1")
    assert freeze(of(str(tmp_path / "a.tif"), "/nowhere/b.tif"), Place(out=tmp_path / "out")).missing == 1


def test_an_empty_source_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no scene in it"):
        freeze([], Place(out=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.parquet").write_bytes(b"x")
    with pytest.raises(ProductError, match="plan the batch again"):
        list(read_manifest(Place(out=tmp_path)))


def test_a_manifest_of_another_batch_is_refused(tmp_path: Path) -> None:
    place = Place(out=tmp_path)
    frozen = freeze(of("/a/1.tif", "/a/2.tif"), place)
    assert len(list(read_manifest(place, sha256=frozen.sha256))) == 2
    freeze(of("/a/1.tif", "/a/3.tif"), place)
    with pytest.raises(ProductError, match="not the one"):
        list(read_manifest(place, sha256=frozen.sha256))
