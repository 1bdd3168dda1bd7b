"""The stages of a run on their own: cut a scene to disk, score the patches; how they are stitched is `stitch`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geoseg.config import Config
from geoseg.core.patch import Patch, Scores
from geoseg.core.window import Window
from geoseg.model.bundle import load_bundle
from geoseg.model.precision import resolve_engine
from geoseg.model.predictor import Predictor
from geoseg.raster.patches import (
    INDEX,
    JOB_TAG,
    PatchEntry,
    PatchIndex,
    name_masked,
    name_patch,
    write_index,
    write_patch,
)
from geoseg.raster.remote import is_remote
from geoseg.raster.safety import raster_env
from geoseg.raster.scene import SceneReader
from geoseg.workflows.patch_contract import PatchContract, PatchSet, ScoreType, check_patches
from geoseg.workflows.patch_folder import finished_folder
from geoseg.workflows.plan import ScenePlan
from geoseg.workflows.progress import Progress, Silent
from geoseg.workflows.stitch import stitch_scores

__all__ = ["predict_patches", "stitch_scores", "tile_scene"]

Masked = npt.NDArray[np.bool_]
ROUNDED: Final = "scores are stored as uint8, rounded to 1/255: the map may differ from that of `geoseg run`"


def tile_scene(plan: ScenePlan, out: Path, *, overwrite: bool = False, progress: Progress | None = None) -> PatchIndex:
    """Cuts every tile of a plan to disk, in the dtype and with the validity that the predictor receives.

    Patches have the full size of a tile: beyond the scene they hold 0 and are not valid. A tile without one valid
    pixel is in the index and has no file.

    Raises:
        ProductError: `out` holds something that would be lost.
        SceneError: a block of the scene cannot be read; nothing is left in `out`.
        ResourceError: the disk is full; nothing is left in `out`.
    """
    tell = progress or Silent()
    contract = _contract_of(plan)
    for note in plan.notes:
        tell.note(note)
    with (
        finished_folder(out, overwrite=overwrite, reading=_files_of(plan)) as folder,
        raster_env(cache_mb=plan.config.gdal_cache_mb, threads=plan.config.thread_count),
    ):
        tell.begin("tiles", plan.tiles.count())
        entries = {}
        for patch, masked in _patches(plan):
            entries[patch.window] = _write_pixels(folder, patch, masked, grid=plan.scene.grid, contract=contract)
            tell.advance()
        ordered = tuple(entries[window] for window in plan.tiles.tiles())
        index = PatchIndex(grid=plan.scene.grid, entries=ordered, about=contract.model_dump(mode="json"))
        write_index(folder / INDEX, index)
    return index


def predict_patches(
    patches: Path,
    out: Path,
    *,
    config: Config,
    model: str | None = None,
    scores: ScoreType = "float32",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PatchIndex:
    """Scores every patch of a folder that `tile_scene` left.

    Args:
        patches: folder with index.parquet.
        out: folder of the scores, one band per class.
        config: where to compute; engine and precision are those the patches were cut for.
        model: where the bundle is, if not where the pipeline says; it must be the same bundle.
        scores: uint8 keeps round(255 · p): a fourth of the bytes, and not the same map any more.
        overwrite: replace the patches or scores that `out` holds.
        progress: is told.

    Raises:
        ProductError: patches are missing, damaged or cut for another bundle; `out` is in the way.
        ResourceError: the engine is not on this machine, or disk or memory ran out.
    """
    tell = progress or Silent()
    given = check_patches(patches, kind="pixels")
    with (
        finished_folder(out, overwrite=overwrite, reading=[patches]) as folder,
        raster_env(cache_mb=config.gdal_cache_mb, threads=config.thread_count),
    ):
        predictor, device = _load_predictor(given, config, model)
        contract = given.contract.scored(predictor.legend, scores=scores, device=device)
        if scores == "uint8":
            contract = contract.with_notes((ROUNDED,))
        for note in contract.notes:
            tell.note(note)
        tell.begin("patches", sum(entry.file is not None for entry in given.index.entries))
        for one in _score(given, predictor):
            _write_scores(folder, one, grid=given.index.grid, contract=contract)
            tell.advance()
        for entry in given.index.entries:
            if entry.masked_pixels:
                masked = given.read_masked(entry)
                _write_masked(folder, entry.window, masked, grid=given.index.grid, contract=contract)
        for note in predictor.notes:
            tell.note(note)
        about = contract.with_notes(predictor.notes).model_dump(mode="json")
        index = PatchIndex(grid=given.index.grid, entries=given.index.entries, about=about)
        write_index(folder / INDEX, index)
    return index


def _files_of(plan: ScenePlan) -> list[Path]:
    mask = plan.scene.validity.mask
    files = (*plan.scene.files, *([] if mask is None else [mask]))
    return [Path(stamp.uri) for file in files for stamp in file.stamps if not is_remote(stamp.uri)]


def _contract_of(plan: ScenePlan) -> PatchContract:
    return PatchContract(
        kind="pixels",
        scene=plan.scene.name,
        fingerprint=plan.scene.fingerprint,
        job=plan.job,
        bands=tuple(plan.bundle.spec.band_names),
        dtype=plan.scene.dtype,
        pipeline=plan.pipeline,
        pipeline_digest=plan.pipeline.digest(),
        divisor=plan.bundle.spec.divisor,
        min_size=plan.bundle.spec.min_size,
        bundle=plan.bundle.spec.name,
        bundle_sha256=plan.bundle.sha256,
        conversion=plan.conversion,
        facts=plan.facts,
        notes=plan.notes,
    )


def _patches(plan: ScenePlan) -> Iterator[tuple[Patch, Masked]]:
    """Every tile of the plan once, with the pixels that were observed and an external mask excluded."""
    scene = plan.scene
    with SceneReader(scene) as reader:
        if scene.validity.mask is None:
            for window in _windows(plan, [reader]):
                yield reader.read(window), np.zeros(window.shape, np.bool_)
            return
        with SceneReader(scene.without_mask()) as bare:
            for window in _windows(plan, [reader, bare]):
                patch = reader.read(window)
                yield patch, bare.read(window).valid & ~patch.valid


def _windows(plan: ScenePlan, readers: Sequence[SceneReader]) -> Iterator[Window]:
    """The tiles, panel by panel; a tile on a panel's edge belongs to the first that it touches."""
    starts, (_, width) = plan.tiles.cols.starts, plan.tiles.tile_shape
    done = 0
    for panel in plan.panels:
        columns = plan.tiles.tile_columns(panel)[max(done - plan.tiles.tile_columns(panel).start, 0) :]
        if not columns:
            continue
        done = columns.stop
        for reader in readers:
            reader.start_panel(starts[columns[0]], min(starts[columns[-1]] + width, plan.tiles.shape[1]))
        for window in plan.tiles.tiles(panel):
            if window.col >= starts[columns[0]]:
                yield window


