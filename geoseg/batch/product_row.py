"""What the ledger keeps of a scene's product; making one is `scene_work`'s matter."""

from pathlib import Path
from typing import Any

from geoseg.errors import ProductError
from geoseg.outcome import RunRecord
from geoseg.workflows.product import read_product


def find_product(folder: Path) -> RunRecord | None:
    """The record of a complete product in a scene's folder."""
    try:
        return read_product(folder)
    except ProductError:
        return None


def describe(record: RunRecord) -> dict[str, Any]:
    """What the ledger keeps of a product."""
    report = record.areas
    kept = ("crs", "method", "footprint_m2", "nodata_m2", "outside_aoi_m2", "masked_m2", "not_processed_m2")
    areas = {key: report[key] for key in kept if key in report}
    listed = report.get("classes")
    classes = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    areas["classes"] = [{key: one[key] for key in ("id", "name", "pixels", "area_m2")} for one in classes]
    return {"job": record.job, "areas": areas}
