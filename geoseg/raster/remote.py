"""Addresses of files elsewhere, and which of them may be read how: plain values; nothing is fetched here."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, unquote, urlsplit

from geoseg.config import RemoteSection
from geoseg.errors import SceneError, SettingsError

Scheme = Literal["s3", "https", "http"]
ANY: Final = "*"
"""Instead of a host: every public one."""
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_HOST: Final = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_ALLOWED: Final = re.compile(r"(\[[^\s/?#@\[\]]+\]|[^\s/?#@:\[\]]+)(:\d{1,5})?")
_UNRESERVED: Final = "/%:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a remote file is, without the query of a signed address: that is a secret, and expires."""

    scheme: Scheme
    host: str
    """Lower case, with a port where one is named; of s3 the bucket."""
    path: str
    """From the slash on, percent-encoded; of s3 the key as it is, without a slash before it."""

    @property
    def uri(self) -> str:
        """As it is written down and shown."""
        return (
            f"{self.scheme}://{self.host}/{self.path}"
            if self.scheme == "s3"
            else f"{self.scheme}://{self.host}{self.path}"
        )

    @property
    def is_folder(self) -> bool:
        """Whether it means what is below it in a bucket."""
        return self.scheme == "s3" and (not self.path or self.path.endswith("/"))

    @property
    def name(self) -> str:
        """Last part of the path."""
        last = self.path.rstrip("/").rpartition("/")[2] or self.host
        return last if self.scheme == "s3" else unquote(last)

    def beside(self, suffix: str) -> "Address":
        """The file whose name has this suffix added."""
        return Address(scheme=self.scheme, host=self.host, path=self.path + suffix)

    @staticmethod
    def parse(text: str) -> tuple["Address", str]:
        """(address, query) of a text.

        Raises:
            SceneError: it is no address that is read.
        """
        shown = redact(text)
        if not text.isprintable() or text != text.strip():
            raise SceneError(f"{shown!r} has control characters or spaces around it: give a plain address")
        scheme, _, rest = text.partition("://")
        if scheme == "s3":
            return _parse_s3(rest, shown), ""
        if scheme not in ("https", "http"):
            raise SceneError(f"{shown} cannot be read: give an s3:// or https:// address, or a local file")
        return _parse_http(scheme, text, shown)  # type: ignore[arg-type]


Located = Path | Address
"""Where a file is: here, or elsewhere."""


def is_remote(text: str) -> bool:
    """Whether a text is meant as an address of a file elsewhere."""
    return "://" in text and not text.startswith("file://")


def undo_path(text: str) -> str:
    """A text as it was before it went through a Path, which takes one of the slashes of an address."""
    return re.sub(r"^(s3|https?):/(?=[^/])", r"\1://", text)


def locate(uri: str) -> Located:
    """The place of a file by its uri as scenes have it: an absolute path or an address."""
    return Address.parse(uri)[0] if is_remote(uri) else Path(uri)


def redact(text: str) -> str:
    """An address, or a word that ends in one (`--set-config=remote.sign_url=https://…`), without its secrets.

    Those are its query, and user and password. They often come unencoded: a query has spaces, a password any of :/?#@.
    """
    before, mark, rest = text.partition("://")
    if not mark:
        return text
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    user, at, place = rest.rpartition("@")
    if at and (":" in user or "/" not in user):
        rest = place
    port = rest.partition("/")[0].rpartition("]")[2].partition(":")[2]
    return before + mark + (rest if not port or port.isdecimal() else "…")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAccess:
    """What may be read, and with how much patience."""

    hosts: tuple[str, ...] = ()
    """Hosts (with or without a port) and buckets that may be read, lower case; ANY: every one with a public address."""
    timeout_s: float = 30.0
    """Of connecting and of every wait for more."""
    tries: int = 4
    """Of one request, when its error may pass."""
    connections: int = 8
    """Requests at the same time."""
    sign_url: str | None = None
    """Asked for a signed address; {href} in it stands for the unsigned one."""

    @staticmethod
    def of(hosts: Sequence[str], section: RemoteSection) -> "RemoteAccess":
        """What the user allows, and how the config has it.

        Raises:
            SettingsError: one of them is neither a host nor a bucket.
        """
        return RemoteAccess(
            hosts=tuple(map(_parse_allowed, hosts)),
            timeout_s=section.timeout_s,
            tries=section.tries,
            connections=section.connections,
            sign_url=section.sign_url,
        )

    def names(self, host: str) -> bool:
        """Whether a host or bucket is named: it may then also be on a private network and unencrypted."""
        host = host.lower()
        return bool({host, re.sub(r":\d+$", "", host)} & set(self.hosts))

    def check(self, address: Address) -> None:
        """Refuses an address that nobody allowed.

        Raises:
            SceneError: the message has the remedy.
        """
        if self.names(address.host):
            return
        if ANY not in self.hosts:
            raise SceneError(f"{address.uri} is remote: pass --allow-remote={address.host} to read it")
        if address.scheme == "http":
            raise SceneError(
                f"{address.uri} is not encrypted: give its https address, or pass --allow-remote={address.host}"
            )


def _parse_s3(rest: str, shown: str) -> Address:
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise SceneError(f"{shown} names no bucket: give s3://bucket/key")
    if "?" in key:
        raise SceneError(f"{shown} has a query or a ? in its key: of a signed address give the https form")
    return Address(scheme="s3", host=bucket, path=key)


def _parse_http(scheme: Scheme, text: str, shown: str) -> tuple[Address, str]:
    try:
        parts = urlsplit(text)
        host, port = _parse_host(parts.hostname or ""), parts.port
    except (ValueError, UnicodeError) as error:
        raise SceneError(f"{shown} is no address: check its host and port") from error
    if parts.username is not None or parts.password is not None:
        raise SceneError(f"{shown} had a user or password in it: such addresses are not read, sign the address")
    if not _HOST.fullmatch(host):
        raise SceneError(f"{shown} names no host: give https://host/path")
    standard = {"https": 443, "http": 80}[scheme]
    named = host if port in (None, standard) else f"{host}:{port}"
    return Address(scheme=scheme, host=named, path=quote(parts.path or "/", safe=_UNRESERVED)), parts.query


def _parse_host(text: str) -> str:
    """A host as addresses have it: lower case, ASCII, of IPv6 the shortest form in brackets.

    Raises:
        ValueError: it is none.
    """
    if ":" in text:
        return f"[{ipaddress.IPv6Address(text.strip('[]'))}]"
    return text.encode("idna").decode().lower()


def _parse_allowed(text: str) -> str:
    """What `--allow-remote` names, as addresses have it.

    Raises:
        SettingsError: it is neither a host nor a bucket.
    """
    bare = f"[{text}]" if text.count(":") > 1 and "[" not in text else text
    found = _ALLOWED.fullmatch(bare)
    try:
        host = _parse_host(found[1]) if found else ""
    except (ValueError, UnicodeError):
        host = ""
    if text != ANY and not _HOST.fullmatch(host):
        shown = redact(text if "://" in text else f"://{text}").removeprefix("://")
        raise SettingsError(f"--allow-remote={shown!r} names no host: give HOST, HOST:PORT or the name of a bucket")
    return ANY if text == ANY or found is None else host + (found[2] or "")
