"""Cut, scored and stitched on disk, a scene gives the pixels of `geoseg run`; what does not fit is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pytest
import rasterio

from geoseg.config import Config
from geoseg.core.patch import MASKED, NODATA, LabelRows, Patch
from geoseg.core.tiling import plan_tiles
from geoseg.core.window import Window
from geoseg.errors import ProductError, ResourceError, SceneError
from geoseg.model.predictor import Predictor
from geoseg.pipeline import Pipeline
from geoseg.raster.patches import INDEX, PatchEntry, read_index, write_index
from geoseg.workflows import stitch
from geoseg.workflows.plan import Request, ScenePlan, plan_scene
from geoseg.workflows.progress import Silent
from geoseg.workflows.segment import segment
from geoseg.workflows.stages import predict_patches, stitch_scores, tile_scene
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import NORTH_UP, RGB, ROTATED, read, write_scene

ONE = Config(threads=1)
STRIPS = Config(threads=1, panel_width=512)


def plan_of(scene: Path, bundle: Path, *, config: Config = ONE, **tiling: Any) -> ScenePlan:
    pipeline = Pipeline.model_validate(
        {
            "name": "test",
            "model": str(bundle),
            "tiling": {"tile": 64, "margin": 0, "ramp": 16, **tiling},
            "inference": {"engine": "torch-cpu", "precision": "fp32"},
        }
    )
    return plan_scene(Request(source=str(scene), pipeline=pipeline, config=config))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with a collar, two bundles, and patches and scores of it that no test may change."""
    folder = tmp_path_factory.mktemp("stages")
    write_scene(folder / "scene.tif", height=150, width=230)
    tiny_bundle(folder / "bundle", kind="unet", classes=3)
    tiny_bundle(folder / "other", kind="unet", classes=3, seed=1)
    tile_scene(plan_of(folder / "scene.tif", folder / "bundle"), folder / "patches")
    predict_patches(folder / "patches", folder / "scores", config=ONE)
    return folder


def copy(inputs: Path, name: str, to: Path) -> Path:
    return Path(shutil.copytree(inputs / name, to / name))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("transform", "shape", "tiling"),
    [
        (NORTH_UP, (150, 230), {}),
        (ROTATED, (130, 1100), {"tile": 256, "margin": 32}),
        (NORTH_UP, (90, 70), {"tile": 512, "window": "crop"}),
    ],
    ids=["collar", "panels", "smaller than a tile"],
)
@pytest.mark.parametrize("kind", ["unet", "pointwise"])
def test_the_stages_give_what_run_gives(
    tmp_path: Path, kind: str, transform: rasterio.Affine, shape: tuple[int, int], tiling: dict[str, Any]
) -> None:
    write_scene(tmp_path / "scene.tif", height=shape[0], width=shape[1], transform=transform)
    tiny_bundle(tmp_path / "bundle", kind=kind, classes=3)
    plan = plan_of(tmp_path / "scene.tif", tmp_path / "bundle", **tiling)
    record = segment(plan, tmp_path / "run").record
    in_strips = plan_of(tmp_path / "scene.tif", tmp_path / "bundle", config=STRIPS, **tiling)
    tile_scene(in_strips, tmp_path / "patches")
    predict_patches(tmp_path / "patches", tmp_path / "scores", config=ONE)
    stitched = stitch_scores(tmp_path / "scores", tmp_path / "stitched", config=STRIPS).record
    for name in ("classes.tif", "confidence.tif"):
        np.testing.assert_array_equal(read(tmp_path / "stitched" / name), read(tmp_path / "run" / name))
        with rasterio.open(tmp_path / "stitched" / name) as mine, rasterio.open(tmp_path / "run" / name) as theirs:
            assert (mine.transform, mine.crs, mine.nodata) == (theirs.transform, theirs.crs, theirs.nodata)
    assert len(np.unique(read(tmp_path / "run/classes.tif"))) >= 3
    assert (tmp_path / "stitched/areas.json").read_text() == (tmp_path / "run/areas.json").read_text()
    assert (tmp_path / "stitched/areas.csv").read_text() == (tmp_path / "run/areas.csv").read_text()
    polygons = [
        geopandas.read_file(tmp_path / name / "polygons.gpkg", layer="polygons") for name in ("stitched", "run")
    ]
    assert polygons[0].equals(polygons[1])
    assert files(tmp_path / "stitched") == files(tmp_path / "run")
    assert (stitched.job, stitched.pipeline_digest) == (record.job, record.pipeline_digest)


