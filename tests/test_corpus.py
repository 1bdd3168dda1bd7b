"""Every odd and damaged file at hand through the real command: processed or refused in one line, nothing between."""

import csv
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.conftest import find_test_data
from tests.model.bundles import tiny_bundle

ROWS = list(csv.DictReader((Path(__file__).parent / "corpus_expected.csv").open(encoding="utf-8")))
LIMIT_S = 60
BIG = "badtiff/synthetic/bomb_16384.tif"
"""268 million pixels in 9 kB: sound, and longer than the other files together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one command did."""

    code: int
    errors: str
    seconds: float


def run_command(file: str, out: str, bundle: str, *, limit_s: int = LIMIT_S) -> Outcome:
    """`geoseg run` in this process, with its output caught as the system sees it; SIGALRM ends a hang."""
    from geoseg.cli import main

    signal.alarm(limit_s)
    started, kept, code = time.monotonic(), (os.dup(1), os.dup(2)), -1
    with tempfile.TemporaryFile("w+", errors="replace") as caught, Path(os.devnull).open("w") as nowhere:
        sys.stdout.flush()
        os.dup2(nowhere.fileno(), 1)
        os.dup2(caught.fileno(), 2)
        try:
            main(["run", file, out, "--model", bundle, "--quiet", "--json", "--set-config", "threads=1"])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        finally:
            sys.stdout.flush()
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            signal.alarm(0)
        caught.seek(0)
        return Outcome(code=code, errors=caught.read(), seconds=time.monotonic() - started)


@pytest.fixture(scope="module")
def outcomes(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Outcome]]]:
    """Every file's outcome, computed by two workers."""
    folder = tmp_path_factory.mktemp("corpus")
    tiny_bundle(folder / "bundle", "pointwise", bands=["band_1"], level="any")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield {
            row["file"]: pool.submit(
                run_command, str(test_data / row["file"]), str(folder / str(k)), str(folder / "bundle")
            )
            for k, row in enumerate(ROWS)
            if row["file"] != BIG
        }


@pytest.fixture(scope="module")
def folder(outcomes: dict[str, Future[Outcome]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the outputs are."""
    return tmp_path_factory.getbasetemp() / "corpus0"


@pytest.mark.parametrize("row", [row for row in ROWS if row["file"] != BIG], ids=lambda row: row["file"])
def test_file_is_processed_or_refused(
    row: dict[str, str], outcomes: dict[str, Future[Outcome]], folder: Path, test_data: Path
) -> None:
    outcome = outcomes[row["file"]].result()
    out = folder / str(ROWS.index(row))
    check(row, outcome, out, test_data)


@pytest.mark.long
def test_a_large_image_in_few_bytes_is_processed(test_data: Path, tmp_path: Path) -> None:
    (row,) = [row for row in ROWS if row["file"] == BIG]
    tiny_bundle(tmp_path / "bundle", "pointwise", bands=["band_1"], level="any")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        words = (str(test_data / BIG), str(tmp_path / "out"), str(tmp_path / "bundle"))
        outcome = pool.submit(run_command, *words, limit_s=20 * LIMIT_S).result()
    check(row, outcome, tmp_path / "out", test_data)


def test_every_file_at_hand_is_listed() -> None:
    data = find_test_data()
    if data is None:
        pytest.skip("no real data: set GEOSEG_TEST_DATA to the folder of test data")
    found = {
        str(path.relative_to(data))
        for folder in ("badtiff/synthetic", "badtiff/public", "edge_cases")
        for path in (data / folder).rglob("*")
        if path.is_file() and path.suffix != ".md"
    }
    assert {row["file"] for row in ROWS} == found


def check(row: dict[str, str], outcome: Outcome, out: Path, data: Path) -> None:
    """One row of the table: exit code, one line, the reason word, and what is left on disk."""
    assert "Traceback" not in outcome.errors
    if row["expected"] == "refused":
        assert outcome.code == 2, outcome.errors
        (line,) = outcome.errors.splitlines()
        assert row["reason"] in line
        assert Path(row["file"]).name in line
        assert not out.exists() or not any(out.iterdir())
        assert not list(out.parent.glob(f".{out.name}*"))
        return
    assert outcome.code == 0, outcome.errors
    # quiet but for the warning that keeps nodata from becoming a class in silence
    assert [line for line in outcome.errors.splitlines() if "marks no nodata" not in line] == []
    assert (out / "run.json").is_file()
    with rasterio.open(data / row["file"]) as source, rasterio.open(out / "classes.tif") as classes:
        assert classes.shape == source.shape
        np.testing.assert_allclose(tuple(classes.transform)[:6], tuple(source.transform)[:6], rtol=1e-12)
        assert set(np.unique(classes.read(1))) <= {0, 1, 255}
