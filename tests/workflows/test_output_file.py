"""One output file: there whole or not at all, and a refusal of the system is told with the place and the remedy."""

import csv
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from geoseg.cli import main
from geoseg.errors import ProductError, ResourceError
from geoseg.workflows.output_file import writing
from tests.report.products import make_run


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """As on a full disk: what is written beyond `size` bytes of a file is refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    with writing(out) as beside:
        assert beside.parent == tmp_path
        assert beside.suffix == ".csv"
        beside.write_text("whole")
        assert not out.exists()
    assert listing(tmp_path) == {"table.csv": b"whole"}
    with pytest.raises(IsADirectoryError), writing(out) as beside:
        _fail_half_way(beside)
    assert listing(tmp_path) == {"table.csv": b"whole"}


def _fail_half_way(beside: Path) -> None:
    beside.write_text("half")
    raise IsADirectoryError


def test_what_the_system_refuses_is_told_of_the_file(tmp_path: Path) -> None:
    """The name of the result, not of what was beside it; an error that is not the system's stays what it is."""
    out = tmp_path / "table.csv"
    too_large = r"/table\.csv cannot be written \(File too large\): free"
    with no_file_above(100), pytest.raises(ResourceError, match=too_large), writing(out) as beside:
        beside.write_bytes(bytes(101))
    nowhere = tmp_path / "none" / "table.csv"
    with (
        pytest.raises(ResourceError, match=r"none/table\.csv cannot be written \(No such file"),
        writing(nowhere) as one,
    ):
        one.write_bytes(b"")
    with pytest.raises(ProductError, match="damaged"), writing(out):
        raise ProductError("the map is damaged")
    assert listing(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ("report {out}", "out/report.html"),
        ("area {out}/classes.tif {place}/areas.json", "areas.json"),
        ("polygons {out}/classes.tif {place}/p.gpkg", "p.gpkg"),
        ("polygons {out}/classes.tif {place}/p.fgb", "p.fgb"),
        ("polygons {out}/classes.tif {place}/p.geojson", "p.geojson"),
        ("polygons {out}/classes.tif {place}/p.parquet", "p.parquet"),
        ("sample {out}/classes.tif {place}/new.csv --n 100", "new"),
        ("sample {out}/classes.tif {place}/new.gpkg --n 100", "new"),
        ("assess {out}/classes.tif {place}/points.csv {place}/assessment", "assessment"),
    ],
)
def test_no_room_for_a_result(tmp_path: Path, words: str, result: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every verb that writes a file: one line that names it and the remedy, and nothing of it is left."""
    make_run(tmp_path / "out")
    if words.startswith("assess"):
        with pytest.raises(SystemExit):
            main(["sample", str(tmp_path / "out" / "classes.tif"), str(tmp_path / "points.csv"), "--n", "100"])
        with (tmp_path / "points.csv").open(newline="", encoding="utf-8-sig") as stream:
            rows = [row | {"reference_class": row["map_class"]} for row in csv.DictReader(stream)]
        with (tmp_path / "points.csv").open("w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    before = listing(tmp_path)
    capsys.readouterr()
    with no_file_above(300), pytest.raises(SystemExit) as stop:
        main([word.format(out=tmp_path / "out", place=tmp_path) for word in words.split()])
    assert stop.value.code not in (0, None)
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0, said
    assert result in said
    assert "cannot be written" in said
    assert "free space" in said or "check the disk" in said
    assert ".tmp" not in said
    assert listing(tmp_path) == before