def test_a_declared_conversion_happens_after_the_disk(tmp_path: Path) -> None:
    """Reflectance in, an 8-bit network: patches keep the scene's uint16, the map is that of `geoseg run`."""
    rng = np.random.default_rng(3)
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", height=90, width=140, count=3, dtype="uint16", nodata=0,
        crs="EPSG:32633", transform=NORTH_UP,
    ) as out:  # fmt: skip
        out.write(rng.integers(1, 4000, (3, 90, 140)).astype(np.uint16))
        out.descriptions = RGB
        out.update_tags(GEOSEG_LEVEL="toa")
    conversion = {"from_level": "toa", "from_dtype": "uint16", "scale": 255 / 4000, "clip_min": 0, "clip_max": 255}
    tiny_bundle(tmp_path / "bundle", kind="unet", classes=3, conversions=[conversion])
    plan = plan_of(tmp_path / "scene.tif", tmp_path / "bundle")
    assert plan.conversion is not None
    segment(plan, tmp_path / "run")
    tile_scene(plan, tmp_path / "patches")
    with rasterio.open(next((tmp_path / "patches").glob("*.tif"))) as file:
        assert set(file.dtypes) == {"uint16"}
    predict_patches(tmp_path / "patches", tmp_path / "scores", config=ONE)
    stitch_scores(tmp_path / "scores", tmp_path / "stitched", config=ONE)
    for name in ("classes.tif", "confidence.tif"):
        np.testing.assert_array_equal(read(tmp_path / "stitched" / name), read(tmp_path / "run" / name))


def test_what_a_mask_excludes_stays_told_from_nodata(tmp_path: Path) -> None:
    pixels = write_scene(tmp_path / "scene.tif", height=150, width=600)
    excluded = np.zeros((150, 600), np.bool_)
    excluded[40:130, 50:300] = excluded[:, 500:] = True  # some tiles wholly
    with rasterio.open(
        tmp_path / "mask.tif", "w", driver="GTiff", height=150, width=600, count=1, dtype="uint8",
        crs="EPSG:32633", transform=NORTH_UP,
    ) as out:  # fmt: skip
        out.write((~excluded).astype(np.uint8), 1)
    tiny_bundle(tmp_path / "bundle", kind="pointwise", classes=3)
    free = plan_of(tmp_path / "scene.tif", tmp_path / "bundle")
    request = Request(
        source=str(tmp_path / "scene.tif"), pipeline=free.pipeline, config=STRIPS, mask=str(tmp_path / "mask.tif")
    )
    plan = plan_scene(request)
    segment(plan, tmp_path / "run")
    tile_scene(plan, tmp_path / "patches")
    predict_patches(tmp_path / "patches", tmp_path / "scores", config=ONE)
    stitch_scores(tmp_path / "scores", tmp_path / "stitched", config=STRIPS)
    assert (tmp_path / "stitched/areas.json").read_text() == (tmp_path / "run/areas.json").read_text()
    np.testing.assert_array_equal(read(tmp_path / "stitched/classes.tif"), read(tmp_path / "run/classes.tif"))
    areas = json.loads((tmp_path / "stitched/areas.json").read_text())
    share = (excluded & (pixels != 0).all(0)).mean()
    assert sum(areas["masked_m2"].values()) / areas["footprint_m2"] == pytest.approx(share, rel=1e-3)
    lost = next((tmp_path / "scores").glob("*_masked.tif"))
    lost.unlink()
    with pytest.raises(ProductError, match=f"{lost.name} is missing"):
        stitch_scores(tmp_path / "scores", tmp_path / "again", config=ONE)


def test_a_patch_is_exactly_what_the_predictor_receives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(tmp_path / "scene.tif")
    tiny_bundle(tmp_path / "bundle", kind="pointwise")
    seen: list[list[Patch]] = [[]]
    predict = Predictor.predict

    def spy(self: Predictor, patches: Any) -> Any:
        seen[-1].extend(patches)
        return predict(self, patches)

    monkeypatch.setattr(Predictor, "predict", spy)
    plan = plan_of(tmp_path / "scene.tif", tmp_path / "bundle")
    segment(plan, tmp_path / "run")
    seen.append([])
    tile_scene(plan, tmp_path / "patches")
    predict_patches(tmp_path / "patches", tmp_path / "scores", config=ONE)
    in_run, on_disk = seen
    assert [one.window for one in in_run] == [one.window for one in on_disk]
    for one, other in zip(in_run, on_disk, strict=True):
        assert one.pixels.dtype == other.pixels.dtype
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.valid, other.valid)


