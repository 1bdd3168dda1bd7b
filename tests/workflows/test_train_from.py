"""From imagery and polygons to a bundle to a map: one command each, no YAML by hand; and what is refused."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from click.testing import CliRunner
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.cli.run import run
from geoseg.cli.train import train
from geoseg.core.window import Window
from geoseg.errors import GeosegError, InputError, ProductError, SettingsError
from geoseg.model.appearance import to_tones
from geoseg.model.bundle import load_bundle
from geoseg.model.weights import read_state
from geoseg.training.blocks import Block, split_blocks, tile_windows
from geoseg.training.config import TrainConfig, load_train_config
from geoseg.training.config_data import BlockConfig
from geoseg.training.feed import feed
from geoseg.training.ground import Views
from geoseg.training.sampling import SceneSupply
from geoseg.workflows.fit import evaluate_folds
from geoseg.workflows.labelled_scenes import open_ground
from geoseg.workflows.material import read_folds, read_material, write_split
from geoseg.workflows.overlaps import find_shadows, number_grids
from geoseg.workflows.recipe import Order, make_recipe
from geoseg.workflows.training_contract import find_tones
from tests.raster.factory import make_raster

QUICK = ("--device", "cpu", "--quiet", "--set", "fit.precision=float32")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def call(command: Any, *words: object) -> str:
    done = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(kind: type[GeosegError], *words: object) -> str:
    with pytest.raises(kind) as caught:
        CliRunner().invoke(train, [str(word) for word in words], catch_exceptions=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_imagery_and_polygons_become_a_bundle_that_maps_them(test_data: Path, tmp_path: Path) -> None:
    """New Brunswick, 0.5 m: the forest bundle's encoder, a new head, 255 ignored, what is not drawn unlabelled."""
    folder = test_data / "newbrunswick_ortho"
    scenes = sorted(folder.glob("*.tif"))
    polygons = folder / "BakerLake_2017_clipped.gpkg"
    out = tmp_path / "lake"
    order = [word for scene in scenes for word in ("--scene", scene)]
    order += ["--labels", polygons, "--field", "Quatreclasses"]
    steps = ["--set", "fit.steps=60", "--set", "fit.window_px=64", "--set", "evaluation.every=30"]
    call(train, "--from", "forest-s2-rgb", *order, out, *QUICK, *steps)

    spec = load_bundle(str(out)).spec
    assert [one.name for one in spec.legend] == [f"Quatreclasses {value}" for value in (1, 2, 3, 4)]
    assert spec.band_names == ("red", "green", "blue")
    assert (spec.level, spec.dtype) == ("display8", "uint8")
    assert spec.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert spec.gsd_min_m < 0.45
    assert len(spec.training_data.inputs) == 4
    assert "BakerLake_2017_clipped.gpkg" in spec.training_data.description
    start = read_state(load_bundle("forest-s2-rgb").weights)
    kept, made = read_state(out / "model.safetensors"), "head.weight"
    assert all(torch.equal(kept[name], start[name]) for name in kept if name.startswith("encoder"))
    assert kept[made].shape[0] == 4

    before = (out / "model.safetensors").read_bytes()
    call(train, out / "train.yaml", out, *QUICK[:3])  # the YAML it stands for: nothing is left to do but to pack
    assert (out / "model.safetensors").read_bytes() == before

    call(run, scenes[1], tmp_path / "map", "--model", out, "--set", "tiling.tile=256", "--quiet")
    with rasterio.open(tmp_path / "map" / "classes.tif") as file:
        mapped = file.read(1)
    drawn = open_ground(load_train_config(out / "train.yaml")).ground.scenes[1].labels(whole(mapped.shape))
    known = drawn != 255
    # the README's own count of pixels by class, less what lies in polygons of two classes
    counts = np.bincount(drawn[known], minlength=4)
    assert (np.abs(counts - [88_848, 32_937, 950, 1_881]) <= 800).all()
    assert (mapped == drawn)[known].mean() > 0.75
    assert ((mapped == 1)[drawn == 1]).mean() > 0.6
    areas = json.loads((tmp_path / "map" / "areas.json").read_text())["classes"]
    assert {one["name"] for one in areas} == {one.name for one in spec.legend}


