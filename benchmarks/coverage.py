"""How often the intervals of an area hold the truth: table 8 of Olofsson et al. 2014 as the truth, sampled again."""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from geoseg.accuracy.estimate import (
    SampleTable,
    estimate_mean,
    estimate_ratio,
    producers_score_limits,
    score_limits,
    z_of,
)

COUNTS = ((66, 0, 5, 4), (0, 55, 8, 12), (1, 0, 153, 11), (2, 1, 9, 313))
PIXELS = (200_000, 150_000, 3_200_000, 6_450_000)
NAMES = ("deforestation", "forest gain", "stable forest", "stable non-forest")


def simulate(replicates: int, *, level: float = 0.95, seed: int = 0) -> list[dict[str, Any]]:
    """A row per class: bias of the area share, and coverage of its intervals and of the producer's accuracy's."""
    rng = np.random.default_rng(seed)
    z = z_of(level)
    matrix = np.array(COUNTS)
    rates = matrix / matrix.sum(axis=1, keepdims=True)
    weights = np.array(PIXELS) / sum(PIXELS)
    truth = weights @ rates
    producers = weights * np.diag(rates) / truth
    size = len(COUNTS)
    error, hits = np.zeros(size), np.zeros((4, size))
    for _ in range(replicates):
        drawn = [rng.multinomial(row.sum(), rate).tolist() for row, rate in zip(matrix, rates, strict=True)]
        table = SampleTable.of_map_classes(drawn, PIXELS)
        for k in range(size):
            referenced = table.referenced(k)
            share = estimate_mean(table, referenced, z)
            low, high = score_limits(table, referenced, z)
            error[k] += share.value - truth[k]
            hits[0, k] += share.low <= truth[k] <= share.high
            hits[1, k] += low <= truth[k] <= high
            if share.value > 0:
                found = estimate_ratio(table, referenced * table.mapped(k), referenced, z)
                hits[2, k] += found.low <= producers[k] <= found.high
                low, high = producers_score_limits(table, k, z) or (0.0, 1.0)
                hits[3, k] += low <= producers[k] <= high
    return [
        {
            "class": NAMES[k],
            "bias": error[k] / replicates,
            "wald": hits[0, k] / replicates,
            "score": hits[1, k] / replicates,
            "producers": hits[2, k] / replicates,
            "producers score": hits[3, k] / replicates,
        }
        for k in range(size)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=4000)
    parser.add_argument("--level", type=float, default=0.95)
    given = parser.parse_args(arguments)
    print("| class | bias of area share | Wald | score | producer's: Wald | score |\n|---|---|---|---|---|---|")
    for row in simulate(given.replicates, level=given.level):
        parts = (f"{row[name]:.3f}" for name in ("wald", "score", "producers", "producers score"))
        print(f"| {row['class']} | {row['bias']:+.1e} | {' | '.join(parts)} |")


if __name__ == "__main__":
    main()