def test_the_index_describes_every_tile(inputs: Path) -> None:
    with rasterio.open(inputs / "scene.tif") as file:
        scene_valid = file.dataset_mask() != 0
        bounds = file.bounds
    frame = geopandas.read_parquet(inputs / "patches" / INDEX)
    plan = plan_of(inputs / "scene.tif", inputs / "bundle")
    assert len(frame) == plan.tiles.count()
    for one in frame.itertuples():
        part = scene_valid[one.row : one.row + one.height, one.col : one.col + one.width]
        assert one.valid_pixels == part.sum()
        assert (one.file is None or one.file != one.file) == (one.valid_pixels == 0)
    x0, y0, x1, y1 = frame.total_bounds
    assert x0 == bounds.left
    assert y1 == bounds.top
    assert x1 >= bounds.right
    assert y0 <= bounds.bottom
    listed = {name for name in frame["file"] if isinstance(name, str)}
    assert files(inputs / "patches") == listed | {INDEX}
    about = read_index(inputs / "patches").about
    assert (about["pipeline_digest"], about["job"]) == (plan.pipeline.digest(), plan.job)


def test_a_tile_of_nodata_has_no_file(tmp_path: Path) -> None:
    pixels = np.full((3, 200, 64), 9, np.uint8)
    pixels[:, 70:] = 0
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", height=200, width=64, count=3, dtype="uint8", nodata=0,
        crs="EPSG:32633", transform=NORTH_UP, photometric="RGB",
    ) as out:  # fmt: skip
        out.write(pixels)
    tiny_bundle(tmp_path / "bundle", kind="pointwise")
    index = tile_scene(plan_of(tmp_path / "scene.tif", tmp_path / "bundle"), tmp_path / "patches")
    empty = [entry for entry in index.entries if entry.window.row >= 70]
    assert empty
    assert {(entry.file, entry.valid_pixels) for entry in empty} == {(None, 0)}
    predict_patches(tmp_path / "patches", tmp_path / "scores", config=ONE)
    stitch_scores(tmp_path / "scores", tmp_path / "out", config=ONE)
    labels = read(tmp_path / "out/classes.tif")
    assert (labels[70:] == 255).all()
    assert (labels[:70] != 255).all()


def test_scores_are_probabilities_named_by_class(inputs: Path) -> None:
    for path in (inputs / "scores").glob("*.tif"):
        with rasterio.open(path) as file:
            assert set(file.dtypes) == {"float32"}
            assert file.count == 3
            valid = file.dataset_mask() != 0
            sums: npt.NDArray[np.float64] = file.read().astype(np.float64).sum(0)[valid]
        assert np.abs(sums - 1).max() < 1e-6
    legend = read_index(inputs / "scores").about["legend"]
    assert [one["id"] for one in legend] == [0, 1, 2]


def test_uint8_scores_say_that_they_are_lossy_and_are_close(inputs: Path, tmp_path: Path) -> None:
    listener = Silent()
    predict_patches(inputs / "patches", tmp_path / "small", config=ONE, scores="uint8", progress=listener)
    assert any("uint8" in note and "may differ" in note for note in listener.notes)
    lossy = stitch_scores(tmp_path / "small", tmp_path / "lossy", config=ONE).record
    exact = stitch_scores(inputs / "scores", tmp_path / "exact", config=ONE).record
    assert any("may differ" in note for note in lossy.notes)
    assert lossy.job != exact.job
    one, other = (read(tmp_path / name / "confidence.tif").astype(int) for name in ("lossy", "exact"))
    assert np.abs(one - other).max() <= 1


def test_patches_of_another_bundle_are_refused(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="were cut for bundle 'tiny-unet'"):
        predict_patches(inputs / "patches", tmp_path / "out", config=ONE, model=str(inputs / "other"))
    assert files(tmp_path) == set()


def test_a_bundle_may_have_moved(inputs: Path, tmp_path: Path) -> None:
    moved = copy(inputs, "bundle", tmp_path)
    predict_patches(inputs / "patches", tmp_path / "out", config=ONE, model=str(moved))
    assert files(tmp_path / "out") == files(inputs / "scores")


@pytest.mark.parametrize(("name", "call"), [("patches", predict_patches), ("scores", stitch_scores)])
def test_a_missing_file_is_named_and_nothing_is_left(
    inputs: Path, tmp_path: Path, name: str, call: Callable[..., Any]
) -> None:
    folder = copy(inputs, name, tmp_path)
    lost = sorted(folder.glob("*.tif"))[-1]
    lost.unlink()
    with pytest.raises(ProductError, match=f"{name}/{lost.name} is missing"):
        call(folder, tmp_path / "out", config=ONE)
    assert files(tmp_path) == {name}


