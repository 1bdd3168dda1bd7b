"""Fixtures of remote scenes."""

from collections.abc import Iterator

import pytest

from geoseg.raster.remote_files import RemoteFiles, remote_access
from tests.raster.remote_server import LOOPBACK, Served, serve


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A plain server; between tries nobody waits."""
    monkeypatch.setattr("geoseg.raster.remote_client.time.sleep", lambda seconds: None)
    with serve() as served:
        yield served


@pytest.fixture
def remote() -> Iterator[RemoteFiles]:
    with remote_access(LOOPBACK) as files:
        yield files
