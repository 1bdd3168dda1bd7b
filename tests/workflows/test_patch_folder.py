"""A folder of patches is replaced only if all in it is ours; whatever happens then, the old or the new one is there."""

import errno
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from geoseg.errors import InterruptedRun, ProductError, ResourceError
from geoseg.raster.patches import INDEX
from geoseg.workflows.patch_contract import check_patches
from geoseg.workflows.plan import Request, plan_scene
from geoseg.workflows.product import interruptible
from geoseg.workflows.stages import predict_patches, tile_scene
from tests.faults import KILLED, count_faults, run_with_fault
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import NORTH_UP, write_scene
from tests.workflows.test_stages import ONE, copy, files, plan_of


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene, a bundle and patches that no test may change."""
    folder = tmp_path_factory.mktemp("folders")
    write_scene(folder / "scene.tif", height=150, width=230)
    tiny_bundle(folder / "bundle", kind="unet", classes=3)
    tile_scene(plan_of(folder / "scene.tif", folder / "bundle"), folder / "patches")
    return folder


def test_a_folder_is_replaced_only_when_told_and_only_if_it_is_patches(inputs: Path, tmp_path: Path) -> None:
    plan = plan_of(inputs / "scene.tif", inputs / "bundle")
    tile_scene(plan, tmp_path / "out")
    with pytest.raises(ProductError, match=r"already holds patches.*--overwrite"):
        tile_scene(plan, tmp_path / "out")
    tile_scene(plan_of(inputs / "scene.tif", inputs / "bundle", tile=160), tmp_path / "out", overwrite=True)
    assert files(tmp_path / "out") == {INDEX, "r000000_c000000.tif", "r000000_c000080.tif"}
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "monday.txt").write_text("dear diary")
    with pytest.raises(ProductError, match="holds something else"):
        tile_scene(plan, tmp_path / "diary", overwrite=True)
    assert files(tmp_path) == {"out", "diary"}


@pytest.mark.parametrize("name", ["thesis.docx", "r000000_c000001.tif", "r000000_c000000.tif.aux.xml"])
def test_a_folder_of_patches_that_holds_a_file_of_the_users_is_not_replaced(
    inputs: Path, tmp_path: Path, name: str
) -> None:
    out = copy(inputs, "patches", tmp_path)
    (out / name).write_text("the user's")
    with pytest.raises(ProductError, match=f"holds {name}, which is no patch of its index"):
        tile_scene(plan_of(inputs / "scene.tif", inputs / "bundle"), out, overwrite=True)
    with pytest.raises(ProductError, match=f"holds {name}, which is no patch of its index"):
        predict_patches(inputs / "patches", out, config=ONE, overwrite=True)
    assert files(out) == files(inputs / "patches") | {name}
    assert files(tmp_path) == {"patches"}


def test_a_folder_with_any_index_parquet_is_not_replaced(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "papers"
    out.mkdir()
    (out / INDEX).write_bytes(b"of something else")
    with pytest.raises(ProductError, match=r"index\.parquet that is no index of patches"):
        tile_scene(plan_of(inputs / "scene.tif", inputs / "bundle"), out, overwrite=True)
    assert files(out) == {INDEX}


@pytest.mark.parametrize("what", ["scene", "mask"])
def test_the_scene_is_never_in_the_folder_that_is_replaced(inputs: Path, tmp_path: Path, what: str) -> None:
    """Not even under the name of a patch."""
    out = copy(inputs, "patches", tmp_path)
    pixels = write_scene(tmp_path / "scene.tif", height=150, width=230)
    with rasterio.open(
        tmp_path / "mask.tif", "w", driver="GTiff", height=150, width=230, count=1, dtype="uint8",
        crs="EPSG:32633", transform=NORTH_UP,
    ) as file:  # fmt: skip
        file.write(np.ones(pixels.shape[1:], np.uint8), 1)
    patch = sorted(out.glob("*.tif"))[0]
    patch.unlink()
    (tmp_path / f"{what}.tif").rename(patch)
    pipeline = plan_of(inputs / "scene.tif", inputs / "bundle").pipeline
    places = {"scene": tmp_path / "scene.tif", "mask": tmp_path / "mask.tif", what: patch}
    plan = plan_scene(Request(source=str(places["scene"]), pipeline=pipeline, config=ONE, mask=str(places["mask"])))
    with pytest.raises(ProductError, match=f"holds {patch.name}, which is read"):
        tile_scene(plan, out, overwrite=True)
    assert patch.is_file()


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_a_folder_needs_a_name(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ProductError, match="says no name for a folder"):
        tile_scene(plan_of(inputs / "scene.tif", inputs / "bundle"), Path(place), overwrite=True)
    assert files(tmp_path) == {"here"}


def test_a_move_that_fails_leaves_the_old_patches(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copy(inputs, "patches", tmp_path)
    honest = os.rename

    def rename(source: Path, target: Path) -> None:
        if str(source).endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error")
        honest(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(ResourceError, match="Input/output error"):
        tile_scene(plan_of(inputs / "scene.tif", inputs / "bundle", tile=160), out, overwrite=True)
    assert files(out) == files(inputs / "patches")
    assert files(tmp_path) == {"patches"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_folder_moves_comes_too_late(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    out = copy(inputs, "patches", tmp_path)
    honest = os.rename

    def rename(source: Path, target: Path) -> None:
        honest(source, target)
        if Path(source).parent == tmp_path:  # not pytest's own
            os.kill(os.getpid(), number)

    monkeypatch.setattr(os, "rename", rename)
    plan = plan_of(inputs / "scene.tif", inputs / "bundle", tile=160)
    try:
        with interruptible():
            tile_scene(plan, out, overwrite=True)
    except InterruptedRun:  # a KeyboardInterrupt, which would end the whole test run
        pytest.fail("the move was interrupted")
    assert files(out) == {INDEX, "r000000_c000000.tif", "r000000_c000080.tif"}
    assert files(tmp_path) == {"patches"}


def test_what_only_looks_like_a_rest_of_ours_stays(inputs: Path, tmp_path: Path) -> None:
    for name in (".out.backup.old", ".out.2024.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "diary.txt").write_text("the user's")
    tile_scene(plan_of(inputs / "scene.tif", inputs / "bundle", tile=160), tmp_path / "out")
    assert files(tmp_path) == {"out", ".out.backup.old", ".out.2024.partial"}
    assert files(tmp_path / ".out.backup.old") == {"diary.txt"}


@pytest.mark.alone
@pytest.mark.parametrize("overwrite", [False, True], ids=["fresh", "overwrite"])
def test_whenever_it_is_killed_a_folder_is_complete_or_not_there(inputs: Path, tmp_path: Path, overwrite: bool) -> None:
    """At every rename, unlink and flush; a rerun succeeds and leaves no rubbish."""
    torch.set_num_threads(1)
    plan, out = plan_of(inputs / "scene.tif", inputs / "bundle", tile=160), tmp_path / "out"

    def work() -> None:
        tile_scene(plan, out, overwrite=overwrite)

    def prepare() -> None:
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        if overwrite:
            tile_scene(plan, out)

    prepare()
    steps = count_faults(work)
    assert steps > 5
    for step in range(steps):
        prepare()
        assert run_with_fault(work, kill_at=step) == KILLED
        if out.exists():
            assert len(check_patches(out, kind="pixels").index.entries) == plan.tiles.count()
        if overwrite:  # the old folder or the new one is there, or is put back; never neither
            with pytest.raises(ProductError, match="already holds patches"):
                tile_scene(plan, out)
        tile_scene(plan, out, overwrite=True)
        assert files(tmp_path) == {"out"}
        assert len(check_patches(out, kind="pixels").index.entries) == plan.tiles.count()
