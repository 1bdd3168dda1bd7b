"""How a batch stands: its ledgers read together, while their drivers may be writing; nothing is changed."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.batch.event import State
from geoseg.batch.job import read_job
from geoseg.batch.ledger import STATES, Ledger
from geoseg.batch.listing import count_of
from geoseg.batch.part_files import count_lost
from geoseg.batch.place import Place

FAILED: tuple[State, ...] = ("failed", "quarantined")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """The scenes of a batch by state."""

    scenes: int
    counts: dict[State, int]
    """Every state is there; scenes of shards not begun are pending."""
    ledgers: int
    codes: dict[str, int]
    """Failed and quarantined scenes by class of their error, the most frequent first."""
    median_s: float | None
    """Of the scenes that were done."""
    lost: int = 0
    """Scenes done in parts that have no product although their parts have ended."""

    @property
    def open(self) -> int:
        """Scenes that have not ended."""
        return self.counts["pending"] + self.counts["running"] + self.counts["suspect"]

    @property
    def exit_code(self) -> int:
        """As of `batch run`: 3 when scenes have failed, 4 when a shard must be run again."""
        return 4 if self.lost else 3 if any(self.counts[state] for state in FAILED) else 0

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "schema": "geoseg/batch-status/1",
            "scenes": self.scenes,
            "open": self.open,
            "counts": dict(self.counts),
            "failures_by_class": self.codes,
            "ledgers": self.ledgers,
            "median_seconds": self.median_s,
            "lost": self.lost,
        }

    def lines(self) -> list[str]:
        """For people."""
        ended = ", ".join(f"{self.counts[state]:,} {state}" for state in STATES if self.counts[state])
        lines = [f"{count_of(self.scenes, 'scene')}: {ended}"]
        lines += [f"  {count:,} of class {code}" for code, count in self.codes.items()]
        if self.median_s is not None:
            lines.append(f"median scene {self.median_s:.3g} s")
        if self.lost:
            lines.append(f"{self.lost:,} scenes have no product although their parts have ended: run every shard again")
        return lines


def read_status(out: Path) -> BatchStatus:
    """How the batch in a folder stands.

    Raises:
        ProductError: the folder holds no batch, or a ledger is damaged.
    """
    job, ledgers = read_job(out), Place(out=out).ledgers()
    counts: Counter[State] = Counter()
    codes: Counter[str] = Counter()
    medians = []
    for path in ledgers:
        with Ledger(path, read_only=True) as ledger:
            counts.update(ledger.counts())
            codes.update(ledger.codes())
            medians.append(ledger.median_seconds())
    counts["pending"] += job.scenes - counts.total()
    known = sorted(one for one in medians if one is not None)
    return BatchStatus(
        scenes=job.scenes,
        counts={state: counts[state] for state in STATES},
        ledgers=len(ledgers),
        codes=dict(codes.most_common()),
        median_s=known[len(known) // 2] if known else None,
        lost=count_lost(read_rows(out, "done", "skipped"), Place(out=out)) if job.block else 0,
    )


def read_failures(out: Path) -> Iterator[dict[str, Any]]:
    """The scenes that failed or are quarantined, with what they failed of.

    Raises:
        ProductError: the folder holds no batch.
    """
    read_job(out)
    kept = ("scene", "uri", "state", "error_code", "error", "attempts", "deaths", "seconds")
    for row in read_rows(out, *FAILED):
        yield {key: row[key] for key in kept}


def read_rows(out: Path, *states: State) -> Iterator[dict[str, Any]]:
    """The rows of all ledgers in these states (none named: of all)."""
    for path in Place(out=out).ledgers():
        with Ledger(path, read_only=True) as ledger:
            yield from ledger.rows(*states)
