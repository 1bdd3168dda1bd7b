"""The laws of a whole run, on real files and real networks made by the test."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import torch

from geoseg.config import Config
from geoseg.core.patch import MASKED, NODATA, Patch
from geoseg.core.window import Window
from geoseg.model.bundle import ModelBundle, load_bundle
from geoseg.model.predictor import Predictor
from geoseg.outcome import RunRecord
from geoseg.pipeline import Pipeline
from geoseg.workflows.plan import Request, plan_scene
from geoseg.workflows.segment import segment
from tests.model.bundles import tiny_bundle

RGB = ["red", "green", "blue"]
ROTATED = rasterio.Affine(8.66, 5.0, 500_000, 5.0, -8.66, 5_400_000)
SOUTH_UP = rasterio.Affine(10, 0, 500_000, 0, 10, 5_300_000)
OBLONG = rasterio.Affine(10, 0, 500_000, 0, -12.5, 5_400_000)
NORTH_UP = rasterio.Affine(10, 0, 500_000, 0, -10, 5_400_000)


def write_scene(
    path: Path,
    *,
    height: int = 300,
    width: int = 420,
    transform: rasterio.Affine = NORTH_UP,
    nodata: bool = True,
    seed: int = 0,
) -> npt.NDArray[np.uint8]:
    """A smooth random uint8 RGB scene with a ragged collar of zeros; gives its pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 255, (3, height // 8 + 2, width // 8 + 2))
    pixels = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width].astype(np.uint8)
    pixels[:, rng.random((height, width)) < 0.3] += 1
    if nodata:
        rows, cols = np.indices((height, width))
        pixels[:, rows + cols < 60] = 0
        pixels[:, (rows - height) ** 2 + (cols - width // 2) ** 2 < 900] = 0
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=3, dtype="uint8", crs="EPSG:32633",
        transform=transform, nodata=0 if nodata else None, photometric="RGB", tiled=True, blockxsize=64, blockysize=64,
    ) as out:  # fmt: skip
        out.write(pixels)
    return pixels


def run(
    scene: Path,
    bundle: Path,
    out: Path,
    *,
    config: Config | None = None,
    refinement: dict[str, Any] | None = None,
    **tiling: Any,
) -> RunRecord:
    pipeline = Pipeline.model_validate(
        {
            "name": "test",
            "model": str(bundle),
            "tiling": {"tile": 64, "margin": 0, "ramp": 16, **tiling},
            "inference": {"engine": "torch-cpu", "precision": "fp32"},
            "refinement": refinement or {},
        }
    )
    plan = plan_scene(Request(source=str(scene), pipeline=pipeline, config=config or Config(threads=1)))
    return segment(plan, out).record


def read(path: Path) -> npt.NDArray[np.uint8]:
    with rasterio.open(path) as file:
        band: npt.NDArray[np.uint8] = file.read(1)
    return band


def whole_image(bundle: ModelBundle, pixels: npt.NDArray[np.uint8], divisor: int) -> npt.NDArray[np.float32]:
    """(classes, height, width): one pass of the network over the whole scene, padded to the divisor."""
    bands, height, width = pixels.shape
    rows, cols = -(-height // divisor) * divisor, -(-width // divisor) * divisor
    padded = np.zeros((bands, rows, cols), pixels.dtype)
    padded[:, :height, :width] = pixels
    valid = np.zeros((rows, cols), np.bool_)
    valid[:height, :width] = (pixels != 0).all(0)
    predictor = Predictor(bundle, engine="torch-cpu", precision="fp32", device="cpu", tile_shape=(rows, cols))
    window = Window(row=0, col=0, height=rows, width=cols)
    (scores,) = predictor.predict([Patch(window=window, pixels=padded, valid=valid)])
    return scores.values[:, :height, :width]


@pytest.mark.parametrize(
    "transform", [NORTH_UP, SOUTH_UP, ROTATED, OBLONG], ids=["north", "south", "rotated", "oblong"]
)
def test_a_constant_model_gives_a_constant_map_with_the_scenes_grid(tmp_path: Path, transform: rasterio.Affine) -> None:
    pixels = write_scene(tmp_path / "scene.tif", transform=transform)
    tiny_bundle(tmp_path / "bundle", kind="constant", bands=RGB)
    run(tmp_path / "scene.tif", tmp_path / "bundle", tmp_path / "out")
    labels, confidence = read(tmp_path / "out/classes.tif"), read(tmp_path / "out/confidence.tif")
    valid = (pixels != 0).all(0)
    assert (labels[~valid] == 255).all()
    assert len(np.unique(labels[valid])) == 1
    assert len(np.unique(confidence[valid])) == 1
    assert (confidence[~valid] == 255).all()
    with rasterio.open(tmp_path / "out/classes.tif") as file:
        assert file.transform.almost_equals(transform)
        assert file.crs.to_epsg() == 32633


@pytest.mark.parametrize("window", ["hann", "linear", "crop"])
@pytest.mark.parametrize(("tile", "ramp"), [(64, 16), (48, 7), (512, 32)])
def test_a_pointwise_model_cannot_see_the_tiles(tmp_path: Path, window: str, tile: int, ramp: int) -> None:
    pixels = write_scene(tmp_path / "scene.tif")
    tiny_bundle(tmp_path / "bundle", kind="pointwise", bands=RGB, classes=4)
    run(tmp_path / "scene.tif", tmp_path / "bundle", tmp_path / "out", tile=tile, ramp=ramp, window=window)
    bundle = load_bundle(str(tmp_path / "bundle"))
    scores = whole_image(bundle, pixels, 1)
    valid = (pixels != 0).all(0)
    ids = np.array(bundle.legend.ids, np.uint8)
    np.testing.assert_array_equal(read(tmp_path / "out/classes.tif")[valid], ids[scores.argmax(0)][valid])
    confidence = read(tmp_path / "out/confidence.tif")[valid].astype(int)
    assert np.abs(confidence - np.rint(100 * scores.max(0))[valid]).max() <= 1


def test_a_real_network_at_its_exact_margin_gives_the_whole_image(tmp_path: Path) -> None:
    pixels = write_scene(tmp_path / "scene.tif", height=330, width=500)
    tiny_bundle(tmp_path / "bundle", kind="unet", bands=RGB, classes=3)
    bundle = load_bundle(str(tmp_path / "bundle"))
    assert bundle.spec.margin_exact == 96
    run(tmp_path / "scene.tif", tmp_path / "bundle", tmp_path / "out", tile=256, margin="exact", ramp=16)
    scores = whole_image(bundle, pixels, bundle.spec.divisor)
    valid = (pixels != 0).all(0)
    first, second = np.sort(scores, axis=0)[-1], np.sort(scores, axis=0)[-2]
    decided = valid & (first - second > 1e-5)
    assert decided.sum() > 0.9 * valid.sum()
    expected = np.array(bundle.legend.ids, np.uint8)[scores.argmax(0)]
    np.testing.assert_array_equal(read(tmp_path / "out/classes.tif")[decided], expected[decided])


@pytest.mark.parametrize("refinement", ["none", "crf"])
def test_panels_threads_and_configs_change_no_pixel_no_area_and_no_polygon(tmp_path: Path, refinement: str) -> None:
    write_scene(tmp_path / "scene.tif", height=150, width=1300)
    tiny_bundle(tmp_path / "bundle", kind="unet", bands=RGB, classes=3)
    configs = {
        "one": Config(threads=1, panel_width=4096),
        "strips": Config(threads=1, panel_width=512, gdal_cache_mb=16),
    }
    records = {
        name: run(
            tmp_path / "scene.tif",
            tmp_path / "bundle",
            tmp_path / name,
            tile=256,
            margin=32,
            config=config,
            refinement={"method": refinement, "appearance_px": 15},
        )
        for name, config in configs.items()
    }
    assert records["one"].job == records["strips"].job
    for name in ("classes.tif", "confidence.tif"):
        np.testing.assert_array_equal(read(tmp_path / "one" / name), read(tmp_path / "strips" / name))
    assert (tmp_path / "one/areas.json").read_text() == (tmp_path / "strips/areas.json").read_text()
    polygons = [geopandas.read_file(tmp_path / name / "polygons.gpkg", layer="polygons") for name in configs]
    assert polygons[0].equals(polygons[1])


def test_thread_counts_agree_within_the_law(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene.tif")
    tiny_bundle(tmp_path / "bundle", kind="unet", bands=RGB, classes=3)
    for threads in (1, 2):
        run(
            tmp_path / "scene.tif", tmp_path / "bundle", tmp_path / str(threads), tile=256, margin=32,
            config=Config(threads=threads),
        )  # fmt: skip
    torch.set_num_threads(1)
    one, two = (read(tmp_path / str(threads) / "classes.tif") for threads in (1, 2))
    assert (one != two).mean() <= 1e-6
    confidence = [read(tmp_path / str(threads) / "confidence.tif").astype(int) for threads in (1, 2)]
    assert np.abs(confidence[0] - confidence[1]).max() <= 1


def test_raster_areas_and_polygons_describe_the_same_map(tmp_path: Path) -> None:
    pixels = write_scene(tmp_path / "scene.tif", transform=ROTATED)
    tiny_bundle(tmp_path / "bundle", kind="pointwise", bands=RGB, classes=3)
    run(tmp_path / "scene.tif", tmp_path / "bundle", tmp_path / "out")
    labels = read(tmp_path / "out/classes.tif")
    areas = json.loads((tmp_path / "out/areas.json").read_text())
    polygons = geopandas.read_file(tmp_path / "out/polygons.gpkg", layer="polygons")
    assert polygons.is_valid.all()
    for one in areas["classes"]:
        assert one["pixels"] == (labels == one["id"]).sum()
        mine = polygons[polygons["class_id"] == one["id"]]
        assert mine["pixels"].sum() == one["pixels"]
        assert mine["area_m2"].sum() == pytest.approx(one["area_m2"], rel=1e-12)
    parts = [one["area_m2"] for one in areas["classes"]]
    parts += [areas["nodata_m2"], areas["outside_aoi_m2"], areas["not_processed_m2"], *areas["masked_m2"].values()]
    assert sum(parts) == pytest.approx(areas["footprint_m2"], rel=1e-12)
    assert areas["nodata_m2"] / areas["footprint_m2"] == pytest.approx((pixels == 0).all(0).mean(), rel=1e-3)


def test_what_a_mask_excludes_is_told_from_what_was_never_observed(tmp_path: Path) -> None:
    pixels = write_scene(tmp_path / "scene.tif")
    excluded = np.zeros((300, 420), np.bool_)
    excluded[:130, 200:] = True
    with rasterio.open(
        tmp_path / "mask.tif", "w", driver="GTiff", height=300, width=420, count=1, dtype="uint8",
        crs="EPSG:32633", transform=NORTH_UP,
    ) as out:  # fmt: skip
        out.write((~excluded).astype(np.uint8), 1)
    tiny_bundle(tmp_path / "bundle", kind="pointwise", bands=RGB)
    pipeline = Pipeline.model_validate({"name": "m", "model": str(tmp_path / "bundle"), "tiling": {"tile": 64}})
    request = Request(
        source=str(tmp_path / "scene.tif"), pipeline=pipeline, mask=str(tmp_path / "mask.tif"), config=Config(threads=1)
    )
    tally = segment(plan_scene(request), tmp_path / "out").report.tally
    valid = (pixels != 0).all(0)
    assert tally.pixels[MASKED] == (valid & excluded).sum()
    assert tally.pixels[NODATA] == (~valid).sum()
    assert ((read(tmp_path / "out/classes.tif") == 255) == (~valid | excluded)).all()


def test_a_scene_of_nothing_but_nodata_is_a_product_of_nodata(tmp_path: Path) -> None:
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", height=70, width=90, count=3, dtype="uint8", nodata=0,
        crs="EPSG:32633", transform=NORTH_UP, photometric="RGB",
    ) as out:  # fmt: skip
        out.write(np.zeros((3, 70, 90), np.uint8))
    tiny_bundle(tmp_path / "bundle", kind="pointwise", bands=RGB)
    run(tmp_path / "scene.tif", tmp_path / "bundle", tmp_path / "out")
    assert (read(tmp_path / "out/classes.tif") == 255).all()
    assert len(geopandas.read_file(tmp_path / "out/polygons.gpkg", layer="polygons")) == 0
    areas = json.loads((tmp_path / "out/areas.json").read_text())
    assert areas["nodata_m2"] == areas["footprint_m2"]


def test_a_likely_collar_is_said_when_nothing_marks_nodata(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle", kind="pointwise", bands=RGB)
    pixels = np.full((3, 90, 80), 90, np.uint8)
    pixels[:, :, :20] = 255
    for name, content, nodata in (
        ("collar", pixels, None),
        ("plain", pixels[:, :, 30:60], None),
        ("told", pixels, 255),
    ):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", height=90, width=content.shape[2], count=3, dtype="uint8",
            crs="EPSG:32633", transform=NORTH_UP, photometric="RGB", nodata=nodata,
        ) as out:  # fmt: skip
            out.write(content)
    notes = {
        name: " ".join(run(tmp_path / f"{name}.tif", tmp_path / "bundle", tmp_path / name).notes)
        for name in ("collar", "plain", "told")
    }
    assert "--set scene.collar=255" in notes["collar"]
    assert "collar" not in notes["plain"] + notes["told"]


def test_wholly_invalid_tiles_never_reach_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.full((3, 256, 256), 9, np.uint8)
    pixels[:, 64:] = 0
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", height=256, width=256, count=3, dtype="uint8", nodata=0,
        crs="EPSG:32633", transform=NORTH_UP, photometric="RGB",
    ) as out:  # fmt: skip
        out.write(pixels)
    tiny_bundle(tmp_path / "bundle", kind="pointwise", bands=RGB)
    seen: list[int] = []
    predict = Predictor.predict

    def spy(self: Predictor, patches: Any) -> Any:
        seen.extend(patch.window.row for patch in patches)
        return predict(self, patches)

    monkeypatch.setattr(Predictor, "predict", spy)
    run(tmp_path / "scene.tif", tmp_path / "bundle", tmp_path / "out", ramp=1)
    assert max(seen) < 64
    assert (read(tmp_path / "out/classes.tif")[:64] != 255).all()