def write_fields(folder: Path, *, bands: int = 4, seed: int = 0, scale: bool = True) -> tuple[Path, Path]:
    """Reflectance of two covers as uint16, and their labels on a coarser grid of another origin."""
    rng = np.random.default_rng(seed)
    cover = np.kron(rng.integers(0, 2, (8, 8)), np.ones((24, 24))).astype(np.uint8)
    means = np.array([[800, 900, 700, 4000, 2500, 1500], [1500, 1600, 1800, 2200, 3000, 2600]])[:, :bands]
    pixels = means[cover].transpose(2, 0, 1) + rng.normal(0, 120, (bands, 192, 192))
    names = ["blue", "green", "red", "nir", "swir16", "swir22"][:bands]
    scene = make_raster(folder / "fields.tif", pixels=pixels.astype(np.uint16), descriptions=names)
    with rasterio.open(scene.path, "r+") as file:
        if scale:
            file.scales, file.offsets = (1e-4,) * bands, (-0.01,) * bands
            file.update_tags(GEOSEG_LEVEL="surface")
    coarse = scene.transform * Affine.scale(2) * Affine.translation(-4, -4)
    labels = np.full((1, 104, 104), 9, np.uint8)
    labels[0, 4:100, 4:100] = np.where(cover[::2, ::2], 40, 10)
    labels[0, 4:30, 60:100] = 9
    make_raster(folder / "cover.tif", pixels=labels, transform=coarse)
    return folder / "fields.tif", folder / "cover.tif"


def test_any_bands_and_a_raster_of_classes_make_a_whole_contract(tmp_path: Path) -> None:
    scene, labels = write_fields(tmp_path)
    out = tmp_path / "fields"
    small = ["--set", "network.options={init_features: 4}", "--set", "fit.steps=60", "--set", "fit.window_px=64"]
    call(
        train, "--scene", scene, "--labels", labels, "--ignore", "9", "--model", "unet", out,
        *QUICK, *small, "--set", "optimiser.learning_rate=0.02", "--set", "evaluation.every=30",
    )  # fmt: skip
    spec = load_bundle(str(out)).spec
    assert spec.band_names == ("blue", "green", "red", "nir")
    assert (spec.level, spec.dtype) == ("surface", "uint16")
    assert spec.gsd_m == pytest.approx(10, rel=1e-2)
    assert {(band.scale, band.offset) for band in spec.bands} == {(1e-4, -0.01)}
    assert all(0.04 < band.mean < 0.4 for band in spec.bands)
    assert [one.name for one in spec.legend] == ["class 10", "class 40"]
    assert spec.appearance is not None
    summary = json.loads((out / "training" / "training.json").read_text())
    counts = np.array(summary["confusion"])
    assert np.trace(counts) / counts.sum() > 0.9

    call(
        run, scene, tmp_path / "map", "--model", out, "--quiet",
        "--set", "tiling.tile=128", "--set", "tiling.margin=16", "--set", "refinement.method=crf",
    )  # fmt: skip
    with rasterio.open(tmp_path / "map" / "classes.tif") as file:
        mapped = file.read(1)
    drawn = open_ground(load_train_config(out / "train.yaml")).ground.read(0, whole(mapped.shape))[2]
    assert (mapped == drawn)[drawn != 255].mean() > 0.9


def whole(shape: tuple[int, ...]) -> Window:
    return Window(row=0, col=0, height=shape[0], width=shape[1])


