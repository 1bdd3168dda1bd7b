"""The scenes of a STAC item, item collection, collection or catalog, here or behind an address; no other tables."""

import json
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from geoseg.batch.found import SUFFIXES, Found
from geoseg.batch.listing import Listing
from geoseg.batch.source_name import Base, resolve
from geoseg.batch.source_remote import join, read_document
from geoseg.errors import SceneError, SettingsError
from geoseg.raster.remote import is_remote, redact
from geoseg.raster.safety import plain

_MOST_BYTES: Final = 2**30
_MOST_DOCUMENTS: Final = 1_000_000
_MOST_IDLE: Final = 100
"""Documents one after another, each linked by the one before, without an item that is new."""
_RASTER_TYPES: Final = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff")
_KINDS: Final = ("Feature", "FeatureCollection", "Collection", "Catalog")


class _Asset(BaseModel):
    model_config = ConfigDict(strict=True)

    href: str
    type: str | None = None
    roles: list[str] | None = None

    def is_raster(self) -> bool:
        kind = (self.type or "").partition(";")[0].strip().lower()
        return kind in _RASTER_TYPES or self.href.partition("?")[0].lower().endswith(SUFFIXES)


class _Item(BaseModel):
    model_config = ConfigDict(strict=True)

    assets: dict[str, _Asset] = {}


class _Link(BaseModel):
    model_config = ConfigDict(strict=True)

    rel: str
    href: str
    method: str | None = None


class _Document(BaseModel):
    model_config = ConfigDict(strict=True)

    links: list[_Link] = []
    features: list[Any] = []


_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    place: Base
    idle: int = 0
    """Documents on the way here since the last new item."""
    linked_by: str = ""


def read_stac(place: Base, listing: Listing) -> Iterator[Found]:
    """Of a collection, catalog or page of a search also the items it links, each document once.

    Raises:
        SettingsError: a document is not there, no STAC, too large, or they lead on and on without a new item.
        SceneError: an item has no raster, or names what may not be read.
    """
    seen, known = {os.path.realpath(place) if isinstance(place, Path) else place}, set[int]()
    waiting = deque([_Step(place=place)])
    while waiting:
        step = waiting.popleft()
        listing.step(documents=1)
        content = _read(step)
        shown, before = redact(str(step.place)), len(known)
        if content.get("type") not in _KINDS:
            raise SettingsError(
                f"{shown} is no STAC document (type {content.get('type')!r}): give an item or collection"
            )
        document = _Document() if content["type"] == "Feature" else _checked(_Document, content, shown)
        for one in _items(step.place, content, document, shown):
            known.add(hash(one.files))
            yield one
        idle = 0 if len(known) > before else step.idle + 1
        for link in _links(content, document, shown):
            name = _document(link, step.place)
            if str(name) not in seen:
                seen.add(str(name))
                waiting.append(_Step(place=name, idle=idle, linked_by=shown))
        if waiting and (idle > _MOST_IDLE or len(seen) > _MOST_DOCUMENTS):
            raise SettingsError(
                f"{shown} leads on after {len(seen):,} documents, the last {idle} without a new item: search for less, "
                "or write a Parquet file with a column uri"
            )


def _items(place: Base, content: dict[str, Any], document: _Document, shown: str) -> Iterator[Found]:
    if content["type"] == "Feature":
        yield _item(place, content, f"{shown}: item {_id(content)}")
    elif content["type"] == "FeatureCollection":
        for k, one in enumerate(document.features):
            yield _item(place, one, f"{shown}: features.{k}: item {_id(one)}")


def _item(place: Base, content: Any, shown: str) -> Found:
    """The data of an item: its rasters with role data, or all its rasters where no asset has a role."""
    assets = [one for one in _checked(_Item, content, shown).assets.values() if one.is_raster()]
    data = [one for one in assets if "data" in (one.roles or ())]
    chosen = data or [one for one in assets if not one.roles]
    if not chosen:
        raise SceneError(f"{shown} has no raster asset with role data: give it that role")
    base = place if isinstance(place, str) else place.parent
    return Found(files=tuple(dict.fromkeys(resolve(one.href, base) for one in chosen)))


def _id(item: Any) -> str:
    return plain(repr(item.get("id")))[:100] if isinstance(item, dict) else "without id"


def _links(content: dict[str, Any], document: _Document, shown: str) -> Iterator[str]:
    """Of a page the next one, of a collection or catalog its items and children."""
    followed = {"Feature": (), "FeatureCollection": ("next",)}.get(content["type"], ("item", "items", "child"))
    for link in document.links:
        if link.rel in followed:
            if (link.method or "GET").upper() != "GET":
                raise SettingsError(f"{shown}: its {link.rel} link needs POST: save the whole search as a file")
            yield link.href


def _document(link: str, place: Base) -> Base:
    """A document that another one links: a path, or an address with its query."""
    if isinstance(place, str):
        return join(place, link)
    return link if is_remote(link) else Path(os.path.realpath(resolve(link, place.parent)))


def _checked(model: type[_Model], content: Any, shown: str) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = plain(".".join(map(str, first["loc"])))[:100]
        raise SettingsError(
            f"{shown}: {f'{key}: ' if key else ''}{first['msg'].lower()}: correct the document"
        ) from error


def _read(step: _Step) -> dict[str, Any]:
    if isinstance(step.place, str):
        return read_document(step.place)
    linked = f"; {step.linked_by} links it" if step.linked_by else ""
    try:
        content = json.loads(_read_bytes(step.place))
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or plain(str(error))
        raise SettingsError(f"{step.place} cannot be read as JSON ({reason}{linked}): correct the file") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{step.place} is no STAC document{linked}: give an item or collection")
    return content


def _read_bytes(path: Path) -> bytes:
    """A file that a document names may be a device, which has no end, or a pipe, which has no beginning."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise SettingsError(f"{path} is no plain file: give a STAC document")
    with path.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1) if path.stat().st_size <= _MOST_BYTES else None
    if content is None or len(content) > _MOST_BYTES:
        raise SettingsError(f"{path} is larger than {_MOST_BYTES} bytes: write a Parquet file with a column uri")
    return content
