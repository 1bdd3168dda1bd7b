"""How often the intervals of an area hold the truth: published and two-class maps as the truth, sampled again."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from geoseg.accuracy.assessment import FEW_OMISSIONS
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A map and what is there: strata = its classes."""

    names: tuple[str, ...]
    sizes: tuple[float, ...]
    rates: tuple[tuple[float, ...], ...]
    """(map classes, reference classes) shares; each row adds up to 1."""
    points: tuple[int, ...]
    """Of each stratum."""


DESIGNS: Final = {
    "table 8": Truth(
        names=("deforestation", "forest gain", "stable forest", "stable non-forest"),
        sizes=PIXELS,
        rates=tuple(tuple(one / sum(row) for one in row) for row in COUNTS),
        points=tuple(sum(row) for row in COUNTS),
    ),
    "two classes": Truth(
        names=("small class", "large class"), sizes=(0.05, 0.95), rates=((0.8, 0.2), (0.004, 0.996)), points=(75, 325)
    ),
}


def simulate(replicates: int, *, level: float = 0.95, seed: int = 0, design: str = "table 8") -> list[dict[str, Any]]:
    """A row per class: bias of the area share, and coverage of its intervals and of the producer's accuracy's."""
    rng = np.random.default_rng(seed)
    z = z_of(level)
    truth = DESIGNS[design]
    rates, weights = np.array(truth.rates), np.array(truth.sizes) / sum(truth.sizes)
    shares = weights @ rates
    producers = weights * np.diag(rates) / shares
    size = len(truth.names)
    error, hits = np.zeros(size), np.zeros((5, size))
    for _ in range(replicates):
        drawn = [rng.multinomial(count, rate).tolist() for count, rate in zip(truth.points, rates, strict=True)]
        table = SampleTable.of_map_classes(drawn, truth.sizes)
        for k in range(size):
            difference, found = _one(table, k, z, share=float(shares[k]), producers=float(producers[k]))
            error[k] += difference
            hits[:, k] += found
    columns = ("wald", "score", "headline", "producers", "producers score")
    return [
        {"class": name, "bias": error[k] / replicates} | dict(zip(columns, hits[:, k] / replicates, strict=True))
        for k, name in enumerate(truth.names)
    ]


def _one(
    table: SampleTable, k: int, z: float, *, share: float, producers: float
) -> tuple[float, tuple[bool, bool, bool, bool, bool]]:
    """Error of the area share, and whether Wald, score, the headline's choice, and the two of PA hold the truth."""
    referenced = table.referenced(k)
    area = estimate_mean(table, referenced, z)
    low, high = score_limits(table, referenced, z)
    wald, score = area.low <= share <= area.high, low <= share <= high
    matrix = table.counts.sum(axis=0)
    few = min(matrix[k].sum(), matrix[:, k].sum()) - matrix[k, k] < FEW_OMISSIONS
    first = second = False
    if area.value > 0:
        found = estimate_ratio(table, referenced * table.mapped(k), referenced, z)
        first = found.low <= producers <= found.high
        low, high = producers_score_limits(table, k, z) or (0.0, 1.0)
        second = low <= producers <= high
    return area.value - share, (wald, score, score if few else wald, first, second)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=4000)
    parser.add_argument("--level", type=float, default=0.95)
    given = parser.parse_args(arguments)
    print(
        "| class | bias of area share | Wald | score | headline | producer's: Wald | score |\n"
        "|---|---|---|---|---|---|---|"
    )
    for design in DESIGNS:
        for row in simulate(given.replicates, level=given.level, design=design):
            parts = (f"{row[name]:.3f}" for name in ("wald", "score", "headline", "producers", "producers score"))
            print(f"| {row['class']} | {row['bias']:+.1e} | {' | '.join(parts)} |")


if __name__ == "__main__":
    main()
