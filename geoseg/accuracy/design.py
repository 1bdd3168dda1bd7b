"""The design of a sample as a value and as the file beside the sample: which map, which strata, which pixels."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from geoseg.accuracy.draw import Survey
from geoseg.core.legend import LandClass, Legend
from geoseg.core.map_digest import digest_map, same_crs
from geoseg.errors import ProductError

SCHEMA: Final = "geoseg-sample-1"
_AREA_TOLERANCE: Final = 1e-6
"""Relative: what versions of PROJ may differ by; another CRS differs by more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapIdentity:
    """What makes a map this map: its decoded pixels and where they lie, whatever file they are in."""

    name: str
    pixels_sha256: str
    crs: str
    transform: tuple[float, ...]
    """a, b, c, d, e, f."""
    shape: tuple[int, int]
    """(height, width)."""
    nodata: int
    """The stored value that is no class."""
    footprint_m2: float
    """Ground area of all its pixels."""

    @property
    def sha256(self) -> str:
        """Of pixels and place."""
        return digest_map(self.pixels_sha256, crs=self.crs, transform=self.transform)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """A part of the population that is sampled on its own, or a class of the map; both have a size."""

    id: int
    name: str
    area_m2: float
    pixels: int
    points: int = 0
    """Drawn from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePoint:
    """A pixel to be labelled."""

    id: int
    """1 … n, in random order."""
    row: int
    col: int
    stratum: int
    map_class: int
    weight: float = 1.0
    """Ground that it stands for, over the mean of its stratum's points; not 1 only where pixels differ in area."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleDesign:
    """A stratified random sample of a map's pixels, and all that is needed to estimate from it."""

    map: MapIdentity
    legend: Legend
    """Of the map: the names that reference labels may have."""
    classes: tuple[Stratum, ...]
    """The map's classes inside the population."""
    strata: tuple[Stratum, ...]
    """The classes again, with their points, unless `strata_source` names another raster."""
    strata_source: str | None
    allocation: str
    """How the points were shared out, in words."""
    seed: int
    buffer_pixels: int
    excluded_m2: Mapping[str, float]
    """Reason -> area of the map that is not in the population."""
    left_out_m2: Mapping[str, float] = field(default_factory=dict)
    """Name -> mapped area of the classes that have no pixel in the population, so that nothing is said of them."""
    points: tuple[SamplePoint, ...]

    @property
    def population_m2(self) -> float:
        """Area the estimates speak of."""
        return sum(one.area_m2 for one in self.strata)

    def xy_of(self, point: SamplePoint) -> tuple[float, float]:
        """The centre of a point's pixel in the map's CRS."""
        a, b, c, d, e, f = self.map.transform
        col, row = point.col + 0.5, point.row + 0.5
        return a * col + b * row + c, d * col + e * row + f

    def to_text(self) -> str:
        """The design file: JSON with its own checksum."""
        document = self._document()
        digest = _digest(document)
        points = ",\n".join(f"  {json.dumps(one)}" for one in document.pop("points"))
        head = json.dumps(document, indent=1, ensure_ascii=False).removesuffix("\n}")
        return f'{head},\n "sha256": "{digest}",\n "points": [\n{points}\n ]\n}}\n'

    def _document(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "map": {
                "name": self.map.name,
                "pixels_sha256": self.map.pixels_sha256,
                "crs": self.map.crs,
                "transform": list(self.map.transform),
                "shape": list(self.map.shape),
                "nodata": self.map.nodata,
                "footprint_m2": self.map.footprint_m2,
            },
            "legend": [{"id": one.id, "name": one.name, "color": one.color} for one in self.legend],
            "classes": [_stratum_json(one) for one in self.classes],
            "strata": [_stratum_json(one) | {"n": one.points} for one in self.strata],
            "strata_source": self.strata_source,
            "method": "stratified random sampling without replacement, chance of a pixel in proportion to its area",
            "allocation": self.allocation,
            "seed": self.seed,
            "buffer_pixels": self.buffer_pixels,
            "excluded_m2": dict(self.excluded_m2),
            "left_out_m2": dict(self.left_out_m2),
            "point_columns": ["sample_id", "row", "col", "stratum", "map_class", "weight"],
            "points": [[one.id, one.row, one.col, one.stratum, one.map_class, one.weight] for one in self.points],
        }


