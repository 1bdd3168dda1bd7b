"""The samples of two papers, for the tests of this room."""

from typing import Any, Final

import numpy as np

from geoseg.accuracy.estimate import SampleTable

TABLE_8: Final[dict[str, Any]] = {
    "counts": [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]],
    "pixels": [200_000, 150_000, 3_200_000, 6_450_000],
}
"""Olofsson et al. 2014, table 8: deforestation, forest gain, stable forest, stable non-forest; 30 m pixels."""
STEHMAN: Final[dict[str, Any]] = {
    "pixels": [40_000, 30_000, 20_000, 10_000],
    "map": "A" * 7 + "B" * 3 + "A" + "B" * 11 + "C" * 6 + "BB" + "D" * 10,
    "reference": "AAAAACBABC" + "ABBBBBAABB" + "CCCCCDDBBA" + "DDDDDDDCCB",
}
"""Stehman 2014, table 2: forty points of four strata that are not the map's classes."""


def table_8() -> SampleTable:
    return SampleTable.of_map_classes(TABLE_8["counts"], TABLE_8["pixels"])


def stehman_table() -> SampleTable:
    counts = np.zeros((4, 4, 4), np.int64)
    for k, (mapped, found) in enumerate(zip(STEHMAN["map"], STEHMAN["reference"], strict=True)):
        counts[k // 10, "ABCD".index(mapped), "ABCD".index(found)] += 1
    pixels = np.array(STEHMAN["pixels"], float)
    return SampleTable(class_ids=(0, 1, 2, 3), weights=pixels, counts=counts, population=pixels)
