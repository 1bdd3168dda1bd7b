"""A bundle judged on labelled images: what is counted equals what `run` maps, and what is written can be used."""

import hashlib
import html
import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from geoseg.cli.evaluate import evaluate
from geoseg.config import Config
from geoseg.core.area import PixelArea
from geoseg.core.tiling import plan_tiles
from geoseg.core.window import Window
from geoseg.errors import BundleError, InputError, ProductError, ResourceError, SettingsError
from geoseg.model.bundle import load_bundle, pack_bundle
from geoseg.presets import load_pipeline
from geoseg.training.metrics import boundary_counts
from geoseg.workflows.evaluate import EvaluateRequest
from geoseg.workflows.evaluation import write_evaluation
from geoseg.workflows.plan import Request, ScenePlan, plan_scene
from geoseg.workflows.seams import shift_tiles
from geoseg.workflows.segment import segment
from tests.model.bundles import tiny_bundle
from tests.raster.factory import make_raster

SHAPE = (70, 1100)


def call(*words: object, code: int = 0) -> str:
    flags = ["--set-config", "threads=1"]
    done = CliRunner().invoke(evaluate, [*map(str, words), *flags], catch_exceptions=code == 0)
    assert (done.exit_code == 0) == (code == 0), done.output
    if code and done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def scene_of(folder: Path, *, seed: int = 0, shape: tuple[int, int] = SHAPE) -> Path:
    """Noise over broad waves, a fifth of it not observed."""
    rng = np.random.default_rng(seed)
    waves = 120 + 60 * np.sin(np.arange(shape[1]) / 40)[None, None] * np.cos(np.arange(shape[0]) / 17)[None, :, None]
    pixels = (waves + rng.normal(0, 30, (3, *shape))).clip(1, 255).astype(np.uint8)
    path = folder / f"scene{seed}.tif"
    make_raster(path, pixels=pixels, nodata="value", seed=seed)
    return path


def labels_of(scene: Path, values: tuple[int, ...], *, seed: int = 5) -> Path:
    """Blocks of values on the scene's grid, a tenth of 255."""
    with rasterio.open(scene) as image:
        shape = image.shape
    rng = np.random.default_rng(seed)
    blocks = rng.choice(values, (shape[0] // 10 + 1, shape[1] // 10 + 1))
    labels = np.kron(blocks, np.ones((10, 10)))[: shape[0], : shape[1]].astype(np.uint8)
    labels[rng.random(shape) < 0.1] = 255
    return written(scene, labels)


def written(scene: Path, labels: np.ndarray) -> Path:
    """Labels on the grid of a scene, as a file."""
    with rasterio.open(scene) as image:
        profile = image.profile
    path = scene.with_name(f"{scene.stem}-labels.tif")
    with rasterio.open(path, "w", **(profile | {"count": 1, "nodata": 255})) as out:
        out.write(labels, 1)
    return path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1))


def planned(scene: Path, bundle: Path, *overrides: str) -> ScenePlan:
    pipeline = load_pipeline("forest", overrides=[f"model={bundle}", "inference.precision=fp32", *overrides])
    return plan_scene(Request(source=str(scene), pipeline=pipeline, config=Config(panel_width=512, threads=1)))


def request_of(plan: ScenePlan, **more: Any) -> EvaluateRequest:
    return EvaluateRequest(source=plan.source, pipeline=plan.pipeline, config=plan.config, **more)


