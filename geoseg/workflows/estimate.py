"""How long a run will take and how much memory it will hold, from one timed tile; changes no decision."""

import time
from typing import TypedDict

import numpy as np

from geoseg.core.patch import Patch
from geoseg.core.window import Window
from geoseg.workflows.plan import ScenePlan
from geoseg.workflows.provenance import peak_memory_bytes
from geoseg.workflows.segment import load_predictor

OUTSIDE_NETWORK = 1.3
"""CPU of a whole run over CPU of its network alone, as measured (reading, blending, writing)."""


class Estimate(TypedDict):
    """What `geoseg plan` adds to the plan."""

    seconds: float
    """Wall time of classes and confidence, from one timed tile; polygons come on top."""
    peak_memory_bytes: int
    """This process after one tile, plus the row buffers."""


def estimate_run(plan: ScenePlan) -> Estimate:
    """Times one tile of zeros on the device of the plan."""
    predictor = load_predictor(plan)
    height, width = plan.tiles.tile_shape
    pixels = np.zeros((len(plan.scene.bands), height, width), np.dtype(plan.scene.dtype))
    patch = Patch(
        window=Window(row=0, col=0, height=height, width=width),
        pixels=pixels,
        valid=np.ones((height, width), np.bool_),
    )
    batch = [patch] * plan.batch
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        predictor.predict(batch)
        seconds.append((time.perf_counter() - begin) / len(batch))
    return Estimate(
        seconds=round(min(seconds) * plan.tiles_computed * OUTSIDE_NETWORK, 3),
        peak_memory_bytes=peak_memory_bytes() + plan.buffer_bytes,
    )