def parse_design(text: str, place: str) -> SampleDesign:
    """The design in a file's text.

    Raises:
        ProductError: it is no design, or was changed since it was written.
    """
    remedy = "draw the sample again with geoseg sample, or find the file as it was written"
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}")
        if document.pop("sha256") != _digest(document):
            raise ProductError(f"{place} was changed since it was written (its sha256 does not fit): {remedy}")
        return _from_document(document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise ProductError(f"{place} is not the design of a sample ({reason}): {remedy}") from error


def check_same_map(design: SampleDesign, found: MapIdentity, survey: Survey) -> None:
    """Refuse a map that is not the one the sample was drawn from.

    Args:
        design: of the sample.
        found: the map that is to be assessed.
        survey: of that map, with the buffer of the design and its own classes as strata.

    Raises:
        ProductError: pixels, place or areas differ; the message says which.
    """
    own = design.map
    remedy = "give the map it was drawn from, or draw a sample of this one"
    pair = f"the sample was drawn from {own.name}, not from {found.name}"
    if own.shape != found.shape:
        raise ProductError(f"{pair}: {own.shape} pixels and {found.shape}; {remedy}")
    if own.pixels_sha256 != found.pixels_sha256:
        raise ProductError(f"{pair}: the classes of their pixels differ; {remedy}")
    sizes = [max(abs(one) for one in own.transform[:6]) * 1e-9] * 6
    if any(abs(a - b) > size for a, b, size in zip(own.transform, found.transform, sizes, strict=True)):
        raise ProductError(f"{pair}: their transforms differ; {remedy}")
    if not math.isclose(own.footprint_m2, found.footprint_m2, rel_tol=_AREA_TOLERANCE):
        raise ProductError(
            f"{pair}: they cover {own.footprint_m2 / 1e4:,.2f} and {found.footprint_m2 / 1e4:,.2f} ha, "
            f"so that their CRSs differ; {remedy}"
        )
    if not same_crs(own.crs, found.crs):
        raise ProductError(f"{pair}: their CRSs differ, {own.crs[:40]} and {found.crs[:40]}; {remedy}")
    for one in design.classes if design.strata_source is None else ():
        area_m2 = survey.classes.area_m2(one.id) if one.id in survey.classes.pixels else 0.0
        if not math.isclose(area_m2, one.area_m2, rel_tol=_AREA_TOLERANCE):
            raise ProductError(
                f"{pair}: stratum {one.name} covers {one.area_m2 / 1e4:,.2f} ha in the design and "
                f"{area_m2 / 1e4:,.2f} ha here; {remedy}"
            )


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _stratum_json(one: Stratum) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "area_m2": one.area_m2, "pixels": one.pixels}


def _stratum(entry: Mapping[str, Any]) -> Stratum:
    return Stratum(
        id=int(entry["id"]),
        name=str(entry["name"]),
        area_m2=float(entry["area_m2"]),
        pixels=int(entry["pixels"]),
        points=int(entry.get("n", 0)),
    )


def _from_document(document: Mapping[str, Any]) -> SampleDesign:
    own = document["map"]
    height, width = (int(one) for one in own["shape"])
    return SampleDesign(
        map=MapIdentity(
            name=str(own["name"]),
            pixels_sha256=str(own["pixels_sha256"]),
            crs=str(own["crs"]),
            transform=tuple(float(one) for one in own["transform"]),
            shape=(height, width),
            nodata=int(own["nodata"]),
            footprint_m2=float(own["footprint_m2"]),
        ),
        legend=Legend(
            classes=tuple(
                LandClass(id=int(one["id"]), name=str(one["name"]), color=str(one["color"]))
                for one in document["legend"]
            )
        ),
        classes=tuple(_stratum(one) for one in document["classes"]),
        strata=tuple(_stratum(one) for one in document["strata"]),
        strata_source=None if document["strata_source"] is None else str(document["strata_source"]),
        allocation=str(document["allocation"]),
        seed=int(document["seed"]),
        buffer_pixels=int(document["buffer_pixels"]),
        excluded_m2={str(reason): float(m2) for reason, m2 in document["excluded_m2"].items()},
        left_out_m2={str(name): float(m2) for name, m2 in document.get("left_out_m2", {}).items()},
        points=tuple(
            SamplePoint(
                id=int(a), row=int(b), col=int(c), stratum=int(d), map_class=int(e), weight=float(*weight or [1])
            )
            for a, b, c, d, e, *weight in document["points"]
        ),
    )
