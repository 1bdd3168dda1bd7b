"""One GET over HTTPS: whom it may reach, how long it may take, what its answer means; no file, no S3."""

import base64
import http.client
import io
import ipaddress
import os
import socket
import ssl
import string
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from geoseg import __version__
from geoseg.errors import NetworkError, SceneError

_PIECE: Final = 2**16
_MOST_ERROR_BYTES: Final = 2**14
_SLOWEST: Final = 20_000
"""Bytes a second below which an answer is given up."""
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
_OF_SITES: Final = (ipaddress.IPv6Network("64:ff9b:1::/48"), ipaddress.IPv6Network("::/96"))
"""Whose IPv4 part a site translates as it likes (RFC 8215), or nobody does any more (RFC 4291, 2.5.5.1)."""
_CERTIFICATES: Final = ("AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes, secrets and all; never shown."""

    scheme: str
    host: str
    """With a port where one is named."""
    path: str = field(repr=False)
    """With the query."""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    private: bool = False
    """The user named this host: it may be on a private network."""

    @staticmethod
    def of(url: str, *, private: bool) -> "Target":
        """The target of an http or https URL.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None:
            raise ValueError(parts.scheme)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        # as it is, for it may be signed so; only what no request can hold is encoded
        sent = quote(path, safe=string.punctuation)
        return Target(scheme=parts.scheme, host=parts.netloc.lower(), path=sent, private=private)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    """As much as was asked for; of an error its first bytes."""
    whole: bool
    """There was no more of it."""


class Connections:
    """Open connections that are kept for the next request; for any thread."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._idle: dict[tuple[str, str, bool], list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None
        self.requests = 0
        self.bytes = 0

    def get(self, target: Target, headers: dict[str, str], *, most: int, shown: str) -> Answer:
        """The answer to one GET; a body that is longer than `most` bytes is not read and ends the connection.

        Args:
            target: where to.
            headers: besides those of the target.
            most: bytes of a body.
            shown: the address for messages.

        Raises:
            NetworkError: no answer, or not all of it, in time.
            SceneError: an address that may not be reached or makes no request, or a certificate that is not trusted.
        """
        key = (target.scheme, target.host, target.private)
        with self._lock:
            idle = self._idle.get(key)
            connection = idle.pop() if idle else None
        was_idle, kept = connection is not None, False
        try:
            if connection is None:
                connection = self._connect(target, shown)
            answer, kept = self._exchange(connection, target, headers, most=most)
        except ssl.SSLCertVerificationError as error:
            raise SceneError(
                f"{shown}: the certificate of {target.host} is not trusted ({error.verify_message}): set SSL_CERT_FILE"
            ) from error
        except (http.client.InvalidURL, ValueError):  # whose words have the request, signature and all
            raise SceneError(f"{shown}: no request can be made of it: check address, credentials and proxy") from None
        except (OSError, http.client.HTTPException) as error:
            if was_idle and not isinstance(error, TimeoutError):  # the server had closed it
                return self.get(target, headers, most=most, shown=shown)
            raise NetworkError(f"{shown}: {_say(error)}: is the network there? try again") from error
        finally:
            if kept and connection is not None:
                with self._lock:
                    self._idle.setdefault(key, []).append(connection)
            elif connection is not None:
                connection.close()
        return answer

    def close(self) -> None:
        """Ends all idle connections."""
        with self._lock:
            for connection in (one for several in self._idle.values() for one in several):
                connection.close()
            self._idle.clear()

    def _connect(self, target: Target, shown: str) -> http.client.HTTPConnection:
        at, headers = _find_proxy(target)
        if target.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                at or target.host, timeout=self._timeout_s, context=self._tls()
            )
        else:
            connection = http.client.HTTPConnection(at or target.host, timeout=self._timeout_s)
        if at:
            connection.set_tunnel(target.host, headers=headers)
        elif not target.private:
            # looked up where it is connected, before a byte is sent: a name may resolve differently the next time
            connection._create_connection = partial(_dial_public, shown=shown)  # type: ignore[attr-defined]
        connection.connect()
        return connection

    def _exchange(
        self, connection: http.client.HTTPConnection, target: Target, headers: dict[str, str], *, most: int
    ) -> tuple[Answer, bool]:
        """(answer, whether the connection can be used again)."""
        sent = {"User-Agent": f"geoseg/{__version__}", "Accept-Encoding": "identity", **headers, **target.headers}
        with self._lock:
            self.requests += 1
        connection.request("GET", target.path, headers=sent)
        response = connection.getresponse()
        wanted = most if response.status < 300 else _MOST_ERROR_BYTES
        body, whole = self._read(response, wanted)
        with self._lock:
            self.bytes += len(body)
        if whole:
            response.close()  # of the answer, not of the connection
        answer = Answer(status=response.status, headers=response.headers, body=body, whole=whole)
        return answer, whole and not response.will_close

    def _read(self, response: http.client.HTTPResponse, most: int) -> tuple[bytes, bool]:
        """(at most so many bytes, whether that was all); a trickle ends in TimeoutError."""
        gathered, size, end = io.BytesIO(), 0, time.monotonic() + 2 * self._timeout_s + most / _SLOWEST
        while size < most:
            piece = response.read1(min(_PIECE, most - size))
            if not piece:
                break
            size += gathered.write(piece)
            if time.monotonic() > end:
                raise TimeoutError("answers too slowly")
        body = gathered.getvalue()  # not copied
        # a body shorter than its length was cut off; chunked bodies raise by themselves
        if response.length and size < most:
            raise http.client.IncompleteRead(body, response.length)
        return body, response.length == 0 or response.isclosed()

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            own = next((path for name in _CERTIFICATES if (path := os.environ.get(name))), None)
            self._context = ssl.create_default_context(cafile=own)
        return self._context


def _find_proxy(target: Target) -> tuple[str, dict[str, str]]:
    """(host and port of the proxy that the environment names, headers for it); empty where there is none."""
    proxy = None if proxy_bypass(target.host) else getproxies().get(target.scheme)
    if not proxy:
        return "", {}
    user, _, place = urlsplit(proxy if "://" in proxy else f"http://{proxy}").netloc.rpartition("@")
    known = base64.b64encode(unquote(user).encode()).decode()
    return place, {"Proxy-Authorization": f"Basic {known}"} if user else {}


def _dial_public(place: tuple[str, int], *how: Any, shown: str) -> socket.socket:
    """A connection to a host of the public network.

    Raises:
        SceneError: it is none.
    """
    dialled = socket.create_connection(place, *how)
    address = dialled.getpeername()[0]
    if not _is_public(address):
        dialled.close()
        host = f"[{place[0]}]" if ":" in place[0] else place[0]
        raise SceneError(
            f"{shown}: {host} is on a private network ({address}): pass --allow-remote={host} if that is right"
        )
    return dialled


def _is_public(address: str) -> bool:
    with suppress(ValueError):
        found = ipaddress.ip_address(address.partition("%")[0])
        if any(found in network for network in _OF_SITES):
            return False
        return all(one.is_global and not one.is_multicast for one in (found, *_carried(found)))
    return False


def _carried(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 address that an IPv6 address stands for: mapped, 6to4 (RFC 3056) or translated (RFC 6052)."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    translated = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _TRANSLATED else None
    return [one for one in (address.ipv4_mapped, address.sixtofour, translated) if one is not None]


def _say(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer was cut off"
    text = getattr(error, "strerror", None) or type(error).__name__
    return " ".join(str(text).split())