def test_tones_of_training_pixels_are_spread_about_the_middle(tmp_path: Path) -> None:
    """The appearance of a bundle: the first component has the most variance, and its mean is 127.5."""
    scene, labels = write_fields(tmp_path, bands=6)
    order = Order(scenes=(scene,), labels=(labels,), model="unet", changes=("data.blocks.held_share=0",))
    config = make_recipe(order, tmp_path / "out")
    material = read_material(config, None)
    seen = find_tones(config, material.images)
    assert seen is not None
    (image,) = material.images
    mean, std = (np.array(one)[:, None, None] for one in (config.network.mean, config.network.std))
    tones = to_tones(((image.pixels - mean) / std).astype(np.float32), seen)
    assert tones.mean(axis=(1, 2)) == pytest.approx([127.5] * 3, abs=1.5)
    spread = tones.std(axis=(1, 2))
    assert spread[0] == pytest.approx(255 / 5, rel=0.05)
    assert spread[0] > spread[1] >= spread[2]


def test_an_unstated_level_is_any_and_says_no_units(tmp_path: Path) -> None:
    scene, labels = write_fields(tmp_path, scale=False)
    config = make_recipe(Order(scenes=(scene,), labels=(labels,), model="unet"), tmp_path / "out")
    assert (config.bundle.level, config.bundle.dtype, config.bundle.scale) == ("any", "uint16", (1.0,) * 4)
    assert config.network.classes == 3
    assert config.network.mean[3] > 1000


def small_run(tmp_path: Path, *changes: str) -> TrainConfig:
    scene, labels = write_fields(tmp_path)
    some = ("network.options={init_features: 4}", "fit.window_px=32", "fit.precision=float32", "data.blocks.side_px=32")
    return make_recipe(
        Order(scenes=(scene,), labels=(labels,), model="unet", changes=(*some, *changes)), tmp_path / "o"
    )


