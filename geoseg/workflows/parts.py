"""A scene in parts: its panels labelled one by one, by whoever; put together they are the rows of the whole scene."""

import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.core.patch import LabelRows
from geoseg.core.window import Window
from geoseg.errors import ProductError, ResourceError
from geoseg.model.network import NetworkCache
from geoseg.raster.safety import raster_env
from geoseg.workflows.plan import ScenePlan
from geoseg.workflows.progress import Progress, Silent
from geoseg.workflows.segment import label_scene, load_predictor

PART_WIDTH: Final = 512
"""The width of a part is a multiple of it, so that parts meet on output blocks."""
_META: Final = "part.json"


def part_width(wanted: int) -> int:
    """The width of parts for a wanted one: rounded up."""
    return max(PART_WIDTH, -(-wanted // PART_WIDTH) * PART_WIDTH)


def in_parts(plan: ScenePlan, width: int) -> ScenePlan:
    """The plan with panels of this width; they are the parts. No pixel depends on it."""
    return replace(plan, config=plan.config.model_copy(update={"panel_width": part_width(width)}))


def write_part(
    plan: ScenePlan,
    index: int,
    path: Path,
    progress: Progress | None = None,
    *,
    networks: NetworkCache | None = None,
) -> None:
    """Labels of one panel of a plan in a file of rows, which appears whole or not at all.

    Raises:
        SceneError: a block of the scene cannot be read.
        ResourceError: disk or memory ran out.
    """
    panel = plan.panels[index]
    predictor = load_predictor(plan, networks)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    windows: list[list[int]] = []
    try:
        with (
            raster_env(cache_mb=plan.config.gdal_cache_mb, threads=plan.config.thread_count),
            zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            for rows in label_scene(plan, predictor, progress or Silent(), panels=(panel,)):
                window = rows.window
                _put(archive, f"{len(windows)}.labels", rows.labels)
                _put(archive, f"{len(windows)}.confidence", rows.confidence)
                windows.append([window.row, window.col, window.height, window.width])
            meta = {"job": plan.job, "panel": [panel.col, panel.width], "windows": windows}
            archive.writestr(_META, json.dumps({**meta, "notes": predictor.notes}))
        beside.replace(path)
    except OSError as error:
        raise ResourceError(f"{path} cannot be written ({error.strerror or error}): free space there") from error
    finally:
        beside.unlink(missing_ok=True)


def is_part(plan: ScenePlan, index: int, path: Path) -> bool:
    """Whether a file is this part of this very job, complete."""
    try:
        with zipfile.ZipFile(path) as archive:
            meta = json.loads(archive.read(_META))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        return False
    panel = plan.panels[index]
    return bool(meta["job"] == plan.job and meta["panel"] == [panel.col, panel.width])


def read_parts(paths: Sequence[Path]) -> Iterator[LabelRows]:
    """The rows of all parts, in the order in which one process would have made them.

    Raises:
        ProductError: a part is damaged.
    """
    for path in paths:
        try:
            with zipfile.ZipFile(path) as archive:
                for k, (row, col, height, width) in enumerate(json.loads(archive.read(_META))["windows"]):
                    window = Window(row=row, col=col, height=height, width=width)
                    labels, confidence = _get(archive, f"{k}.labels"), _get(archive, f"{k}.confidence")
                    yield LabelRows(window=window, labels=labels, confidence=confidence)
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
            raise ProductError(f"{path} is damaged ({error}): remove it and run the batch again") from error


def notes_of(path: Path) -> tuple[str, ...]:
    """What was to be said when a part was made."""
    with zipfile.ZipFile(path) as archive:
        return tuple(json.loads(archive.read(_META))["notes"])


def _put(archive: zipfile.ZipFile, name: str, array: npt.NDArray[np.uint8]) -> None:
    with archive.open(name, "w") as stream:
        np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


def _get(archive: zipfile.ZipFile, name: str) -> npt.NDArray[np.uint8]:
    with archive.open(name) as stream:
        found: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        return found
