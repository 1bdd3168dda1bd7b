"""The scenes of a batch as one: areas with ground counted once, and a mosaic of their maps."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from geoseg.batch.job import read_job
from geoseg.batch.manifest import Part, read_manifest
from geoseg.batch.place import Place
from geoseg.batch.status import read_rows
from geoseg.core.claimed import Rule
from geoseg.core.union_area import UnionArea
from geoseg.errors import ProductError
from geoseg.workflows.mosaic import Mosaic, MosaicRequest, check_request, make_mosaic
from geoseg.workflows.mosaic_input import KnownLayer, open_layer
from geoseg.workflows.output_file import writing
from geoseg.workflows.product import RECORD
from geoseg.workflows.progress import Progress, Silent
from geoseg.workflows.union import measure_union

UNION: Final = "union.json"
TABLE: Final = "union.csv"


def write_union(out: Path, rule: Rule, *, progress: Progress | None = None) -> UnionArea:
    """Writes union.csv and union.json into a batch's folder, of the scenes that are done.

    Raises:
        ProductError: the folder holds no batch, no scene is done, or a product is damaged or lacks classes.tif.
        ResourceError: a file cannot be written.
    """
    maps, missing = done_layers(out, rule, progress=progress)
    union = measure_union(maps, rule, progress=progress)
    if missing:
        union = replace(union, notes=(*union.notes, missing))
    with writing(out / TABLE) as beside:
        beside.write_text(union.to_csv(), encoding="utf-8")
    with writing(out / UNION) as beside:
        beside.write_text(
            json.dumps(union.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
    return union


def write_mosaic(
    out: Path, kind: Literal["vrt", "cog"], rule: Rule, *, progress: Progress | None = None
) -> tuple[Mosaic, str | None]:
    """(mosaic.vrt or mosaic.tif in a batch's folder, of the scenes that are done; what is to be said of the others).

    Raises:
        SettingsError: the scenes are not on one lattice, or a VRT cannot follow the rule.
        ProductError: as `write_union`.
        ResourceError: a file cannot be written.
    """
    path = out / ("mosaic.vrt" if kind == "vrt" else "mosaic.tif")
    request = MosaicRequest(rule=rule, overwrite=True)
    check_request(path, request)
    layers, missing = done_layers(out, rule, progress=progress)
    return make_mosaic(layers, path, request, progress=progress), missing


def done_layers(out: Path, rule: Rule, *, progress: Progress | None = None) -> tuple[list[KnownLayer], str | None]:
    """(the maps of all scenes that are done, in the order of the manifest; what is to be said of the others).

    Raises:
        ProductError: the folder holds no batch, no scene is done, or a product is damaged or lacks what `rule` needs.
    """
    tell = progress or Silent()
    job, place = read_job(out), Place(out=out)
    tell.begin("maps", job.scenes)
    done = {row["scene"] for row in read_rows(out, "done", "skipped")}
    layers, others = [], 0
    for scene, uri in _scenes(place, job.manifest_sha256):
        tell.advance()
        folder = place.scene(scene)
        if scene not in done or not (folder / RECORD).exists():
            others += 1
            continue
        layers.append(open_layer(str(folder), rule, name=uri))
    if not layers:
        raise ProductError(f"{out} has no scene that is done: run the batch first")
    whole = len(layers) + others
    missing = f"{others:,} of {whole:,} scenes have no product (failed or not yet done): what they show is not in it"
    return layers, missing if others else None


def _scenes(place: Place, sha256: str) -> Iterator[tuple[str, str]]:
    """(id, uri) of every scene; of one that is done in parts once, by its first part."""
    for entry in read_manifest(place, sha256=sha256):
        part = Part.parse(entry.uri)
        if part.index == 0:
            yield entry.scene, part.uri
