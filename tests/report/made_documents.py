"""Documents as a run, an assessment and a change leave them, small and made by hand."""

from typing import Any

FOREST_HA, OTHER_HA, NODATA_HA = 3600.0, 5400.0, 1000.0


def areas(**more: Any) -> dict[str, Any]:
    """areas.json of a map of two classes: 9000 ha classified, 1000 ha not observed."""
    total = FOREST_HA + OTHER_HA
    return {
        "schema": "geoseg-areas-1",
        "scene": "scene.tif",
        "crs": "EPSG:32633",
        "method": "Jacobian nodes",
        "ellipsoid": "WGS 84",
        "footprint_m2": (total + NODATA_HA) * 1e4,
        "nodata_m2": NODATA_HA * 1e4,
        "outside_aoi_m2": 0.0,
        "masked_m2": {"mask": 0.0},
        "not_processed_m2": 0.0,
        "classes": [
            _class(0, "other", OTHER_HA, OTHER_HA / total, pixels=540_000),
            _class(1, "forest", FOREST_HA, FOREST_HA / total, pixels=360_000),
        ],
        "zones": [],
        "nominal": {"pixel_m2": 100.0, "difference_percent": 0.1, "sentence": "the nominal figure is 0.10 % larger"},
        **more,
    }


def definition() -> dict[str, Any]:
    """An entry "definition", with its rules."""
    rule = {
        "rule": "Patches of forest below 0.5 ha (4-connected) are taken off",
        "changed": 1234,
        "undetermined": 7,
        "classes": [
            {"id": 0, "name": "other", "before_m2": 5.3e7, "after_m2": 5.4e7, "undetermined_m2": 0.0},
            {"id": 1, "name": "forest", "before_m2": 3.7e7, "after_m2": 3.6e7, "undetermined_m2": 21_000.0},
        ],
    }
    said = {
        "name": "fao",
        "term": "forest",
        "source": "FAO, Global Forest Resources Assessment, Terms and Definitions",
        "canopy_threshold_percent": 10.0,
        "canopy_source": "training data of the bundle",
        "min_area_m2": 5000.0,
        "min_width_m": 20.0,
        "min_gap_area_m2": 0.0,
        "connectivity": 4,
        "classes": ["forest"],
        "sha256": "ab" * 32,
    }
    return {"definition": said, "rules": [rule]}


def zones(*names: str) -> dict[str, Any]:
    """Entries "zones" and "zones_summary" that share the map equally."""
    part = 1 / len(names)
    rows = [
        {
            "zone": name,
            "zone_m2": 1.0e8 * part,
            "footprint_m2": 1.0e8 * part,
            "coverage_share": 0.9,
            "not_observed_m2": 1.0e7 * part,
            "classes": [
                _class(0, "other", OTHER_HA * part, 0.6),
                _class(1, "forest", FOREST_HA * part, 0.4),
            ],
        }
        for name in names
    ]
    note = f"zone {names[0]}: its ring crosses itself and was repaired"
    summary = {"source": "districts.gpkg", "field": "name", "overlap_m2": 0.0, "outside_m2": 0.0, "notes": [note]}
    return {"zones": rows, "zones_summary": summary}


def assessment(sha256: str) -> dict[str, Any]:
    """assessment.json of 500 points on that map."""
    return {
        "schema": "geoseg-assessment-1",
        "map": {"name": "classes.tif", "sha256": sha256},
        "reference": _reference(),
        "design": {
            "strata": [
                {"id": 0, "name": "other", "area_m2": 5.4e7, "pixels": 540_000, "n": 300},
                {"id": 1, "name": "forest", "area_m2": 3.6e7, "pixels": 360_000, "n": 200},
            ],
            "allocation": "cochran",
            "seed": 7,
            "method": "stratified random without replacement",
            "excluded_m2": {"nodata": 1.0e7},
        },
        "confidence_level": 0.95,
        "z": 1.959964,
        "estimator": "Stratified estimator with the map classes as strata (Olofsson et al. 2014).",
        "overall_accuracy": _estimate(0.93, 0.011),
        "classes": [
            _assessed(0, "other", 5.4e7, _estimate(5.13e7, 9.0e5), []),
            _assessed(1, "forest", 3.6e7, _estimate(3.87e7, 9.0e5), ["few points of omission: too narrow"]),
        ],
        "matrix": {
            "strata": [0, 1],
            "map_classes": [0, 1],
            "reference_classes": [0, 1],
            "counts": [[276, 24], [9, 191]],
            "proportions": [[0.552, 0.048], [0.018, 0.382]],
        },
        "notes": ["Points that could not be labelled are taken to be like the others."],
    }