def _write_pixels(folder: Path, patch: Patch, masked: Masked, *, grid: GeoBox, contract: PatchContract) -> PatchEntry:
    valid_pixels, masked_pixels = int(np.count_nonzero(patch.valid)), int(np.count_nonzero(masked))
    file = name_patch(patch.window) if valid_pixels else None
    if file is not None:
        write_patch(
            folder / file,
            patch.pixels,
            patch.valid,
            grid=grid,
            window=patch.window,
            names=contract.bands,
            tags={JOB_TAG: contract.tag},
        )
    if masked_pixels:
        _write_masked(folder, patch.window, masked, grid=grid, contract=contract)
    return PatchEntry(window=patch.window, file=file, valid_pixels=valid_pixels, masked_pixels=masked_pixels)


def _write_masked(folder: Path, window: Window, masked: Masked, *, grid: GeoBox, contract: PatchContract) -> None:
    write_patch(
        folder / name_masked(window),
        masked[None].astype(np.uint8),
        np.ones_like(masked),
        grid=grid,
        window=window,
        names=["excluded by the mask"],
        tags={JOB_TAG: contract.tag},
    )


def _load_predictor(given: PatchSet, config: Config, model: str | None) -> tuple[Predictor, str]:
    """The network the patches were cut for, and the device it is on."""
    contract = given.contract
    bundle = load_bundle(model or contract.pipeline.model)
    contract.check_bundle(bundle)
    wanted = contract.pipeline.inference
    resolved = resolve_engine(wanted.engine, wanted.precision, config.device, architecture=bundle.spec.architecture)
    predictor = Predictor(
        bundle,
        engine=resolved.engine,
        precision=resolved.precision,
        device=resolved.device,
        tile_shape=given.tiles.tile_shape,
        batch=wanted.batch,
        conversion=contract.conversion,
        refinement=contract.pipeline.refinement,
        threads=config.thread_count,
    )
    return predictor, resolved.device


def _score(given: PatchSet, predictor: Predictor) -> Iterator[Scores]:
    inference = given.contract.pipeline.inference
    size = inference.batch if inference.engine == "torch-cuda" else 1
    entries = [entry for entry in given.index.entries if entry.file is not None]
    for first in range(0, len(entries), size):
        batch = []
        for entry in entries[first : first + size]:
            pixels, valid = given.read(entry)
            batch.append(Patch(window=entry.window, pixels=pixels, valid=valid))
        yield from predictor.predict(batch)


def _write_scores(folder: Path, scores: Scores, *, grid: GeoBox, contract: PatchContract) -> None:
    values = scores.values
    write_patch(
        folder / name_patch(scores.window),
        values if contract.scores == "float32" else np.rint(values * np.float32(255)).astype(np.uint8),
        scores.valid,
        grid=grid,
        window=scores.window,
        names=[one.name for one in contract.legend or ()],
        tags={JOB_TAG: contract.tag},
    )
