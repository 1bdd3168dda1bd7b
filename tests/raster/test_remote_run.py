"""`geoseg run` and `scene info` of an address: the product of the file, and its signature nowhere."""

import json
from pathlib import Path

import numpy as np
import rasterio
from click.testing import CliRunner

from geoseg.cli.run import plan, run
from geoseg.cli.scene import scene
from geoseg.cli.stages import tile
from geoseg.errors import SceneError
from tests.model.bundles import tiny_bundle
from tests.raster.remote_server import serve
from tests.workflows.test_segment import write_scene

SIGNATURE = "sEcReT-signature"


def test_patches_of_an_address_are_those_of_the_file(tmp_path: Path) -> None:
    """Where it may be read; the refusal names an option that the verb has."""
    here, there, path = tmp_path / "here", tmp_path / "there", tmp_path / "scene.tif"
    write_scene(path, height=130, width=120, seed=1)
    words = ["--model", str(tiny_bundle(tmp_path / "bundle").path), "--set", "tiling.tile=64"]
    words += ["--set", "tiling.margin=0", "--set-config", "threads=1", "--quiet"]
    with serve() as server:
        server.files["/a/scene.tif"] = path
        address = f"{server.url}/a/scene.tif"
        refused = CliRunner().invoke(tile, [address, str(there), *words])
        told = [
            CliRunner().invoke(tile, [address, str(there), *words, "--allow-remote=127.0.0.1"]),
            CliRunner().invoke(tile, [str(path), str(here), *words]),
        ]
    assert isinstance(refused.exception, SceneError)
    assert "pass --allow-remote=127.0.0.1" in str(refused.exception)
    for one in told:
        assert one.exit_code == 0, (one.output, one.exception)
    names = sorted(one.name for one in here.glob("*.tif"))
    assert names == sorted(one.name for one in there.glob("*.tif"))
    assert len(names) > 3
    for name in names:
        with rasterio.open(here / name) as one, rasterio.open(there / name) as other:
            assert np.array_equal(one.read(), other.read())
            assert np.array_equal(one.read_masks(), other.read_masks())


def test_a_run_of_a_signed_address_is_that_of_the_file(tmp_path: Path) -> None:
    here, there, path = tmp_path / "here", tmp_path / "there", tmp_path / "scene.tif"
    write_scene(path, height=130, width=120, seed=1)
    words = ["--model", str(tiny_bundle(tmp_path / "bundle").path), "--set", "tiling.tile=64"]
    words += ["--set", "tiling.margin=0", "--set", "inference.engine=torch-cpu", "--set-config", "threads=1"]
    with serve(signatures={SIGNATURE}) as server:
        server.files["/a/scene.tif"] = path
        address = f"{server.url}/a/scene.tif?sig={SIGNATURE}"
        told = [
            CliRunner().invoke(run, ["--allow-remote=127.0.0.1", address, str(there), *words, "--quiet"]),
            CliRunner().invoke(run, [str(path), str(here), *words]),
            CliRunner().invoke(plan, [address, str(tmp_path / "x"), *words, "--allow-remote=127.0.0.1"]),
            CliRunner().invoke(scene, ["info", address, "--allow-remote=127.0.0.1"]),
        ]
        refused = CliRunner().invoke(run, [address, str(tmp_path / "y"), *words])
    for one in told:
        assert one.exit_code == 0, (one.output, one.exception)
        assert SIGNATURE not in one.output
    assert isinstance(refused.exception, SceneError)
    assert SIGNATURE not in str(refused.exception)
    areas = [json.loads((folder / "areas.json").read_text()) for folder in (here, there)]
    assert areas[0] == areas[1]
    files = [one for one in there.rglob("*") if one.is_file()]
    assert len(files) > 5
    assert [one.name for one in files if SIGNATURE.encode() in one.read_bytes()] == []
    assert "scene.tif.msk: whether it is there cannot be told" in (there / "run.json").read_text()