def test_what_is_counted_is_what_run_maps(tmp_path: Path) -> None:
    """Three panels, nodata, unlabelled pixels; figures by scikit-learn, hectares by hand, from the run's own map."""
    bundle = tmp_path / "bundle"
    tiny_bundle(bundle, "unet", classes=3, seed=1)
    scene = scene_of(tmp_path)
    labels = labels_of(scene, (0, 1, 2))
    out = tmp_path / "out"
    told = call(bundle, scene, out, "--labels", labels, "--set", "tiling.tile=256", "--set", "tiling.margin=32",
                "--set-config", "panel_width=512", "--set", "inference.precision=fp32", "--quiet")  # fmt: skip
    document = json.loads((out / "evaluation.json").read_text())
    plan = planned(scene, bundle, "tiling.tile=256", "tiling.margin=32", "products=[classes]")
    segment(plan, tmp_path / "run")
    mapped, truth = read(tmp_path / "run" / "classes.tif"), read(labels)
    seen = (truth != 255) & (mapped != 255)
    pooled = document["pooled"]
    expected = confusion_matrix(truth[seen], mapped[seen], labels=[0, 1, 2])
    assert pooled["confusion"] == expected.tolist()
    assert pooled["kappa"] == pytest.approx(cohen_kappa_score(truth[seen], mapped[seen]))
    masked = np.where(mapped == 255, 255, truth).astype(np.uint8)
    edges = boundary_counts(masked, mapped, classes=3)
    assert pooled["boundary_f1"] == pytest.approx(edges.mean_f1)
    pixel_m2 = PixelArea(plan.scene.grid).of(Window(row=0, col=0, height=SHAPE[0], width=SHAPE[1]))
    for one in pooled["classes"]:
        true, found = (float(pixel_m2[seen & (what == one["id"])].sum()) for what in (truth, mapped))
        assert one["true_m2"] == pytest.approx(true)
        assert one["mapped_m2"] == pytest.approx(found)
        assert one["bias_m2"] == pytest.approx(found - true)
        assert one["bias_of_labelled"] == pytest.approx((found - true) / float(pixel_m2[seen].sum()))
    assert sum(one["bias_m2"] for one in pooled["classes"]) == pytest.approx(0, abs=1)
    assert sum(one["pixels"] for one in pooled["reliability"]["bins"]) == seen.sum()
    assert str(out) in told
    page = html.unescape((out / "evaluation.html").read_text())
    assert "script-src 'none'" in page
    assert f"{expected[0, 0]:,}" in page
    with pytest.raises(ProductError, match="already holds"):
        call(bundle, scene, out, "--labels", labels, code=2)


def test_images_are_pooled_and_those_that_were_trained_on_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = ["file,lon,lat,split"]
    for seed, shape in enumerate([(64, 64), (96, 80)]):
        scene = scene_of(tmp_path, seed=seed, shape=shape)
        labels_of(scene, (0, 1)).rename(folder / "masks" / f"scene{seed}.tif")
        scene.rename(folder / "images" / f"scene{seed}.tif")
        rows.append(f"scene{seed}.tif,0,0,validation")
    (folder / "tiles.csv").write_text("\n".join(rows))
    digest = hashlib.sha256((folder / "images" / "scene1.tif").read_bytes()).hexdigest()
    bundle = tmp_path / "bundle"
    tiny_bundle(bundle, "unet", training_data={"inputs": {"images/other name.tif": digest}})
    told = json.loads(call(bundle, folder, "--json", "--quiet"))
    assert told["trained_on"] == ["scene1.tif"]
    assert [one["name"] for one in told["images"]] == ["scene0", "scene1"]
    assert sum(one["labelled_pixels"] for one in told["images"]) == told["pooled"]["labelled_pixels"]
    biases = [one["classes"][1]["bias_of_labelled"] for one in told["images"]]
    assert told["area_bias"][1]["mean"] == pytest.approx(np.mean(biases))
    assert told["area_bias"][1]["root_mean_square"] == pytest.approx(np.sqrt(np.mean(np.square(biases))))
    warned = CliRunner().invoke(evaluate, [str(bundle), str(folder), "--quiet"])
    assert "1 of 2 images were trained on" in warned.stderr
    with pytest.raises(SettingsError, match="a temperature needs images that were not"):
        call(bundle, folder, "--calibrate", tmp_path / "new", code=2)
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="leave --labels"):
        call(bundle, folder, "--labels", folder / "tiles.csv", code=2)


