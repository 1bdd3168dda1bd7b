"""A remote file as GDAL reads it: bytes kept, asked for ahead and side by side; requests are `remote_client`'s."""

import io
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Final, Protocol

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.abc import FileContainer
from rasterio.errors import RasterioError

from geoseg.errors import SceneError
from geoseg.raster.remote import Address
from geoseg.raster.remote_client import RemoteClient

CHUNK: Final = 2**15
"""Bytes that are asked for and kept together."""
_MOST_CHUNKS: Final = 128
_MOST_AHEAD: Final = 32
"""Chunks in one request, while a file is read on and on."""
_GAP: Final = 2**16
"""Bytes between two ranges that are rather read than asked for apart."""
_MOST_SPAN: Final = 2**21
"""Bytes in one request: small enough that one window of a scene keeps several connections busy."""
_MOST_KEPT: Final = 2**23
"""Bytes of blocks of a file that are kept: what a small scene is read twice for."""
_MOST_FETCHED: Final = 2**28
"""Bytes asked for ahead of one window; above it GDAL asks for block after block."""
_MOST_AT_ONCE: Final = 2**30
"""Bytes of one read: twice the largest block of a scene that is read."""
_MOST_GROWTH: Final = 2
"""No codec makes a block larger than so many times its pixels …"""
_MOST_HEAD: Final = 2**16
"""… and so many bytes."""
_DAMAGED: Final = "copy the file again from its origin"
_NAME: Final = "remote"


