"""The STAC collection of an archive, made while its items pass by; memory does not grow with their number."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pystac import Asset, Collection, Extent, Link, SpatialExtent, Summaries, TemporalExtent

from geoseg.report.longitudes import Longitudes

ITEMS: Final = "items.parquet"
_SUMMED: Final = ("platform", "proj:code", "processing:level", "geoseg:bundle", "geoseg:bundle_sha256",
                  "geoseg:pipeline_digest")  # fmt: skip
_MANY: Final = 200
"""Values of a property that are listed; of more none is, a part would look like all."""
_OF_THE_FILE: Final = ("href", "file:checksum", "file:size")


@dataclass(slots=True)
class ItemSummary:
    """What is known of the items seen so far."""

    _longitudes: Longitudes = field(default_factory=Longitudes)
    _latitudes: list[float] = field(default_factory=list)
    _times: list[datetime] = field(default_factory=list)
    _values: dict[str, set[str]] = field(default_factory=dict)
    _assets: dict[str, dict[str, Any]] = field(default_factory=dict)
    _extensions: set[str] = field(default_factory=set)

    def add(self, item: Mapping[str, Any]) -> None:
        """One item of STAC."""
        west, south, east, north = item["bbox"]
        properties = item["properties"]
        self._longitudes.add(west, east)
        self._latitudes = [min([south, *self._latitudes]), max([north, *self._latitudes])]
        texts = (properties.get(key) for key in ("datetime", "start_datetime", "end_datetime"))
        times = [*self._times, *(datetime.fromisoformat(text) for text in texts if text)]
        self._times = [min(times), max(times)] if times else []
        for key in _SUMMED:
            if (value := properties.get(key)) is not None:
                seen = self._values.setdefault(key, set())
                if len(seen) <= _MANY:
                    seen.add(str(value))
        for name, asset in item["assets"].items():
            self._assets.setdefault(name, {key: found for key, found in asset.items() if key not in _OF_THE_FILE})
        self._extensions.update(item.get("stac_extensions", []))

    @property
    def extent(self) -> Extent:
        """Where and when all of them lie."""
        west, east = self._longitudes.bounds()
        south, north = self._latitudes or (-90.0, 90.0)
        first, last = self._times or (None, None)
        return Extent(SpatialExtent([[west, south, east, north]]), TemporalExtent([[first, last]]))

    def to_collection(
        self, *, name: str, title: str, description: str, items: Iterable[str] = (), table: bool = True, **facts: Any
    ) -> dict[str, Any]:
        """The collection. Its licence is its owner's to decide, and who processed is not known: so neither is said.

        Args:
            name: its id.
            title: for people.
            description: likewise.
            items: addresses of single items, relative to the collection.
            table: whether there is a file of all items beside it.
            facts: what else is known.
        """
        values = {key: sorted(found) for key, found in sorted(self._values.items()) if len(found) <= _MANY}
        collection = Collection(
            id=name,
            title=title,
            description=description,
            extent=self.extent,
            license="other",
            keywords=["land cover", "classification"],
            summaries=Summaries(values),
            stac_extensions=sorted(
                one for one in self._extensions if "/projection/" not in one and "/file/" not in one
            ),
            assets={"items": _items_asset()} if table else {},
            extra_fields={"item_assets": self._assets, **facts},
        )
        collection.add_links([Link(rel="item", target=href, media_type="application/geo+json") for href in items])
        return collection.to_dict(include_self_link=False)


def _items_asset() -> Asset:
    return Asset(
        href=f"./{ITEMS}",
        title="All items, as GeoParquet",
        media_type="application/vnd.apache.parquet",
        roles=["collection-mirror"],
    )