def too_sure(folder: Path) -> tuple[Path, Path, Path]:
    """(bundle, scene, labels): a network that takes bright red for class 1, nearly certain, and right in 3 of 4."""
    bundle, scene = folder / "bundle", scene_of(folder)
    state = {"weight": np.zeros((2, 3, 1, 1)), "bias": np.zeros(2)}
    state["weight"][1, 0] = 12.0
    tiny_bundle(bundle, "pointwise")
    spec = load_bundle(str(bundle)).spec.model_dump(mode="json", exclude={"weights_sha256"})
    pack_bundle(bundle, spec, state)
    (bundle / "MODEL_CARD.md").write_text("a card\n")
    flipped = np.random.default_rng(0).random(SHAPE) < 0.25
    return bundle, scene, written(scene, ((read(scene) > 120) ^ flipped).astype(np.uint8))


def test_a_calibrated_bundle_has_the_same_weights_and_believable_probabilities(tmp_path: Path) -> None:
    """The error that is told is the one measured again; calibrating once more changes nothing."""
    bundle, scene, labels = too_sure(tmp_path)
    new, out = tmp_path / "new", tmp_path / "out"
    call(bundle, scene, out, "--labels", labels, "--calibrate", new, "--quiet")
    fitted = json.loads((out / "evaluation.json").read_text())["calibration"]
    before, after = load_bundle(str(bundle)), load_bundle(str(new))
    assert after.spec.weights_sha256 == before.spec.weights_sha256
    assert after.spec.temperature == pytest.approx(fitted["temperature"])
    assert after.spec.temperature > 3
    assert after.spec.version == f"1+temperature-{after.spec.temperature:g}"
    calibration = after.spec.metrics["calibration"]
    assert isinstance(calibration, dict)
    assert calibration["uncalibrated_sha256"] == before.sha256
    assert (new / "MODEL_CARD.md").read_text() == "a card\n"
    again = json.loads(call(new, scene, "--labels", labels, "--json", "--quiet"))["pooled"]
    assert again["log_loss"] == pytest.approx(fitted["after"]["log_loss"], rel=1e-3)
    assert again["expected_calibration_error"] == pytest.approx(fitted["after"]["expected_calibration_error"], abs=2e-3)
    for key in ("expected_calibration_error", "log_loss", "brier"):
        assert fitted["after"][key] < 0.9 * fitted["before"][key]
    call(new, scene, "--labels", labels, "--calibrate", tmp_path / "newer", "--quiet")
    newer = load_bundle(str(tmp_path / "newer")).spec
    assert newer.temperature == pytest.approx(after.spec.temperature, rel=1e-3)
    assert newer.version.count("temperature") == 1


def test_a_calibration_that_cannot_be_is_refused(tmp_path: Path) -> None:
    bundle, scene, labels = too_sure(tmp_path)
    with pytest.raises(ProductError, match="is there already"):
        call(bundle, scene, "--labels", labels, "--calibrate", bundle, code=2)
    with pytest.raises(SettingsError, match="leave --tta out"):
        call(bundle, scene, "--labels", labels, "--calibrate", tmp_path / "other", "--tta", code=2)
    with pytest.raises(InputError, match="has no labels"):
        call(bundle, scene, "--seams", "--calibrate", tmp_path / "other", code=2)
    random = labels_of(scene, (0, 1))
    with pytest.raises(InputError, match="no temperature fits"):
        call(bundle, scene, "--labels", random, "--calibrate", tmp_path / "other", code=2)
    assert not (tmp_path / "other").exists()


def test_labels_by_name_and_by_number(tmp_path: Path) -> None:
    """Values that are names of classes need no remap; an unknown one is refused with its value."""
    bundle, scene = tmp_path / "bundle", scene_of(tmp_path, shape=(64, 64))
    legend = [{"id": 0, "name": "41", "color": "#000000"}, {"id": 1, "name": "11", "color": "#ffffff"}]
    tiny_bundle(bundle, "unet", legend=legend)
    labels = labels_of(scene, (11, 41))
    by_name = json.loads(call(bundle, scene, "--labels", labels, "--json", "--quiet"))["pooled"]
    told = call(bundle, scene, "--labels", labels, "--remap", "41=0", "--remap", "11=1", "--json", "--quiet")
    assert json.loads(told)["pooled"] == by_name
    half = json.loads(call(bundle, scene, "--labels", labels, "--remap", "41=0", "--json", "--quiet"))["pooled"]
    assert half["labelled_pixels"] == sum(by_name["confusion"][0])
    with pytest.raises(InputError, match="holds the value 5"):
        call(bundle, scene, "--labels", labels_of(scene, (0, 5)), code=2)
    with pytest.raises(InputError, match="names class 7"):
        call(bundle, scene, "--labels", labels, "--remap", "41=7", code=2)
    with pytest.raises(InputError, match="no labelled pixel was observed"):
        call(bundle, scene, "--labels", labels_of(scene, (255,)), "--remap", "3=1", code=2)
    with pytest.raises(InputError, match="has no labels: name classes with --labels"):
        call(bundle, scene, code=2)
    with pytest.raises(BundleError, match="no bundle"):
        call("nowhere", scene, code=2)


