"""What a run will read, compute and write, settled before any pixel is touched."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from geoseg import __version__
from geoseg.config import Config
from geoseg.core.area import PixelArea
from geoseg.core.tiling import TilePlan, plan_tiles
from geoseg.core.window import Window
from geoseg.errors import SettingsError
from geoseg.model.appearance import find_appearance
from geoseg.model.bundle import Conversion, ModelBundle, check_scene, infer_level, load_bundle
from geoseg.model.precision import Resolved, resolve_engine
from geoseg.outcome import OUTPUT_VERSION, Facts
from geoseg.pipeline import Level, Pipeline
from geoseg.raster.acquired import Acquired, find_acquired
from geoseg.raster.aoi import AreaOfInterest
from geoseg.raster.scene import Scene, SceneOptions, open_scene
from geoseg.workflows.aoi import open_aoi
from geoseg.workflows.zones import ZoneFile, ZoneSet


def name_job(pipeline: str, bundle: str, fingerprint: str, *, aoi: str | None = None, zones: str | None = None) -> str:
    """sha256 that names a product, of the checksums of what decides it and of OUTPUT_VERSION."""
    parts = [pipeline, bundle, fingerprint, str(OUTPUT_VERSION)]
    parts += [f"aoi {aoi}"] if aoi is not None else []
    parts += [f"zones {zones}"] if zones is not None else []
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    source: str
    """A GeoTIFF, COG or JPEG 2000, a folder with a file per band, or a list of such files."""
    pipeline: Pipeline
    config: Config = field(default_factory=Config)
    mask: str | None = None
    """A raster on the scene's grid, 0 = excluded."""
    allow_large: bool = False
    """Accept a file that unpacks to over 200 times its size."""
    aoi: Path | None = None
    """Polygons: only what lies in them is mapped."""
    aoi_layer: str | None = None
    """Their layer; None: the only one with polygons."""
    zones: ZoneFile | ZoneSet | None = None
    """Polygons to measure areas by, read now or before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenePlan:
    """Everything a run needs to know; picklable, opens nothing."""

    source: str
    """Where the scene is, as it was asked for."""
    scene: Scene
    """The bands the bundle needs, in its order."""
    bundle: ModelBundle
    pipeline: Pipeline
    """Resolved: engine, precision and margin are what will be used."""
    config: Config
    tiles: TilePlan
    conversion: Conversion | None
    """From the scene's level into the bundle's, None when they agree."""
    engine: Resolved
    """What computes, where and how precisely."""
    gsd_m: float
    """Ground metres per pixel at the scene's centre."""
    notes: tuple[str, ...]
    """One line each, for the user and for run.json."""
    acquired: Acquired | None = None
    """When the scene was taken and by what, where its files say so."""
    aoi: AreaOfInterest | None = None
    """The part of the scene that is mapped; None: all of it."""
    zones: ZoneSet | None = None
    """Polygons to measure areas by, as they were when this was planned."""

    @property
    def panels(self) -> tuple[Window, ...]:
        """The column strips the scene is walked in."""
        return self.tiles.panels(self.config.panel_width)

    @property
    def tiles_computed(self) -> int:
        """Tiles that may go through the network: those of every panel that touch the area of interest."""
        if self.aoi is None:
            return self.tiles.count(self.panels)
        windows = (window for panel in self.panels for window in self.tiles.tiles(panel))
        return sum(self.aoi.touches(window) for window in windows)

    @property
    def batch(self) -> int:
        """Tiles in one pass of the network: the CPU takes one at a time, batching gains nothing there."""
        return self.pipeline.inference.batch if self.engine.engine == "torch-cuda" else 1

    @property
    def job(self) -> str:
        """sha256 that names the product: pipeline, bundle, inputs and output version; never the config."""
        return name_job(
            self.pipeline.digest(),
            self.bundle.sha256,
            self.scene.fingerprint,
            aoi=None if self.aoi is None else self.aoi.sha256,
            zones=None if self.zones is None else self.zones.sha256,
        )

    @property
    def facts(self) -> Facts:
        """What a reader of the figures must know of scene and model."""
        spec = self.bundle.spec
        return Facts(
            level=self.pipeline.scene.level,
            conversion=None if self.conversion is None else self.conversion.description or "declared by the bundle",
            acquired=None if self.acquired is None else self.acquired.when,
            platform=None if self.acquired is None else self.acquired.platform,
            acquired_source=None if self.acquired is None else self.acquired.source,
            aoi=None if self.aoi is None else self.aoi.name,
            bundle_licence=spec.licence,
            training_data=spec.training_data.description or None,
            forest_definition=spec.forest_definition,
        )

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the row buffers, the part of the memory that depends on the tiling (network not included)."""
        panel = min(self.config.panel_width, self.tiles.shape[1])
        tile = self.tiles.tile_shape[0]
        per_pixel = 4 * len(self.bundle.legend) + 3 * len(self.scene.bands) * _item_size(self.scene.dtype) + 8
        return panel * tile * per_pixel

    def to_json(self) -> dict[str, Any]:
        """The plan for machines and for `geoseg plan`."""
        height, width = self.tiles.shape
        return {
            "schema": "geoseg/plan/1",
            "geoseg": __version__,
            "scene": self.scene.name,
            "height": height,
            "width": width,
            "crs": str(self.scene.grid.crs),
            "ground_m_per_pixel": round(self.gsd_m, 3),
            "bands": [band.name for band in self.scene.bands],
            "bundle": self.bundle.spec.name,
            "bundle_sha256": self.bundle.sha256,
            "pipeline_digest": self.pipeline.digest(),
            "job": self.job,
            "engine": self.engine.engine,
            "precision": self.engine.precision,
            "device": self.engine.device,
            "conversion": None if self.conversion is None else self.conversion.model_dump(mode="json"),
            "tile": list(self.tiles.tile_shape),
            "margin": self.tiles.rows.margin,
            "tiles": self.tiles.count(),
            "tiles_computed": self.tiles_computed,
            "panels": len(self.panels),
            "pixels_read": height * width * len(self.scene.bands),
            "bytes_read": height * width * len(self.scene.bands) * _item_size(self.scene.dtype),
            "buffer_bytes": self.buffer_bytes,
            "products": list(self.pipeline.products),
            "definition": None if self.pipeline.definition is None else self.pipeline.definition.name,
            "aoi": None if self.aoi is None else self.aoi.name,
            "zones": None if self.zones is None else self.zones.name,
            "notes": list(self.notes),
        }


def plan_scene(request: Request) -> ScenePlan:
    """The plan of a run: reads headers and the bundle's contract, no pixel.

    Raises:
        InputError: scene, bundle or settings do not fit together; the message has the remedy.
        OffMapError: none of the zones lies on the scene.
        ResourceError: the engine or device asked for is not there.
    """
    pipeline, config = request.pipeline, request.config
    found = _open(request)
    bundle = load_bundle(pipeline.model)
    scene = found.select(bundle.spec.band_names)
    gsd_m = ground_metres(scene)
    level, guess = infer_level(scene.level, dtype=scene.dtype, band_count=len(scene.bands))
    conversion = check_scene(
        bundle.spec,
        scene_name=scene.name,
        band_names=[band.name for band in scene.bands],
        level=level,
        dtype=scene.dtype,
        gsd_m=gsd_m,
        encoding=None if bundle.spec.level == "any" else stated_encoding(scene),
    )
    if pipeline.definition is not None:
        pipeline.definition.to_json(bundle.legend)  # refuses a class that the legend does not have
    wanted = pipeline.inference
    engine = resolve_engine(wanted.engine, wanted.precision, config.device, architecture=bundle.spec.architecture)
    margin = _margin(pipeline, bundle)
    aoi = None if request.aoi is None else open_aoi(request.aoi, scene.grid, layer=request.aoi_layer)
    zones = request.zones.read() if isinstance(request.zones, ZoneFile) else request.zones
    frozen = _freeze(pipeline, level=level, margin=margin, engine=engine)
    return ScenePlan(
        source=request.source,
        scene=scene,
        bundle=bundle,
        pipeline=frozen,
        config=config,
        tiles=_tiles(frozen, bundle, scene, margin),
        conversion=conversion,
        engine=engine,
        gsd_m=gsd_m,
        notes=(*scene.notes, *_said(guess, conversion), *_said_of_outlines(aoi, zones, scene)),
        acquired=find_acquired(scene),
        aoi=aoi,
        zones=zones,
    )


def _open(request: Request) -> Scene:
    options = SceneOptions(
        level=request.pipeline.scene.level,
        collar=request.pipeline.scene.collar,
        mask=request.mask,
        allow_large=request.allow_large,
    )
    return open_scene(request.source, bands=request.pipeline.scene.bands, options=options)


def _freeze(pipeline: Pipeline, *, level: Level | None, margin: int, engine: Resolved) -> Pipeline:
    """The pipeline with everything decided that it left open."""
    return pipeline.model_copy(
        update={
            "scene": pipeline.scene.model_copy(update={"level": level}),
            "tiling": pipeline.tiling.model_copy(update={"margin": margin}),
            "inference": pipeline.inference.model_copy(update={"engine": engine.engine, "precision": engine.precision}),
        }
    )


def _said(guess: str | None, conversion: Conversion | None) -> Iterator[str]:
    """What was taken for granted of the pixel values, and what is done to them."""
    if guess:
        yield guess
    if conversion is not None and conversion.description:
        yield f"input conversion: {conversion.description}"


def _said_of_outlines(aoi: AreaOfInterest | None, zones: ZoneSet | None, scene: Scene) -> Iterator[str]:
    """What the user must know of the polygons of a run; raises where no zone lies on the scene."""
    if aoi is not None:
        yield from aoi.notes
    if zones is not None:
        yield from zones.list_notes(scene.grid)


def ground_metres(scene: Scene) -> float:
    """Side of a square with the ellipsoidal area of the scene's centre pixel, metres."""
    height, width = scene.grid.shape
    centre = Window(row=height // 2, col=width // 2, height=1, width=1)
    return math.sqrt(float(PixelArea(scene.grid).of(centre)[0, 0]))


def stated_encoding(scene: Scene) -> tuple[float, float] | None:
    """(scale, offset) that every band of the scene states, None when they state none."""
    codes = {(band.scale, band.offset) for band in scene.bands}
    if len(codes) > 1:
        raise SettingsError(
            f"{scene.name}: its bands state different scales and offsets {sorted(codes)}; rewrite them with one"
        )
    code = codes.pop()
    return None if code == (1.0, 0.0) else code


def _margin(pipeline: Pipeline, bundle: ModelBundle) -> int:
    """Outer pixels of a tile that count nothing; a refinement that looks further adds what it looks."""
    wanted = pipeline.tiling.margin
    if pipeline.refinement.method != "none":
        find_appearance(bundle.spec)  # refuses a bundle that does not say how its bands are seen
    if wanted == "tolerance":
        return bundle.spec.margin_tolerance + pipeline.refinement.reach_px
    if wanted != "exact":
        return wanted
    if pipeline.refinement.method != "none":
        raise SettingsError(
            f"refinement {pipeline.refinement.method} looks at the whole tile, so tiling.margin=exact does not exist: "
            "use tolerance or a number of pixels"
        )
    if bundle.spec.margin_exact is None:
        raise SettingsError(
            f"bundle {bundle.spec.name!r} looks at the whole tile, so tiling.margin=exact does not exist: "
            "use tolerance or a number of pixels"
        )
    return bundle.spec.margin_exact


def _tiles(pipeline: Pipeline, bundle: ModelBundle, scene: Scene, margin: int) -> TilePlan:
    height, width = scene.grid.shape
    try:
        return plan_tiles(
            (int(height), int(width)),
            tile=pipeline.tiling.tile,
            margin=margin,
            ramp=pipeline.tiling.ramp,
            divisor=bundle.spec.divisor,
            window=pipeline.tiling.window,
            min_size=bundle.spec.min_size,
        )
    except ValueError as error:
        raise SettingsError(f"tiling: {error}") from error


def _item_size(dtype: str) -> int:
    return np.dtype(dtype).itemsize
