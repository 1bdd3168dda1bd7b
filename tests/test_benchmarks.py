"""Benchmarks run, tiny, so that they cannot rot; what they measure is no matter here."""

from pathlib import Path

import pytest

from benchmarks.coverage import simulate
from benchmarks.generalize import measure as measure_generalize
from benchmarks.memory import compare
from benchmarks.polygons import exact, make_map, simplify, speed
from benchmarks.polygons import memory as polygon_memory
from benchmarks.throughput import measure
from benchmarks.zones import compare as compare_zones


@pytest.mark.slow
def test_memory_compares_shapes(tmp_path: Path) -> None:
    rows = compare([(600, 512), (512, 1200)], tmp_path)
    assert [row["shape"] for row in rows] == ["600 x 512", "512 x 1200"]
    assert rows[0]["ratio"] == 1.0
    assert all(float(row["growth_mb"]) >= 0 for row in rows)


@pytest.mark.slow
def test_throughput_is_over_the_networks_own() -> None:
    found = measure(512, "forest-s2-rgb", 1)
    assert found["ratio"] > 0
    assert found["tiles"] >= 1


@pytest.mark.slow
def test_rules_are_timed() -> None:
    found = measure_generalize(300)
    assert len(found["changed"]) == 3
    assert found["growth_mb"] >= 0


def test_coverage_tells_the_intervals_apart() -> None:
    """Of the rare class with one point of omission: Wald's interval is known to miss the truth in one of four."""
    rare = simulate(300)[1]
    assert rare["wald"] < 0.85 < rare["score"]
    assert rare["producers"] < 0.75 < 0.85 < rare["producers score"]


@pytest.mark.slow
def test_zones_close_and_are_exact(tmp_path: Path) -> None:
    rows = compare_zones(600, (20, 30), tmp_path)
    assert [float(row["class_closes_to"]) < 1e-9 for row in rows] == [True, True, False]
    assert all(float(row["zone_error"]) < 1e-6 for row in rows)


@pytest.mark.slow
def test_polygons_are_exact_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    make_map(path, 300)
    found = exact(path)
    assert found["polygons"] == found["components"] > 100
    assert (found["invalid"], found["area_is_histogram"], found["results_over_block_heights"]) == (0, True, 1)
    against = speed(path)
    assert against["same"]
    assert against["ours_invalid"] == against["peer_invalid"] == 0
    (alone,) = polygon_memory([path])
    assert alone["ratio"] == 1.0
    coarse = simplify(path, 20.0)
    assert coarse["coverage_is_valid"]
    assert coarse["simple_vertices"] < coarse["exact_vertices"]
