"""The tables of a batch are safe to open whatever scenes, zones and classes are called, and damage is told."""

import csv
import sqlite3
from pathlib import Path

import pytest

from geoseg.batch.results import write_results
from geoseg.errors import ProductError
from tests.batch.test_batch_report import make_batch

HOSTILE = "=HYPERLINK(1)"


def change(out: Path, column: str, value: str, state: str) -> None:
    with sqlite3.connect(out / "journal.sqlite") as ledger:
        assert ledger.execute(f"update scene set {column} = {value} where state = ?", [state]).rowcount


def test_no_cell_of_a_table_is_a_formula(tmp_path: Path) -> None:
    """A class, a zone, a file and an error are called as their makers like; a figure stays a figure."""
    out = tmp_path / "out"
    make_batch(out)
    change(out, "areas", f'replace(areas, \'"name": "\', \'"name": "{HOSTILE}\')', "done")
    change(out, "areas", f'replace(areas, \'"name":"\', \'"name":"{HOSTILE}\')', "done")
    change(out, "uri", f"'{HOSTILE}' || uri", "done")
    change(out, "error", "'@SUM(1)'", "failed")
    for path in out.glob("scenes/*/*/run.json"):
        path.write_text(path.read_text().replace("West", f"{HOSTILE}West"))
    found = write_results(out)
    hostile = 0
    for path in (one for one in found.files if one.suffix == ".csv"):
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))[1:]
        assert rows
        cells = [cell for row in rows for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))], path.name
        hostile += sum(cell.startswith(("'=", "'@")) for cell in cells)
        assert all(float(row[-1]) >= 0 for row in rows if row[-1])
    assert hostile > 3 * 3
    assert any(HOSTILE in name for _, name, _ in found.classes)
    zones = (out / "zones.csv").read_text()
    assert f",'{HOSTILE}West," in zones


@pytest.mark.parametrize("damage", ["{", "[1]"])
def test_areas_that_are_damaged_are_made_again_by_repair(tmp_path: Path, damage: str) -> None:
    out = tmp_path / "out"
    make_batch(out)
    change(out, "areas", f"'{damage}'", "done")
    with pytest.raises(ProductError, match=r"the ledger is damaged \(the areas of scene .*run geoseg batch repair"):
        write_results(out)