def test_seams_are_the_pixels_that_differ_between_two_runs(tmp_path: Path) -> None:
    """A network that sees the edges of tiles, no margin: counted from two class maps on disk."""
    bundle, scene = tmp_path / "bundle", scene_of(tmp_path)
    tiny_bundle(bundle, "unet", seed=2)
    settings = ("tiling.tile=64", "tiling.margin=0", "tiling.ramp=0", "tiling.window=crop")
    plan = planned(scene, bundle, *settings, "products=[classes]")
    document = write_evaluation(request_of(plan, seams=True), None)
    segment(plan, tmp_path / "one")
    segment(replace(plan, tiles=shift_tiles(plan.tiles, divisor=16)), tmp_path / "two")
    one, two = (read(tmp_path / name / "classes.tif") for name in ("one", "two"))
    seen, seams = one != 255, document["seams"]
    assert document["pooled"] is None
    assert seams["pixels"] == seen.sum()
    assert seams["differing"] == (one != two)[seen].sum() > 0
    pixel_m2 = PixelArea(plan.scene.grid).of(Window(row=0, col=0, height=SHAPE[0], width=SHAPE[1]))
    change = pixel_m2[seen & (two == 1)].sum() - pixel_m2[seen & (one == 1)].sum()
    assert seams["scenes"][0]["classes"][1]["change_m2"] == pytest.approx(change, abs=1)
    exact = planned(scene, bundle, "tiling.tile=448", "tiling.margin=exact")
    assert write_evaluation(request_of(exact, seams=True), None)["seams"]["differing"] == 0


def test_a_single_tile_has_no_seam(tmp_path: Path) -> None:
    bundle, scene = tmp_path / "bundle", scene_of(tmp_path, shape=(60, 60))
    tiny_bundle(bundle, "fast_scnn")
    seams = write_evaluation(request_of(planned(scene, bundle), seams=True), None)["seams"]
    assert (seams["share"], seams["scenes"][0]["tiles"]) == (0, 1)


