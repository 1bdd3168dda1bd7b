"""Scenes that are named by addresses: a prefix of a bucket, documents behind addresses, what servers say of files."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Final
from urllib.parse import urljoin

from geoseg.batch.found import SUFFIXES, Found, is_name
from geoseg.errors import SceneError, SettingsError
from geoseg.raster.remote import Address, is_remote, locate, redact
from geoseg.raster.remote_files import Look, remote_files

_MOST_BYTES: Final = 2**28
_AT_ONCE: Final = 256


def is_prefix(source: str) -> bool:
    """Whether an address means everything below it in a bucket, not one file."""
    return source.startswith("s3://") and not source.lower().endswith((*SUFFIXES, ".json", ".geojson"))


def list_prefix(source: str) -> Iterator[Found]:
    """The rasters below a prefix, as a listing has them.

    Raises:
        SceneError: the bucket may not be read, or does not let itself be listed.
    """
    at = remote_files().adopt(source)
    prefix = at.path.rstrip("/") + "/" if at.path.rstrip("/") else ""
    for one in remote_files().client.list_keys(at.host, prefix):
        if one.key.lower().endswith(SUFFIXES) and not one.key.rpartition("/")[2].startswith("."):
            address = Address(scheme="s3", host=at.host, path=one.key)
            yield Found(files=(_printable(address),), looks=(Look(size=one.size, version=one.etag),))


def join(base: str, name: str) -> str:
    """A name in a remote document as an address.

    Raises:
        SceneError: it names a file of this machine.
    """
    if name.startswith("file:"):
        raise SceneError(f"{redact(base)} names {name!r}: a remote document may not name files of this machine")
    if base.startswith("s3://"):  # which urljoin does not know
        return urljoin("https" + base[2:], name).replace("https://", "s3://", 1) if not is_remote(name) else name
    return urljoin(base, name)


def read_document(source: str) -> dict[str, Any]:
    """A JSON document behind an address; its query is part of the question and is not kept.

    Raises:
        SceneError: the address is refused.
        SettingsError: it is no JSON object.
    """
    address, query = Address.parse(source)
    content = remote_files().client.read_document(address, most=_MOST_BYTES, query=query)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{address.uri} gave no JSON: give a STAC item, item collection or collection") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{address.uri} is no STAC document: give an item, an item collection or a collection")
    return document


def next_page(document: dict[str, Any], place: str) -> str | None:
    """The address of the next page of a search, None after the last.

    Raises:
        SettingsError: it would have to be asked for by POST.
    """
    for link in document.get("links", []):
        if link.get("rel") == "next":
            if str(link.get("method", "GET")).upper() != "GET":
                raise SettingsError(f"{redact(place)}: its next page needs POST: save the whole search as a file")
            return str(link.get("href"))
    return None


def look_at(found: Iterable[Found]) -> Iterator[Found]:
    """The same scenes, with what servers say of their files; None for what is not there or refused."""
    rest = iter(found)
    while some := list(islice(rest, _AT_ONCE)):
        names = [name for one in some if not one.looks for name in one.files if is_remote(name)]
        known: dict[str, Look | None] = {}
        if names:
            addresses = [one for one in map(locate, names) if isinstance(one, Address)]
            known = dict(zip(names, remote_files().look_at(addresses), strict=True))
        for one in some:
            yield one if one.looks else replace(one, looks=tuple(known.get(name) for name in one.files))


def _printable(address: Address) -> str:
    if not is_name(address.uri):
        raise SceneError(f"{address.uri!r} is no name of a scene: it has control characters")
    return address.uri
