"""Parts of remote files: signed, redirected within what is allowed, tried again; what is kept of them is elsewhere."""

import json
import re
import string
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin

from geoseg.errors import NetworkError, SceneError, SettingsError
from geoseg.raster.remote import Address, RemoteAccess, redact
from geoseg.raster.remote_http import Answer, Connections, Target
from geoseg.raster.remote_s3 import (
    Listed,
    canonical_path,
    canonical_query,
    find_credentials,
    find_endpoint,
    find_region,
    is_region,
    read_code,
    read_listing,
    sign,
)

_HOPS: Final = 5
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)
_FORBIDDEN: Final = (401, 403)
_LONGEST_WAIT_S: Final = 30.0
_MOST_LISTING_BYTES: Final = 2**24
_MOST_SIGNED_BYTES: Final = 2**16
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Refused(SceneError):
    """A server refused a request."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A range of a file's bytes."""

    data: bytes
    total: int
    """Bytes of the whole file."""
    version: str
    """ETag, or where there is none the time of the last change; empty where there is neither."""


class RemoteClient:
    """Asks servers for parts of files; for any thread.

    Args:
        access: what may be read.
        queries: of signed addresses, by uri.
    """

    def __init__(self, access: RemoteAccess, queries: Mapping[str, str] | None = None) -> None:
        self.access = access
        self.queries = dict(queries or {})
        self.connections = Connections(timeout_s=access.timeout_s)
        self._places: dict[str, Target] = {}
        self._regions: dict[str, str] = {}
        self._lock = threading.Lock()

    def read(self, address: Address, start: int, stop: int, *, version: str | None = None) -> Part:
        """The bytes from start to stop - 1, or fewer at the file's end.

        Args:
            address: of the file.
            start: first byte.
            stop: after the last byte.
            version: the file must still have, as an earlier part told.

        Raises:
            Refused: the server has no such file, does not give it to us, or (200) gives no parts of files.
            SceneError: the file has changed.
            NetworkError: it does not answer, again and again.
        """
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if version and version.startswith('"'):
            headers["If-Match"] = version
        answer = self._get(address, headers, most=stop - start)
        if answer.status == 416:
            raise SceneError(f"{address.uri} is empty or shorter than it was: copy it again from its origin")
        if answer.status != 206:
            raise Refused(
                f"{address.uri}: its server gives no parts of files (it ignores HTTP ranges): copy the file and give "
                "its path",
                answer.status,
            )
        part = _part(answer, address, start, stop)
        if version and part.version != version:
            raise _changed(address)
        return part

    def read_document(self, address: Address, *, most: int, query: str = "") -> bytes:
        """A whole small file, or the answer to a query.

        Raises:
            SceneError: it is refused, or larger than `most` bytes.
            NetworkError: the server does not answer, again and again.
        """
        answer = self._get(address, {}, most=most, query=query)
        if not answer.whole:
            raise SceneError(f"{address.uri} is larger than {most} bytes: copy it and give its path")
        return answer.body

    def list_keys(self, bucket: str, prefix: str, *, deep: bool = True) -> Iterator[Listed]:
        """The keys of a bucket that begin with a prefix, in their order; a page of 1000 is asked for at a time.

        Args:
            bucket: of S3.
            prefix: what they begin with.
            deep: also those with a further slash.
        """
        at = Address(scheme="s3", host=bucket, path=prefix)
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url", **({} if deep else {"delimiter": "/"})}
        token: str | None = ""
        while token is not None:
            more = {"continuation-token": token} if token else {}
            answer = self._get(at, {}, most=_MOST_LISTING_BYTES, query={**query, **more})
            keys, token = read_listing(answer.body, bucket)
            yield from keys

    def _get(
        self, address: Address, headers: dict[str, str], *, most: int, query: Mapping[str, str] | str | None = None
    ) -> Answer:
        """The answer to a request, which is repeated while its error may pass.

        Args:
            address: of the file, or of what is asked.
            headers: besides those of the signature.
            most: bytes of the answer.
            query: of S3 what is asked of the bucket, else of the address itself; None: that of its signature.
        """
        self.access.check(address)
        for attempt in range(1, self.access.tries + 1):
            wait = min(0.25 * 4 ** (attempt - 1), _LONGEST_WAIT_S)
            try:
                answer = self._renewed(address, headers, most=most, query=query)
            except NetworkError:
                if attempt == self.access.tries:
                    raise
            else:
                if answer.status not in _PASSING:
                    return _accepted(answer, address)
                if attempt == self.access.tries:
                    raise NetworkError(f"{address.uri}: its server says {_status(answer)}: try again later")
                wait = max(wait, _retry_after(answer))
            time.sleep(wait)
        raise NetworkError(f"{address.uri}: not tried: remote.tries is {self.access.tries}")

    def _renewed(
        self, address: Address, headers: dict[str, str], *, most: int, query: Mapping[str, str] | str | None
    ) -> Answer:
        """An answer; where it is a refusal, that after the signature, the region and the place were looked up again."""
        keep = query is None
        answer = self._follow(self._target(address, query), address, headers, most=most, keep=keep)
        if address.scheme == "s3":
            region = answer.headers.get("x-amz-bucket-region")
            if answer.status < 300 or not is_region(region) or region == self._region(address.host):
                return answer
            self._regions[address.host] = region
        elif answer.status not in _FORBIDDEN or not self._forget(address):
            return answer
        return self._follow(self._target(address, query), address, headers, most=most, keep=keep)

    def _follow(self, target: Target, address: Address, headers: dict[str, str], *, most: int, keep: bool) -> Answer:
        for _ in range(_HOPS):
            answer = self.connections.get(target, headers, most=most, shown=address.uri)
            there = answer.headers.get("Location")
            if address.scheme == "s3" or answer.status not in _REDIRECTS or there is None:
                return answer
            target = self._redirected(address, target, there)
            if keep:
                with self._lock:
                    self._places[address.uri] = target
        raise Refused(f"{address.uri} is redirected more than {_HOPS} times: give the address it leads to", 310)

    def _redirected(self, address: Address, target: Target, there: str) -> Target:
        """Where a redirect leads, if that may be read: no other kind of address, no host that is not allowed."""
        there = quote(there.encode("latin-1"), safe=string.punctuation)  # as it came, byte by byte
        try:
            url = urljoin(f"{target.scheme}://{target.host}{target.path}", there)
            found, _ = Address.parse(url)
            if found.scheme == "s3" or (found.scheme == "http" and not self.access.names(found.host)):
                raise SceneError(f"{found.uri} is not https")
            self.access.check(found)
            return Target.of(url, private=self.access.names(found.host))
        except SceneError as error:
            raise Refused(f"{address.uri} is redirected to {redact(url)}, which is refused ({error})", 310) from error
        except ValueError:
            raise Refused(f"{address.uri} is redirected to what is no address: check it", 310) from None

    def _target(self, address: Address, query: Mapping[str, str] | str | None) -> Target:
        if address.scheme == "s3":
            return self._s3_target(address, query if isinstance(query, Mapping) else None)
        if isinstance(query, str):
            return Target.of(f"{address.uri}?{query}", private=self.access.names(address.host))
        with self._lock:
            known = self._places.get(address.uri)
        if known is not None:
            return known
        signed = self.queries.get(address.uri)
        if signed is None and self.access.sign_url is not None:
            return self._signed(address)
        url = f"{address.uri}?{signed}" if signed else address.uri
        return Target.of(url, private=self.access.names(address.host))

    def _s3_target(self, address: Address, query: Mapping[str, str] | None) -> Target:
        region = self._region(address.host)
        endpoint = find_endpoint(address.host, region)
        key = f"/{address.path}" if query is None else "" if endpoint.path else "/"
        path, text = canonical_path(endpoint.path + key), canonical_query(query or {})
        headers = {"host": endpoint.host}
        credentials = find_credentials()
        if credentials is not None:
            headers = sign(path, text, headers, credentials=credentials, region=region)
        where = f"{path}?{text}" if text else path
        return Target(scheme=endpoint.scheme, host=endpoint.host, path=where, headers=headers, private=endpoint.is_own)

    def _signed(self, address: Address) -> Target:
        """Asks the service of the config for a signed address."""
        shown = f"the signing service for {address.uri}"
        try:
            url = (self.access.sign_url or "").replace("{href}", quote(address.uri, safe=""))
            service = Target.of(url, private=True)
        except ValueError:
            raise SettingsError(
                f"{shown} has no address: give remote.sign_url=https://host/sign?href={{href}}"
            ) from None
        answer = self.connections.get(service, {}, most=_MOST_SIGNED_BYTES, shown=shown)
        if answer.status in _PASSING:
            raise NetworkError(f"{shown} says {_status(answer)}: try again later")
        if answer.status != 200:
            raise SceneError(f"{shown} says {_status(answer)}: check remote.sign_url")
        try:
            href = str(json.loads(answer.body)["href"])
            found, _ = Address.parse(href)
            target = Target.of(href, private=self.access.names(found.host))
        except (ValueError, KeyError, TypeError, SceneError) as error:
            raise SceneError(f"{shown} gave no JSON with an https href: check remote.sign_url") from error
        self.access.check(found)
        with self._lock:
            self._places[address.uri] = target
        return target

    def _forget(self, address: Address) -> bool:
        """Forgets where the file was found; False: that was not looked up, and asking again changes nothing."""
        with self._lock:
            known = self._places.pop(address.uri, None)
            given = self.queries.pop(address.uri, None) if self.access.sign_url is not None else None
        return known is not None or given is not None

    def _region(self, bucket: str) -> str:
        return self._regions.get(bucket) or find_region()


