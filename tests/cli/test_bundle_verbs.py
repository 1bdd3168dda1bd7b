"""`geoseg bundle` as users type it: told, checked, packed, exported; refusals are one line and leave nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from geoseg.cli import main
from geoseg.core.patch import Patch
from geoseg.core.window import Window
from geoseg.model.bundle import load_bundle
from geoseg.model.predictor import Predictor
from geoseg.model.registry import build_network
from tests.model.bundles import tiny_bundle

SHIPPED = "forest-s2-rgb"


def geoseg(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code if isinstance(stop.value.code, int) else 1


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The one line that a refused command says."""
    assert geoseg(*words) == 2
    out, said = capsys.readouterr()
    assert (out, said.count("\n")) == ("", 1)
    return said


def left(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


def test_info_says_what_a_bundle_takes_and_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("bundle", "info", SHIPPED) == 0
    text = capsys.readouterr().out
    assert all(words in text for words in ("1,942,594", "red, green, blue", "other, forest", "display8", "Apache-2.0"))
    assert geoseg("bundle", "info", SHIPPED, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "geoseg/bundle/1"
    assert [band["mean"] for band in document["bands"]] == [50, 55, 60]
    assert document["training_data"]["files"] == 50  # 25 tiles and their labels


def test_verify_finds_damage_and_weights_of_another_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("bundle", "verify", SHIPPED) == 0
    assert load_bundle(SHIPPED).sha256 in capsys.readouterr().out
    tiny_bundle(tmp_path / "a", "unet")
    weights = tmp_path / "a" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "is damaged: sha256" in refused(capsys, "bundle", "verify", tmp_path / "a")
    weights.write_bytes(whole)
    spec = tmp_path / "a" / "bundle.yaml"
    spec.write_text(spec.read_text().replace("init_features: 4", "init_features: 8"))
    assert "does not fit the architecture" in refused(capsys, "bundle", "verify", tmp_path / "a")
    assert "no bundle 'forest-s2'" in refused(capsys, "bundle", "verify", "forest-s2")


def unpacked(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """A spec without what the network says itself, and a state dict for it."""
    tiny_bundle(folder / "made", "unet", classes=3)
    fields = yaml.safe_load((folder / "made" / "bundle.yaml").read_text())
    for key in ("weights_sha256", "divisor", "min_size", "margin_exact", "margin_tolerance"):
        del fields[key]
    (folder / "spec.yaml").write_text(yaml.safe_dump(fields | changes))
    shutil.copy(folder / "made" / "model.safetensors", folder / "w.safetensors")
    return folder / "spec.yaml", folder / "w.safetensors"


def test_a_users_weights_become_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the spec leaves out is the network's: the U-Net's divisor and receptive field."""
    spec, weights = unpacked(tmp_path)
    assert geoseg("bundle", "pack", spec, weights, tmp_path / "out") == 0
    assert capsys.readouterr().out.strip() == str((tmp_path / "out").resolve())
    packed = load_bundle(str(tmp_path / "out")).spec
    assert (packed.divisor, packed.min_size, packed.margin_exact, packed.margin_tolerance) == (16, 16, 96, 96)
    assert geoseg("bundle", "verify", tmp_path / "out") == 0
    assert "already exists" in refused_after(capsys, "bundle", "pack", spec, weights, tmp_path / "out")


def refused_after(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    capsys.readouterr()
    return refused(capsys, *words)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "unett"}, "spec.yaml: architecture 'unett' is not known"),
        ({"options": {"init_features": 5}}, "does not fit the architecture it is for"),
        ({"gsd": 10}, "key gsd is not known: did you mean gsd_m"),
        ({"architecture": "fast_scnn", "options": {}}, "does not fit the architecture it is for"),
        ({"margin_tolerance": 17}, "margin_tolerance 17 is not a multiple of divisor 16"),
    ],
)
def test_what_cannot_be_packed_leaves_nothing(
    changes: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, weights = unpacked(tmp_path, **changes)
    before = left(tmp_path)
    assert message in refused(capsys, "bundle", "pack", spec, weights, tmp_path / "out")
    assert left(tmp_path) == before


def test_a_global_network_is_packed_with_a_margin_that_was_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    changes = {"architecture": "fast_scnn", "options": {}}
    spec, weights = unpacked(tmp_path, **changes)
    save_file(build_network("fast_scnn", in_channels=3, classes=3).state_dict(), weights)
    assert "sees its whole tile: say how many" in refused(capsys, "bundle", "pack", spec, weights, tmp_path / "out")
    spec, _ = unpacked(tmp_path / "again", **changes, margin_tolerance=64)
    assert geoseg("bundle", "pack", spec, weights, tmp_path / "out") == 0
    packed = load_bundle(str(tmp_path / "out")).spec
    assert (packed.margin_exact, packed.margin_tolerance) == (None, 64)


def test_a_program_that_has_the_onnx_file_alone_gets_what_geoseg_gets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Raw numbers are normalised as the file's metadata says, and computed by onnxruntime."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert geoseg("bundle", "export", SHIPPED, tmp_path / "out", "--tile", "64", "--quiet") == 0
    names = ["model.onnx", "item.json", "export.json"]
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / name) for name in names]
    assert left(tmp_path) == {"out"}
    assert left(tmp_path / "out") == set(names)
    file = tmp_path / "out" / "model.onnx"
    model = onnx.load(file)
    onnx.checker.check_model(model)
    assert [one.version for one in model.opset_import if one.domain == ""] == [18]
    (told,) = (json.loads(one.value) for one in model.metadata_props if one.key == "geoseg")
    raw = np.random.default_rng(0).integers(0, 160, (3, 64, 64)).astype(np.uint8)
    bands = told["bands"]
    x = np.stack(
        [
            (one.astype(np.float64) * band["scale"] + band["offset"] - band["mean"]) / band["std"]
            for one, band in zip(raw, bands, strict=True)
        ]
    )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"pixels": x[None].astype(np.float32)})[0][0]
    predictor = Predictor(
        load_bundle(SHIPPED), engine="torch-cpu", precision="fp32", device="cpu", tile_shape=(64, 64), batch=1
    )
    window = Window(row=0, col=0, height=64, width=64)
    patch = Patch(window=window, pixels=raw, valid=np.ones((64, 64), bool))
    expected = predictor.predict([patch])[0].values
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert float((found.argmax(0) != expected.argmax(0)).mean()) <= 0.001
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert record["formats"][0]["max_difference"] < 1e-4
    assert record["bundle_sha256"] == load_bundle(SHIPPED).sha256


def test_an_export_is_replaced_on_demand_and_foreign_files_never(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_bundle(tmp_path / "b", "pointwise")
    words: tuple[str | Path, ...] = (
        *("bundle", "export", tmp_path / "b", tmp_path / "out"),
        *("--formats", "pt2", "--tile", "16", "--quiet"),
    )
    assert geoseg(*words) == 0
    first = (tmp_path / "out" / "export.json").stat().st_ino
    assert "already holds an export: give --overwrite" in refused_after(capsys, *words)
    assert geoseg(*words, "--overwrite") == 0
    assert (tmp_path / "out" / "export.json").stat().st_ino != first
    assert left(tmp_path) == {"b", "out"}
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert "holds what no export left there" in refused_after(capsys, *words, "--overwrite")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    bundle = refused(capsys, "bundle", "export", tmp_path / "b", tmp_path / "b", "--formats", "pt2", "--overwrite")
    assert "holds what no export left there" in bundle


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--formats", "onnx,tflite"), "tflite is no format: onnx, pt2, openvino"),
        (("--formats", "pt2", "--tile", "100"), "a tile of 100 pixels does not suit"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, "bundle", "export", SHIPPED, tmp_path / "out", *options, "--quiet")
    assert left(tmp_path) == set()


def test_a_missing_extra_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoseg.model.export.find_spec", lambda name: None)
    assert geoseg("bundle", "export", SHIPPED, tmp_path / "out", "--formats", "openvino") == 1
    assert "openvino needs openvino: pip install 'geoseg[openvino]'" in capsys.readouterr().err
    assert left(tmp_path) == set()