def test_folds_of_a_scene_score_every_training_pixel_once(tmp_path: Path) -> None:
    """What is held out for the end stays out of sight in every fold."""
    config = small_run(tmp_path, "folds.count=3", "fit.steps=2", "data.blocks.held_share=0.25")
    ground = open_ground(config).ground
    held = np.zeros(ground.scenes[0].shape, int)
    for supply, images in read_folds(config, None):
        assert isinstance(supply, SceneSupply)
        assert isinstance(images, Views)
        for view, image in zip(images.views, images, strict=True):
            assert (image.labels != 255).any()
            held[view.scored.slices_in(whole(held.shape))] += 1
        kept = supply.ground.split.blocks("test")
        assert kept == ground.split.blocks("held")
    labelled = [block for block in ground.split.blocks("train") if block.labelled]
    expected = np.zeros_like(held)
    for block in labelled:
        expected[block.window.slices_in(whole(held.shape))] += 1
    assert np.array_equal(held, expected)
    scores = evaluate_folds(config, data=None, folds=[1])
    assert list(scores) == [1]


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:32634", "EPSG:4326"])
def test_ground_held_out_in_one_scene_is_held_out_in_all(crs: str) -> None:
    """Against pyproj, pixel by pixel: whoever lies within a held block of another scene is never trained on."""
    grids = [GeoBox((120, 150), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633")]
    west, north = Transformer.from_crs(32633, crs, always_xy=True).transform(500_400, 5_399_700)
    side = 1e-4 if crs == "EPSG:4326" else 12
    grids.append(GeoBox((90, 110), Affine(side, 0, west, 0, -side, north) * Affine.rotation(10), crs))
    blocks = [
        Block(scene=k, window=window, counts=(9, 9)) for k in (0, 1) for window in tile_windows(grids[k].shape.yx, 30)
    ]
    split = split_blocks(blocks, BlockConfig(side_px=30, held_share=0.3, buffer_px=0), grids=number_grids(grids))
    split = replace(split, shadows=find_shadows(grids, split))
    for scene, other in ((0, 1), (1, 0)):
        shape = grids[scene].shape.yx
        rows, cols = np.indices(shape) + 0.5
        a, b, c, d, e, f = tuple(grids[scene].transform)[:6]
        xs, ys = a * cols + b * rows + c, d * cols + e * rows + f
        here, there = (("EPSG:32633", crs), (crs, "EPSG:32633"))[scene]
        xs, ys = Transformer.from_crs(here, there, always_xy=True).transform(xs, ys)
        a, b, c, d, e, f = tuple(~grids[other].transform)[:6]
        theirs = np.floor([d * xs + e * ys + f, a * xs + b * ys + c]).astype(int)
        meant = np.zeros(shape, bool)
        for block in split.blocks("held"):
            one = block.window
            if block.scene == other:
                meant |= (
                    (theirs[0] >= one.row)
                    & (theirs[0] < one.row_stop)
                    & (theirs[1] >= one.col)
                    & (theirs[1] < one.col_stop)
                )
        free = split.trainable(scene, whole(shape))
        assert meant.any()
        assert not (free & meant).any()
        assert free.any()


def test_dates_of_one_place_are_split_alike(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    pairs = [write_fields(tmp_path / name, seed=0) for name in "ab"]
    order = Order(scenes=tuple(one for one, _ in pairs), labels=(pairs[0][1],), model="unet")
    ground = open_ground(make_recipe(order, tmp_path / "out")).ground
    parts = [{block.window: part for block, part in ground.split.parts if block.scene == k} for k in (0, 1)]
    assert parts[0] == parts[1]
    assert set(parts[0].values()) == {"train", "held"}
    assert [scene.name for scene in ground.scenes] == ["fields.tif (1)", "fields.tif (2)"]


def test_windows_made_by_other_processes_are_the_same(tmp_path: Path) -> None:
    config = small_run(tmp_path)
    supply = read_material(config, None).supply
    ours, theirs = (feed(supply, steps=range(1, 4), parts=(0,), workers=count) for count in (0, 1))
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal(one.labels, other.labels)


def test_the_blocks_are_told(tmp_path: Path) -> None:
    config = small_run(tmp_path, "data.blocks.test_share=0.1")
    split = read_material(config, None).split
    assert split is not None
    write_split(tmp_path / "training", split)
    with (tmp_path / "training" / "blocks.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 36
    for part in ("train", "held", "test"):
        labelled = [int(row["labelled"]) for row in rows if row["part"] == part]
        assert sum(labelled) == int(open_ground(config).ground.split.classes(part).sum())
    assert {row["scene"] for row in rows} == {"fields.tif"}


def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, test_data: Path) -> None:
    scene, labels = write_fields(tmp_path)
    polygons = test_data / "newbrunswick_ortho" / "BakerLake_2017_clipped.gpkg"
    out = tmp_path / "out"
    given = ("--scene", scene, out)
    assert "name the column of their classes (field, --field)" in refused(InputError, *given, "--labels", polygons)
    assert "has no column 'Klasse': it has" in refused(InputError, *given, "--labels", polygons, "--field", "Klasse")
    nowhere = refused(InputError, *given, "--labels", polygons, "--field", "Quatreclasses")
    assert "do scene and labels overlap" in nowhere
    assert "1 classes (10)" in refused(InputError, *given, "--labels", labels, "--ignore", "9", "--ignore", "40")
    assert "is a raster, which has no field" not in refused(
        InputError, *given, "--labels", labels, "--from", "forest-s2-rgb"
    )
    assert "2 scenes and 3 files of labels" in refused(
        SettingsError, *given, "--scene", scene, *(word for _ in range(3) for word in ("--labels", labels))
    )
    assert "unknown key fit.stepz: did you mean steps?" in refused(
        SettingsError, *given, "--labels", labels, "--set", "fit.stepz=3"
    )
    assert not out.exists()
    out.mkdir()
    (out / "train.yaml").write_text("name: other\n")
    assert "is of another run: choose another folder" in refused(ProductError, *given, "--labels", labels)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out"], "give a CONFIG, or imagery and labels"),
        (["run.yaml", "out", "--model", "unet"], "--model does not go with run.yaml"),
        (["run.yaml", "out", "more"], "does not go with run.yaml"),
        (["out", "--scene", "S", "--labels", "S", "--from", "b", "--model", "unet"], "--model does not go with --from"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "S").touch()
    done = CliRunner().invoke(train, [str(tmp_path / "S") if word == "S" else word for word in words])
    assert done.exit_code == 2
    assert message in done.output
