"""The STAC item of a finished run: what a catalog needs to find it; nothing is read but the values given."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from odc.geo.geobox import GeoBox
from pystac import Asset, Item, Link
from pystac.extensions.classification import Classification, ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension

from geoseg.core.legend import Legend
from geoseg.core.patch import NODATA
from geoseg.outcome import ProductFile, RunRecord
from geoseg.report.footprint import find_footprint

PROCESSING: Final = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
FIRST_SATELLITE: Final = "1972-07-23T00:00:00Z"
"""The launch of Landsat 1: the earliest a scene can be of whose date nothing is known."""
_COG: Final = "image/tiff; application=geotiff; profile=cloud-optimized"
_KINDS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "classes.tif": (_COG, "Class map", ("data",)),
    "change.tif": (_COG, "Change map", ("data",)),
    "confidence.tif": (_COG, "Probability of the class in percent", ("data", "confidence")),
    "polygons.gpkg": ("application/geopackage+sqlite3", "Polygons", ("data",)),
    "polygons.parquet": ("application/vnd.apache.parquet", "Polygons", ("data",)),
    "polygons.fgb": ("application/vnd.flatgeobuf", "Polygons", ("data",)),
    "polygons.geojson": ("application/geo+json", "Polygons", ("data",)),
    "areas.csv": ("text/csv", "Areas by class", ("metadata",)),
    "areas.json": ("application/json", "Areas by class", ("metadata",)),
    "change.csv": ("text/csv", "Transition matrix", ("metadata",)),
    "change.json": ("application/json", "Change", ("metadata",)),
    "classes.qml": ("application/xml", "QGIS style", ("style",)),
}
_MAPS: Final = ("classes.tif", "change.tif")
_LEVEL: Final = "L4"
"""STAC processing: output of a model."""


def make_item(record: RunRecord, grid: GeoBox, legend: Legend, files: Mapping[str, ProductFile]) -> dict[str, Any]:
    """item.json (STAC 1.1); assets are the `files` of the product, beside the item.

    The date is the scene's; a day becomes the range of that day; of an unknown date the range is from the first
    Landsat to the end of the run.
    """
    footprint = find_footprint(grid)
    when, start, end = _times(record)
    item = Item(
        id=f"{re.sub(r'[^A-Za-z0-9._-]+', '-', record.scene).strip('-')[:80] or 'scene'}-{record.job[:12]}",
        geometry=footprint.geometry,
        bbox=list(footprint.bbox),
        datetime=when,
        start_datetime=start,
        end_datetime=end,
        properties=_properties(record),
    )
    item.stac_extensions += [PROCESSING]
    for name, file in files.items():
        if name in _KINDS:
            _add_asset(item, name, file, legend=legend)
    _add_projection(item, grid)
    if record.bundle:
        _add_model(item, record)
    return item.to_dict(include_self_link=False)


def _times(record: RunRecord) -> tuple[datetime | None, datetime | None, datetime | None]:
    """(datetime, start, end) as STAC has them."""
    text = record.acquired
    if not text:
        return None, _moment(FIRST_SATELLITE), record.finished.astimezone(UTC)
    when = _moment(text)
    if len(text) > 10:
        return when, None, None
    return None, when, when + timedelta(days=1, seconds=-1)


def _moment(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _properties(record: RunRecord) -> dict[str, Any]:
    known = {
        "title": f"Land cover of {record.scene}" if record.change is None else f"Change: {record.scene}",
        "created": record.finished.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "platform": record.platform.lower() if record.platform else None,
        "processing:level": _LEVEL,
        "processing:software": dict(record.versions),
        "geoseg:acquired_source": record.acquired_source or "the date is not known",
        "geoseg:scene": record.scene,
        "geoseg:fingerprint": record.fingerprint,
        "geoseg:pipeline_digest": record.pipeline_digest,
        "geoseg:job": record.job,
    }
    return {key: value for key, value in known.items() if value is not None}


def _add_asset(item: Item, name: str, file: ProductFile, *, legend: Legend) -> None:
    kind, title, roles = _KINDS[name]
    asset = Asset(href=f"./{name}", media_type=kind, title=title, roles=list(roles))
    key, _, suffix = name.rpartition(".")
    item.add_asset(key if key not in item.assets else f"{key}-{suffix}", asset)
    # a multihash: 12 = sha2-256, 20 = 32 bytes
    FileExtension.ext(asset, add_if_missing=True).apply(checksum=f"1220{file.sha256}", size=file.bytes)
    if kind == _COG:
        asset.extra_fields |= {"data_type": "uint8", "nodata": NODATA}
    if name in _MAPS:
        classes = [
            Classification.create(
                value=one.id, name=slug(one.name, one.id), title=one.name, color_hint=one.color[1:].upper()
            )
            for one in legend
        ]
        ClassificationExtension.ext(asset, add_if_missing=True).apply(classes=classes)


def slug(name: str, class_id: int) -> str:
    """A name as the classification extension allows it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or f"class-{class_id}"


def _add_projection(item: Item, grid: GeoBox) -> None:
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    epsg = grid.crs.to_epsg() if grid.crs else None
    projection.apply(
        code=f"EPSG:{epsg}" if epsg else None,
        wkt2=None if epsg or not grid.crs else grid.crs.to_wkt(),
        shape=[int(one) for one in grid.shape],
        transform=[float(one) for one in tuple(grid.transform)[:6]],
    )


def _add_model(item: Item, record: RunRecord) -> None:
    """A link to the bundle as the MLM extension asks of what a model made; the item itself is no model."""
    link = Link(
        rel="derived_from",
        target=f"urn:geoseg:bundle:{record.bundle}:{record.bundle_sha256}",
        title=f"Model bundle {record.bundle}",
        extra_fields={"mlm:name": record.bundle},
    )
    item.add_link(link)
    item.properties |= {"geoseg:bundle": record.bundle, "geoseg:bundle_sha256": record.bundle_sha256}