def _reference() -> dict[str, Any]:
    return {
        "name": "points labelled.csv",
        "rows": 512,
        "used": 500,
        "blank": 6,
        "uninterpretable": 4,
        "duplicates": 2,
        "disagreements": 0,
        "agreement": 0.97,
        "interpreters": ["A. Autor", "B. Beispiel"],
    }


def change(**more: Any) -> dict[str, Any]:
    """change.json between two maps ten years apart."""
    return {
        "schema": "geoseg-change-1",
        "map1": {"name": "classes 2010", "date": "2010-07-01", "sha256": "11" * 32, "bundle": "forest-s2-rgb"},
        "map2": {"name": "classes 2020", "date": "2020-08-15", "sha256": "22" * 32, "bundle": "forest-s2-rgb"},
        "years": 10.12,
        "crs": "EPSG:32633",
        "method": "Jacobian nodes",
        "ellipsoid": "WGS 84",
        "footprint_m2": 1.0e8,
        "target": {"id": 1, "name": "forest"},
        "transitions": [
            _transition(0, "other", 0, "other", 5.3e7),
            _transition(0, "other", 1, "forest", 1.0e6),
            _transition(1, "forest", 0, "other", 4.0e6),
            _transition(1, "forest", 1, "forest", 3.2e7),
        ],
        "unobserved": {"first_m2": 2.0e6, "second_m2": 3.0e6, "both_m2": 5.0e6, "total_m2": 1.0e7},
        "classes": [
            _changed(0, "other", 5.4e7, 5.7e7, gain=4.0e6, loss=1.0e6),
            _changed(1, "forest", 3.6e7, 3.3e7, gain=1.0e6, loss=4.0e6),
        ],
        "nominal": {"pixel_m2": 100.0, "difference_percent": 8.3, "sentence": "the nominal figure is 8.3 % larger"},
        "zones": [],
        "warnings": ["The maps are of different seasons.", "Pixel counts carry the errors of both maps."],
        "notes": ["Class ids were matched by name."],
        **more,
    }  # fmt: skip


def _class(class_id: int, name: str, area_ha: float, share: float, **more: Any) -> dict[str, Any]:
    return {"id": class_id, "name": name, "area_m2": area_ha * 1e4, "area_ha": area_ha, "share": share, **more}


def _estimate(value: float, se: float) -> dict[str, float]:
    half = 1.959964 * se
    return {"value": value, "se": se, "half_width": half, "low": value - half, "high": value + half}


def _assessed(
    class_id: int, name: str, mapped_m2: float, area_m2: dict[str, float], flags: list[str]
) -> dict[str, Any]:
    return {
        "id": class_id,
        "name": name,
        "mapped_m2": mapped_m2,
        "area_m2": area_m2,
        "users_accuracy": _estimate(0.92, 0.016),
        "producers_accuracy": _estimate(0.968, 0.01),
        "f1": None,
        "n_map": 300,
        "n_reference": 285,
        "flags": flags,
    }


def _transition(first: int, first_name: str, second: int, second_name: str, area_m2: float) -> dict[str, Any]:
    return {
        "from": first, "from_name": first_name, "to": second, "to_name": second_name,
        "pixels": round(area_m2 / 100), "area_m2": area_m2, "area_ha": area_m2 / 1e4,
    }  # fmt: skip


def _changed(class_id: int, name: str, first: float, second: float, *, gain: float, loss: float) -> dict[str, Any]:
    return {
        "id": class_id, "name": name, "area1_m2": first, "area2_m2": second, "gain_m2": gain, "loss_m2": loss,
        "net_m2": gain - loss, "annual_gain_ha": gain / 1e4 / 10.12, "annual_loss_ha": loss / 1e4 / 10.12,
        "annual_net_ha": (gain - loss) / 1e4 / 10.12, "annual_rate_percent": -0.86,
    }  # fmt: skip
