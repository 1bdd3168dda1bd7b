"""Scenes that are named by addresses: a prefix of a bucket, documents behind addresses, what servers say of files."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Final
from urllib.parse import urljoin

from geoseg.batch.found import SUFFIXES, Found, is_name
from geoseg.batch.listing import Listing
from geoseg.errors import SceneError, SettingsError
from geoseg.raster.remote import Address, is_remote, locate, redact
from geoseg.raster.remote_files import Look, remote_files

_MOST_BYTES: Final = 2**28
_AT_ONCE: Final = 256


def is_prefix(source: str) -> bool:
    """Whether an address means everything below it in a bucket, not one file."""
    return source.startswith("s3://") and not source.lower().endswith((*SUFFIXES, ".json", ".geojson"))


def list_prefix(source: str, listing: Listing) -> Iterator[Found]:
    """The rasters below a prefix, as a listing has them.

    Raises:
        SceneError: the bucket may not be read, or does not let itself be listed.
    """
    at = remote_files().adopt(source)
    prefix = at.path.rstrip("/") + "/" if at.path.rstrip("/") else ""
    for one in remote_files().client.list_keys(at.host, prefix):
        if one.key.lower().endswith(SUFFIXES) and not one.key.rpartition("/")[2].startswith("."):
            uri = Address(scheme="s3", host=at.host, path=one.key).uri
            if is_name(uri):
                yield Found(files=(uri,), looks=(Look(size=one.size, version=one.etag),))
            else:
                listing.leave_unnamed(uri)


def join(base: str, name: str) -> str:
    """A name in a remote document as an address.

    Raises:
        SceneError: it names a file of this machine, or is no address.
    """
    if name.startswith("file:"):
        raise SceneError(f"{redact(base)} names {name!r}: a remote document may not name files of this machine")
    try:
        if base.startswith("s3://"):  # which urljoin does not know
            return name if is_remote(name) else urljoin("https" + base[2:], name).replace("https://", "s3://", 1)
        return urljoin(base, name)
    except ValueError as error:
        raise SceneError(f"{redact(base)} names {redact(name)!r}: that is no address") from error


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


def look_at(found: Iterable[Found]) -> Iterator[Found]:
    """The same scenes, with what servers say of their files; None for what is not there, refused or silent.

    Raises:
        NetworkError: of the files of 256 scenes in a row there is no answer for any.
    """
    rest = iter(found)
    while some := list(islice(rest, _AT_ONCE)):
        names = [name for one in some if not one.looks for name in one.files if is_remote(name)]
        known: dict[str, Look | None] = {}
        if names:
            addresses = [one for one in map(locate, names) if isinstance(one, Address)]
            known = dict(zip(names, remote_files().look_at(addresses), strict=True))
        for one in some:
            yield one if one.looks else replace(one, looks=tuple(known.get(name) for name in one.files))
