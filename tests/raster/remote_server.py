"""A server on loopback that gives files as S3 or plain HTTP do, checks signatures and breaks on demand; no test."""

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import numpy as np

from geoseg.core.window import Window
from geoseg.raster.remote import RemoteAccess
from geoseg.raster.safety import raster_env
from geoseg.raster.scene import Scene, SceneReader

KEY, SECRET = "AKEXAMPLE", "secret/of+the=account"
S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


LOOPBACK = RemoteAccess(hosts=("127.0.0.1", "bucket"), timeout_s=5, tries=3)


@dataclass(slots=True)
class Served:
    """What a server has and what it was asked."""

    port: int
    files: dict[str, Path | bytes] = field(default_factory=dict)
    """By path; of S3 /bucket/key."""
    s3: bool = False
    """Requests must be signed with KEY and SECRET; buckets can be listed."""
    ranges: bool = True
    etags: bool = True
    beyond: int = 0
    """Bytes that every file is said to have, where it has fewer."""
    signatures: set[str] | None = None
    """Values of `sig` in the query that are good; None: none is needed."""
    told: dict[str, str] = field(default_factory=dict)
    """Headers of every answer."""
    redirects: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Callable[[str], bytes]] = field(default_factory=dict)
    """By path: a body made of the query."""
    fault: Callable[[str, int], str | None] = lambda path, start: None
    """(path, first byte) -> "500", "429", "cut", or None."""
    log: list[tuple[str, int, int, int]] = field(default_factory=list)
    """(path, first byte, status, bytes of the body)."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def once(self, what: str, *, beyond: int = 0) -> None:
        """Breaks the next request for bytes from `beyond` on."""
        left = [what]
        self.fault = lambda path, start: left.pop() if left and start >= beyond else None

    def fetched(self, path: str) -> int:
        """Bytes of a file that were given."""
        return sum(size for name, _, status, size in self.log if name == path and status < 300)


def read(scene: Scene, *, panel: int = 512) -> tuple[Any, Any]:
    """(bands, height, width) and (height, width) True = observed, read panel by panel as a run does."""
    height, width = scene.grid.shape
    pixels = np.zeros((len(scene.bands), height, width), scene.dtype)
    valid = np.zeros((height, width), bool)
    with raster_env(threads=4), SceneReader(scene) as reader:
        for col in range(0, width, panel):
            reader.start_panel(col, min(col + panel, width))
            for row in range(0, height, 40):
                window = Window(row=row, col=col, height=min(40, height - row), width=min(panel, width - col))
                patch = reader.read(window)
                pixels[:, row : window.row_stop, col : window.col_stop] = patch.pixels
                valid[row : window.row_stop, col : window.col_stop] = patch.valid
    return pixels, valid


@contextmanager
def serve(**how: Any) -> Iterator[Served]:
    """A server while it is needed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    served = Served(port=server.server_address[1], **how)
    server.served = served  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    @property
    def _served(self) -> Served:
        return self.server.served  # type: ignore[attr-defined, no-any-return]

    def do_GET(self) -> None:
        served, parts = self._served, urlsplit(self.path)
        path, query = unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True))
        start, stop = self._range()
        fault = served.fault(path, start)
        if fault is not None and fault.isdigit():
            self._say(int(fault), b"<Error><Code>SlowDown</Code></Error>")
        elif path in served.redirects:
            self._say(302, b"", {"Location": served.redirects[path]})
        elif served.s3 and (code := self._refusal(parts.path, query)):
            self._say(403, f"<Error><Code>{code}</Code></Error>".encode())
        elif served.signatures is not None and path not in served.answers and query.get("sig") not in served.signatures:
            self._say(403, b"expired")
        elif path in served.answers:
            self._say(200, served.answers[path](parts.query))
        elif served.s3 and query.get("list-type") == "2":
            self._say(200, self._listing(path.strip("/"), query))
        elif path not in served.files:
            self._say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._give(path, start, stop, cut=fault == "cut")

    def _give(self, path: str, start: int, stop: int | None, *, cut: bool) -> None:
        content = self._served.files[path]
        data = content if isinstance(content, bytes) else content.read_bytes()
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        version = {"ETag": etag} if self._served.etags else {"Last-Modified": "Sat, 21 Nov 2026 07:00:00 GMT"}
        wanted = self.headers.get("If-Match")
        if wanted and self._served.etags and wanted != etag:
            self._say(412, b"")
        elif stop is None or not self._served.ranges:
            self._say(200, data, version)
        elif start >= len(data):
            self._say(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        else:
            part = data[start:stop]
            version["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{max(len(data), self._served.beyond)}"
            self._say(206, part, version, cut=cut)

    def _range(self) -> tuple[int, int | None]:
        first, dash, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        return (int(first), int(last) + 1) if dash else (0, None)

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {**self._served.told, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        given = body[: len(body) // 2] if cut else body
        self._served.log.append((unquote(urlsplit(self.path).path), self._range()[0], status, len(given)))
        self.wfile.write(given)
        self.close_connection |= cut

    def _listing(self, bucket: str, query: dict[str, str]) -> bytes:
        keys = sorted(
            path.removeprefix(f"/{bucket}/")
            for path in self._served.files
            if path.startswith(f"/{bucket}/{query.get('prefix', '')}")
            if not (query.get("delimiter") and query["delimiter"] in path[len(f"/{bucket}/{query['prefix']}") :])
        )
        start = int(query.get("continuation-token", "0"))
        more = start + 1000 < len(keys)
        token = f"<NextContinuationToken>{start + 1000}</NextContinuationToken>" if more else ""
        contents = "".join(self._entry(bucket, key) for key in keys[start : start + 1000])
        return (
            f'<?xml version="1.0"?><ListBucketResult xmlns="{S3_NAMESPACE}"><IsTruncated>{str(more).lower()}'
            f"</IsTruncated>{token}{contents}</ListBucketResult>"
        ).encode()

    def _entry(self, bucket: str, key: str) -> str:
        content = self._served.files[f"/{bucket}/{key}"]
        data = content if isinstance(content, bytes) else content.read_bytes()
        return (
            f"<Contents><Key>{quote(key, safe='/')}</Key><ETag>&quot;{hashlib.md5(data).hexdigest()}&quot;</ETag>"
            f"<Size>{len(data)}</Size></Contents>"
        )

    def _refusal(self, path: str, query: dict[str, str]) -> str | None:
        """As the server sees a request: signature version 4 over what arrived."""
        words = self.headers.get("Authorization", "").replace("AWS4-HMAC-SHA256 ", "").split(",")
        told = dict(word.strip().split("=", 1) for word in words if "=" in word)
        if "Credential" not in told:
            return "AccessDenied"
        key, _, scope = told["Credential"].partition("/")
        if key != KEY:
            return "InvalidAccessKeyId"
        pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
        lines = [f"{name}:{self.headers[name].strip()}" for name in told["SignedHeaders"].split(";")]
        asked = ["GET", path, "&".join(map("=".join, pairs)), *lines, "", told["SignedHeaders"]]
        digest = hashlib.sha256("\n".join([*asked, self.headers["x-amz-content-sha256"]]).encode()).hexdigest()
        signed = "\n".join(["AWS4-HMAC-SHA256", self.headers["x-amz-date"], scope, digest])
        day, region, service, last = scope.split("/")
        made = b"AWS4" + SECRET.encode()
        for part in (day, region, service, last, signed):
            made = hmac.new(made, part.encode(), hashlib.sha256).digest()
        return None if made.hex() == told["Signature"] else "SignatureDoesNotMatch"