class RemoteFile:
    """One version of a remote file; its bytes may be asked for from any thread.

    Args:
        client: who asks.
        address: of the file.
        size: bytes.
        version: the file must have it at every request.
    """

    def __init__(self, client: RemoteClient, address: Address, *, size: int, version: str) -> None:
        self.address = address
        self.size = size
        self.version = version
        self._client = client
        self._chunks: OrderedDict[int, bytes] = OrderedDict()
        self._spans: OrderedDict[int, bytes] = OrderedDict()
        self._ahead = 1
        self._next = 0
        self._lock = threading.Lock()

    def keep(self, data: bytes) -> None:
        """Takes in the file's first bytes, that somebody else has asked for."""
        for k in range(-(-len(data) // CHUNK)):
            piece = data[k * CHUNK : (k + 1) * CHUNK]
            if len(piece) == CHUNK or k * CHUNK + len(piece) == self.size:
                self._chunks[k] = piece
                self._next = k + 1

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from start to stop - 1, or fewer at the end.

        Raises:
            SceneError: the file is refused, has changed, or has GDAL read far more than a block.
            NetworkError: no answer, again and again.
        """
        stop = min(stop, self.size)
        if stop <= start:
            return b""
        if stop - start > _MOST_AT_ONCE:
            raise SceneError(f"{self.address.uri} claims {stop - start} bytes in one piece: {_DAMAGED}")
        if stop - start > _MOST_CHUNKS * CHUNK:
            return self._ask(start, stop)
        first, last = start // CHUNK, (stop - 1) // CHUNK
        with self._lock:
            chunks = dict(self._held(first, last))
            missing = [k for k in range(first, last + 1) if k not in chunks]
            if missing:
                chunks.update(self._fetch(missing[0], missing[-1]))
        data = b"".join(chunks[k] for k in range(first, last + 1))
        return data[start - first * CHUNK : stop - first * CHUNK]

    def fetch(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, bytes]]:
        """(start, bytes), by start, of spans that cover ranges (start, stop), asked for side by side.

        The latest few megabytes are kept. Where the ranges are very many bytes nothing is asked for.

        Raises:
            SceneError: the file is refused, or has changed.
            NetworkError: no answer, again and again.
        """
        with self._lock:
            held, chunks = dict(self._spans), set(self._chunks)
        missing = [
            (start, stop)
            for start, stop in ranges
            if not (_covers(held, start, stop) or chunks.issuperset(range(start // CHUNK, (stop - 1) // CHUNK + 1)))
        ]
        spans = list(_merge(missing, self.size))
        if sum(stop - start for start, stop in spans) > _MOST_FETCHED:
            spans = []
        with ThreadPoolExecutor(max(1, min(len(spans), self._client.access.connections))) as pool:
            data = list(pool.map(lambda span: self._ask(*span), spans))
        held.update((start, one) for (start, _), one in zip(spans, data, strict=True))
        with self._lock:
            self._spans.update(held)
            while sum(map(len, self._spans.values())) > _MOST_KEPT and self._spans:
                self._spans.popitem(last=False)
        return sorted(held.items())

    def _held(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        for k in range(first, last + 1):
            if k in self._chunks:
                self._chunks.move_to_end(k)
                yield k, self._chunks[k]

    def _fetch(self, first: int, last: int) -> dict[int, bytes]:
        """Chunks first … last in one request, and more the longer the file is read on and on."""
        self._ahead = min(2 * self._ahead, _MOST_AHEAD) if first == self._next else 1
        last = max(last, min(first + self._ahead - 1, (self.size - 1) // CHUNK))
        self._next = last + 1
        data = self._ask(first * CHUNK, min((last + 1) * CHUNK, self.size))
        found = {k: data[(k - first) * CHUNK : (k - first + 1) * CHUNK] for k in range(first, last + 1)}
        self._chunks.update(found)
        while len(self._chunks) > _MOST_CHUNKS:
            self._chunks.popitem(last=False)
        return found

    def _ask(self, start: int, stop: int) -> bytes:
        return self._client.read(self.address, start, stop, version=self.version).data


class RemoteDataset:
    """An open rasterio dataset of a remote file; a context manager.

    What went wrong in a request is raised as what it was, also where GDAL made something of it or nothing: a mask or
    a tag that could not be read is not a file without.
    """

    def __init__(self, file: RemoteFile, *, driver: str) -> None:
        self._view = _View(file)
        # The JPEG 2000 driver opens the file anew in threads of its own, in which rasterio does not find it: GDAL
        # would decode nothing there, and say nothing.
        self._options = {} if driver == "GTiff" else {"GDAL_NUM_THREADS": "1"}
        with self._honest():
            self._dataset: Any = rasterio.open(_NAME, driver=driver, opener=_Opener(self._view))

    def __enter__(self) -> "RemoteDataset":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        with self._honest():
            return getattr(self._dataset, name)

    def read(self, indexes: Any = None, **how: Any) -> Any:
        """As rasterio's; the blocks under a window are asked for side by side before they are decoded."""
        with self._honest():
            if "out_shape" not in how and how.get("window") is not None:
                self._view.spans = self._view.file.fetch(self._ranges(indexes, how["window"]))
            return self._dataset.read(indexes, **how)

    def read_masks(self, indexes: Any = None, **how: Any) -> Any:
        """As rasterio's."""
        with self._honest():
            return self._dataset.read_masks(indexes, **how)

    def close(self) -> None:
        """Ends it."""
        self._dataset.close()
        self._view.spans = []

    def tags(self, *args: Any, **how: Any) -> Any:
        """As rasterio's."""
        with self._honest():
            return self._dataset.tags(*args, **how)

    def get_tag_item(self, *args: Any, **how: Any) -> Any:
        """As rasterio's."""
        with self._honest():
            return self._dataset.get_tag_item(*args, **how)

    def _honest(self) -> "_Honest":
        return _Honest(self._view, self._options)

    def _ranges(self, indexes: Any, window: Any) -> Iterator[tuple[int, int]]:
        """(start, stop) in the file of the blocks under a window, where it is a GeoTIFF that tells them.

        Raises:
            SceneError: a block claims far more bytes than its pixels have.
        """
        if self._dataset.driver != "GTiff":
            return
        together = str(self._dataset.interleaving).endswith("pixel")
        bands = [1] if together else [indexes] if isinstance(indexes, int) else list(indexes or self._dataset.indexes)
        height, width = self._dataset.block_shapes[0]
        item = max(_item_bytes(self._dataset.dtypes[band - 1]) for band in bands)
        most = _MOST_GROWTH * height * width * item * (self._dataset.count if together else 1) + _MOST_HEAD
        for band in bands:
            for row in range(int(window.row_off) // height, -(-int(window.row_off + window.height) // height)):
                for col in range(int(window.col_off) // width, -(-int(window.col_off + window.width) // width)):
                    offset = self._dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", band)
                    size = self._dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", band)
                    if offset and int(size or 0) > most:
                        raise SceneError(
                            f"{self._view.file.address.uri}: block {row}, {col} claims {size} bytes, of which at most "
                            f"{most} can be its own: {_DAMAGED}"
                        )
                    if offset and size:
                        yield int(offset), int(offset) + int(size)


class _View:
    """The bytes of a file for one dataset, and what went wrong with them."""

    def __init__(self, file: RemoteFile) -> None:
        self.file = file
        self.spans: list[tuple[int, bytes]] = []
        self.failure: BaseException | None = None

    @property
    def size(self) -> int:
        return self.file.size

    def read(self, start: int, stop: int) -> bytes:
        try:
            return self._spanned(start, stop) or self.file.read(start, stop)
        except BaseException as error:  # Ctrl-C, too, is raised when GDAL has come back: it has no way to hand it on
            self.failure = error
            return b""

    def check(self) -> None:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def _spanned(self, start: int, stop: int) -> bytes | None:
        k = bisect_right(self.spans, start, key=lambda span: span[0]) - 1
        if k < 0:
            return None
        begin, data = self.spans[k]
        return data[start - begin : stop - begin] if stop <= begin + len(data) else None


class _Honest:
    """Raises what the network had to say instead of what GDAL made of it."""

    def __init__(self, view: _View, options: dict[str, str]) -> None:
        self._view = view
        self._env: AbstractContextManager[object] = rasterio.Env(**options) if options else nullcontext()

    def __enter__(self) -> None:
        self._env.__enter__()
        self._view.failure = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._env.__exit__(kind, error, trace)
        if error is None or isinstance(error, RasterioError | CPLE_BaseError | OSError | ValueError):
            self._view.check()


class _Bytes(Protocol):
    """Bytes by their place."""

    @property
    def size(self) -> int: ...
    def read(self, start: int, stop: int) -> bytes: ...


class RemoteBytes(io.RawIOBase):
    """A file object; GDAL may have several on one file."""

    def __init__(self, file: _Bytes) -> None:
        super().__init__()
        self._file = file
        self._at = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        stop = self._file.size if size is None or size < 0 else self._at + size
        data = self._file.read(self._at, stop)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Goes to a place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at


@FileContainer.register
class _Opener:
    """A file system with this one file: whatever else GDAL looks for is not there."""

    def __init__(self, view: _View) -> None:
        self._view = view

    def open(self, path: str, mode: str = "r", **kwds: Any) -> RemoteBytes:
        if not self.isfile(path) or "w" in mode or "+" in mode or "a" in mode:
            raise FileNotFoundError(path)
        return RemoteBytes(self._view)

    def isfile(self, path: str) -> bool:
        return path.rpartition("/")[2] == _NAME

    def isdir(self, path: str) -> bool:
        return False

    def ls(self, path: str) -> Sequence[str]:
        return []

    def mtime(self, path: str) -> int:
        return 0

    def size(self, path: str) -> int:
        return self._view.file.size


def _item_bytes(dtype: str) -> int:
    return 16 if dtype.startswith("complex") else np.dtype(dtype).itemsize


def _covers(spans: Mapping[int, bytes], start: int, stop: int) -> bool:
    return any(begin <= start and stop <= begin + len(data) for begin, data in spans.items())


def _merge(ranges: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """Ranges in order, near ones as one, none beyond the file."""
    begin, end = 0, 0
    for start, stop in sorted({(start, min(stop, size)) for start, stop in ranges if start < min(stop, size)}):
        if end and start <= end + _GAP and max(stop, end) - begin <= _MOST_SPAN:
            end = max(stop, end)
            continue
        if end:
            yield begin, end
        begin, end = start, stop
    if end:
        yield begin, end
