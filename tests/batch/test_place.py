"""Shards, locks, file systems."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from geoseg.batch.place import Place, Shard, check_shard, is_shared, locked
from geoseg.errors import FullDiskError, ProductError, SettingsError


def test_a_shard_is_a_fraction_from_zero() -> None:
    assert Shard.parse("3/8") == Shard(index=3, count=8)
    for text in ("8/8", "1", "-1/8", "a/b", "1/0", "1/8/2", ""):
        with pytest.raises(SettingsError, match="from 0 to N - 1"):
            Shard.parse(text)


def test_a_folder_keeps_its_number_of_shards(tmp_path: Path) -> None:
    place = Place(out=tmp_path)
    ledger = place.ledger(Shard(index=2, count=8))
    ledger.parent.mkdir()
    ledger.touch()
    check_shard(place, Shard(index=0, count=8))
    for other in (Shard(), Shard(index=0, count=4)):
        with pytest.raises(ProductError, match="begun in 8 shards"):
            check_shard(place, other)


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.lock"
    with locked(path), pytest.raises(ProductError, match=r"by process \d+ on"), locked(path):
        pass
    with locked(path):
        pass


def test_a_network_file_system_is_known(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path}/with\\040space nfs4 rw 0 0\n"
        f"lustre {tmp_path}/l lustre rw 0 0\ns3 {tmp_path}/f fuse.s3fs rw 0 0\n/dev/x {tmp_path}/l/local xfs rw 0 0\n"
    )
    kinds = {"": False, "with space/a": True, "l/x": True, "f": True, "l/local/y": False}
    assert {name: is_shared(tmp_path / name, mounts) for name in kinds} == kinds
    assert not is_shared(tmp_path, tmp_path / "none")


def test_the_first_of_several_decides_the_number_of_shards(tmp_path: Path) -> None:
    """Begun at one moment, with no ledger there yet: one number goes on, the others are refused."""
    place = Place(out=tmp_path)
    start = threading.Barrier(12)

    def begin(count: int) -> int:
        start.wait()
        try:
            check_shard(place, Shard(index=0, count=count))
        except ProductError:
            return 0
        return count

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(begin, [1, 2, 3] * 4))
    (chosen,) = set(found) - {0}
    assert found.count(chosen) == 4


def test_a_disk_that_is_full_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, content: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(FullDiskError, match="free space"), locked(tmp_path / "x.lock"):
        pass