def _accepted(answer: Answer, address: Address) -> Answer:
    if answer.status < 300 or answer.status == 416:
        return answer
    if answer.status == 412:
        raise _changed(address)
    remedies: dict[int, str] = {
        401: "a signature may have expired, or is needed: give a newly signed address, or set remote.sign_url",
        404: "check the address",
        410: "it is gone for good",
    }
    remedy = remedies.get(answer.status, "check the address")
    if answer.status == 403:
        remedy = remedies[401] if address.scheme != "s3" else "check the key, the credentials and what they allow"
    raise Refused(f"{address.uri} is refused by its server ({_status(answer)}): {remedy}", answer.status)


def _changed(address: Address) -> SceneError:
    return SceneError(f"{address.uri} has changed since it was looked at: run again")


def _part(answer: Answer, address: Address, start: int, stop: int) -> Part:
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if not found or int(found[1]) != start or int(found[2]) + 1 != start + len(answer.body):
        raise NetworkError(f"{address.uri}: its server gave another part than was asked for: try again")
    total = int(found[3])
    if len(answer.body) != min(stop, total) - start:
        raise NetworkError(f"{address.uri}: its server gave a shorter part than was asked for: try again")
    version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    return Part(data=answer.body, total=total, version=version)


def _status(answer: Answer) -> str:
    code = read_code(answer.body)
    return f"HTTP {answer.status} {code}" if code else f"HTTP {answer.status}"


def _retry_after(answer: Answer) -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT_S) if text.isdecimal() else 0.0