@pytest.mark.parametrize(("name", "call"), [("patches", predict_patches), ("scores", stitch_scores)])
def test_a_damaged_file_is_named_and_nothing_is_left(
    inputs: Path, tmp_path: Path, name: str, call: Callable[..., Any]
) -> None:
    folder = copy(inputs, name, tmp_path)
    hurt = sorted(folder.glob("*.tif"))[-1]
    hurt.write_bytes(hurt.read_bytes()[:-200])
    with pytest.raises(ProductError, match=f"{name}/{hurt.name}"):
        call(folder, tmp_path / "out", config=ONE)
    assert files(tmp_path) == {name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda about: about["pipeline"]["tiling"].update(ramp=8), "does not have the digest"),
        (lambda about: about.update(divisor=32, min_size=96), "does not list the tiles of its plan"),
        (lambda about: about.update(kind="scores"), "scores need a legend"),
        (lambda about: about.update(surprise=1), "surprise: Extra inputs"),
        (lambda about: about.pop("bundle_sha256"), "bundle_sha256: Field required"),
    ],
    ids=["digest", "tiles", "kind", "unknown key", "missing key"],
)
def test_an_index_that_does_not_hang_together_is_refused(
    inputs: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    folder = copy(inputs, "patches", tmp_path)
    index = read_index(folder)
    about = json.loads(json.dumps(dict(index.about)))
    change(about)
    (folder / INDEX).unlink()
    write_index(folder / INDEX, type(index)(grid=index.grid, entries=index.entries, about=about))
    with pytest.raises(ProductError, match=words):
        predict_patches(folder, tmp_path / "out", config=ONE)


def test_each_verb_takes_what_the_one_before_left(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="lists scores, `geoseg predict` takes pixels: use `geoseg stitch`"):
        predict_patches(inputs / "scores", tmp_path / "out", config=ONE)
    with pytest.raises(ProductError, match="lists pixels, `geoseg stitch` takes scores: use `geoseg predict`"):
        stitch_scores(inputs / "patches", tmp_path / "out", config=ONE)
    with pytest.raises(ProductError, match=r"has no index\.parquet"):
        predict_patches(tmp_path, tmp_path / "out", config=ONE)


def test_masked_tiles_are_looked_up_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a tall scene only the tiles under a piece of rows are looked at; what is marked is what brute force marks."""
    tiles = plan_tiles((40_000, 100), tile=64, margin=8, ramp=16)
    entries = [PatchEntry(window=one, file=None, valid_pixels=0, masked_pixels=1) for one in tiles.tiles()]
    looked: list[Window] = []

    class Given:
        def __init__(self) -> None:
            self.tiles = tiles

        def read_masked(self, entry: PatchEntry) -> npt.NDArray[np.bool_]:
            masked: npt.NDArray[np.bool_] = np.arange(64 * 64).reshape(64, 64) % 97 == entry.window.row % 97
            return masked

    def counted(one: Window, other: Window) -> Window | None:
        looked.append(one)
        return overlap(one, other)

    given, overlap = Given(), stitch._overlap
    monkeypatch.setattr(stitch, "_overlap", counted)
    for row in (0, 512, 39_424):
        looked.clear()
        window = Window(row=row, col=0, height=512, width=100)
        labels = np.full(window.shape, NODATA, np.uint8)
        rows = LabelRows(window=window, labels=labels, confidence=np.zeros_like(labels))
        stitch._mark_masked(given, entries, rows)  # type: ignore[arg-type]
        expected = np.zeros((40_000 + 64, 200), np.bool_)
        for entry in entries:
            top, left = entry.window.row, entry.window.col
            expected[top : top + 64, left : left + 64] |= given.read_masked(entry)
        np.testing.assert_array_equal(labels == MASKED, expected[row : row + 512, :100])
        assert len(looked) < 60 < len(entries) / 10


def test_scores_cannot_replace_the_patches_they_are_made_of(inputs: Path, tmp_path: Path) -> None:
    folder = copy(inputs, "patches", tmp_path)
    with pytest.raises(ProductError, match="is the folder that is read"):
        predict_patches(folder, tmp_path / "." / "patches", config=ONE, overwrite=True)
    assert files(folder) == files(inputs / "patches")
    with pytest.raises(ProductError, match="is the folder that is read"):
        stitch_scores(inputs / "scores", inputs / "scores", config=ONE, overwrite=True)


def test_a_scene_that_breaks_midway_leaves_the_old_patches(inputs: Path, tmp_path: Path) -> None:
    shutil.copy(inputs / "scene.tif", tmp_path / "scene.tif")
    plan = plan_of(tmp_path / "scene.tif", inputs / "bundle")
    tile_scene(plan, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    content = bytearray((tmp_path / "scene.tif").read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    (tmp_path / "scene.tif").write_bytes(content)
    with pytest.raises((SceneError, ResourceError)):
        tile_scene(plan, tmp_path / "out", overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert files(tmp_path) == {"scene.tif", "out"}