@given(
    length=st.integers(40, 900),
    tile=st.integers(3, 12),
    margin=st.integers(0, 2),
    ramp=st.integers(0, 16),
    window=st.sampled_from(["hann", "linear", "crop"]),
)
def test_shifted_tiles_are_tiles(length: int, tile: int, margin: int, ramp: int, window: Any) -> None:
    """Aligned, no less overlap, weights that sum to one, no weight in a margin but at the scene's edge."""
    divisor = 8
    try:
        before = plan_tiles(
            (length, 100), tile=tile * divisor, margin=margin * divisor, ramp=ramp, divisor=divisor, window=window
        ).rows
    except ValueError:
        return
    plan = plan_tiles(
        (length, 100), tile=tile * divisor, margin=margin * divisor, ramp=ramp, divisor=divisor, window=window
    )
    after = shift_tiles(plan, divisor=divisor).rows
    assert (after.starts[0], after.starts[-1]) == (before.starts[0], before.starts[-1])
    assert all(start % divisor == 0 for start in after.starts)
    assert sorted(set(after.starts)) == list(after.starts)
    if len(before.starts) > 1:
        step = before.starts[1] - before.starts[0]
        assert max(np.diff(after.starts)) <= step
        if step > divisor and len(before.starts) > 2:
            assert not set(after.starts[1:-1]) & set(before.starts[1:-1])
    total = np.zeros(after.starts[-1] + after.tile)
    for start, weights in zip(after.starts, after.weights, strict=True):
        total[start : start + after.tile] += weights
        inner = weights[: after.margin] if start else weights[:0]
        outer = weights[after.tile - after.margin :] if start < after.starts[-1] else weights[:0]
        if window != "crop":
            assert not inner.any()
            assert not outer.any()
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_a_disk_without_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """A limit on the size of files stands for it."""
    bundle, scene = tmp_path / "bundle", scene_of(tmp_path)
    tiny_bundle(bundle)
    labels = labels_of(scene, (0, 1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ResourceError, match="has no room for two maps of 70 x 1100"):
            call(bundle, scene, "--labels", labels, code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_eight_symmetries_are_said_and_differ(tmp_path: Path) -> None:
    bundle, scene = tmp_path / "bundle", scene_of(tmp_path, shape=(64, 96))
    tiny_bundle(bundle, "unet", seed=4)
    labels = labels_of(scene, (0, 1))
    one, eight = (
        json.loads(call(bundle, scene, "--labels", labels, *flags, "--json", "--quiet")) for flags in ((), ("--tta",))
    )
    assert (one["symmetries"], eight["symmetries"]) == (1, 8)
    assert one["pooled"]["log_loss"] != eight["pooled"]["log_loss"]


def test_the_shipped_bundle_scores_as_its_card_says(test_data: Path, tmp_path: Path) -> None:
    """Two validation tiles; MODEL_CARD.md has their figures from another program (benchmarks/forest_validation.py)."""
    source, folder = test_data / "amazon_s2_forest", tmp_path / "tiles"
    folder.mkdir()
    rows = (source / "tiles.csv").read_text().splitlines()
    wanted = [row for row in rows if row.startswith(("file", "Amazon_682", "Amazon_408"))]
    (folder / "tiles.csv").write_text("\n".join(wanted))
    for part in ("images", "masks"):
        (folder / part).symlink_to(source / part)
    told = json.loads(call("forest-s2-rgb", folder, "--json", "--quiet", "--set", "inference.precision=fp32"))
    first, second = told["images"]
    assert [round(one["iou"], 4) for one in first["classes"]] == pytest.approx([0.9054, 0.6608], abs=1e-3)
    assert [round(one["iou"], 4) for one in second["classes"]] == pytest.approx([0.9927, 0.9945], abs=1e-3)
    assert second["classes"][1]["true_m2"] / 1e4 == pytest.approx(1487.5, abs=0.1)
    assert second["classes"][1]["mapped_m2"] / 1e4 == pytest.approx(1484.1, abs=1)
    assert first["classes"][1]["bias_of_true"] == pytest.approx(0.484, abs=0.005)
    assert told["trained_on"] == []


def test_polygons_are_classes_by_their_names(test_data: Path, tmp_path: Path) -> None:
    """Text values of a GeoPackage name the classes, 255 none; true areas against the pixel counts of its README."""
    folder, bundle = test_data / "newbrunswick_ortho", tmp_path / "bundle"
    colors = ("#000000", "#0000ff", "#ff0000", "#ffff00")
    tiny_bundle(bundle, legend=[{"id": k, "name": str(k + 1), "color": one} for k, one in enumerate(colors)], classes=4)
    told = call(bundle, folder / "23322E759967N_clipped_1m_2of2.tif", "--labels",
                folder / "BakerLake_2017_clipped.gpkg", "--field", "Quatreclasses", "--json", "--quiet")  # fmt: skip
    pooled = json.loads(told)["pooled"]
    assert [one["name"] for one in pooled["classes"]] == ["1", "2", "3", "4"]
    for one, pixels in zip(pooled["classes"], (88_848, 32_937, 950, 1_881), strict=True):
        # 753 pixels lie in polygons of two classes: the README counts them, training and evaluation do not
        assert 0 <= pixels - sum(pooled["confusion"][one["id"]]) <= 753
        assert one["true_m2"] == pytest.approx(0.25 * sum(pooled["confusion"][one["id"]]), rel=1e-3)
