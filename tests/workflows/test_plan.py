"""What is settled before any pixel is touched, and what is refused then."""

from pathlib import Path
from typing import Any

import pytest

from geoseg.config import Config
from geoseg.errors import SettingsError
from geoseg.pipeline import Pipeline
from geoseg.workflows.plan import Request, ScenePlan, plan_scene
from tests.model.bundles import tiny_bundle
from tests.raster.factory import make_raster


def plan(scene: Path, bundle: Path, **sections: Any) -> ScenePlan:
    pipeline = Pipeline.model_validate(
        {"name": "test", "model": str(bundle), "inference": {"engine": "torch-cpu", "precision": "fp32"}, **sections}
    )
    return plan_scene(Request(source=str(scene), pipeline=pipeline, config=Config(threads=1)))


def test_a_level_that_was_taken_for_granted_is_said_and_frozen(tmp_path: Path) -> None:
    names = ["red", "green", "blue", "nir"]
    scene = make_raster(tmp_path / "scene.tif", (64, 64), bands=4, dtype="uint8", descriptions=names)
    tiny_bundle(tmp_path / "bundle")
    found = plan(scene.path, tmp_path / "bundle")
    assert found.pipeline.scene.level == "display8"
    assert any("display image" in note for note in found.notes)


def test_a_refinement_widens_the_margin_and_has_no_exact_one(tmp_path: Path) -> None:
    scene = make_raster(tmp_path / "scene.tif", (64, 64), bands=3, dtype="uint8")
    tiny_bundle(tmp_path / "bundle")
    crf = {"method": "crf", "appearance_px": 12}
    found = plan(scene.path, tmp_path / "bundle", refinement=crf, tiling={"tile": 128})
    assert found.pipeline.tiling.margin == 24
    with pytest.raises(SettingsError, match="refinement crf looks at the whole tile"):
        plan(scene.path, tmp_path / "bundle", refinement=crf, tiling={"margin": "exact"})
