"""Exported networks compute what the bundle does; one that does not is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geoseg.errors import BundleError
from geoseg.model.export import Format, export_network
from geoseg.model.network import load_network
from geoseg.model.parity import Parity, compare, measure_parity
from tests.model.bundles import tiny_bundle

SHAPE = (2, 4, 64, 64)
BANDS = ("red", "green", "blue", "nir")
LONG = ["bisenetv2", "espnetv2", "dfanet_a", "fast_scnn", "fc_densenet56", "fpn:resnet18", "upernet:resnet18"]


def needs(kind: Format) -> None:
    for name in {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",), "pt2": ()}[kind]:
        pytest.importorskip(name)


def examples() -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(SHAPE, dtype=np.float32) for _ in range(2)]


@pytest.mark.parametrize("kind", ["onnx", "pt2", "openvino"])
@pytest.mark.parametrize("architecture", ["unet", *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_it_computes_what_the_bundle_does(kind: Format, architecture: str, tmp_path: Path) -> None:
    needs(kind)
    bundle = tiny_bundle(tmp_path / "b", architecture, BANDS, 3, temperature=1.7)
    network = load_network(bundle)
    pixels = examples()
    with torch.inference_mode():
        expected = [torch.softmax(network(torch.from_numpy(one)) / 1.7, 1).numpy() for one in pixels]
    (done,) = export_network(bundle, tmp_path, formats=[kind], shape=SHAPE, examples=pixels)
    found = measure_parity(tmp_path / done.files[0], kind, pixels, expected)
    assert found.max_difference < 1e-3
    assert found.flipped_share <= 0.001
    assert done.parity.max_difference < 1e-3


def test_the_contract_is_in_every_file(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", "pointwise", BANDS, 3)
    shape = (1, 4, 16, 16)
    pixels = [np.zeros(shape, np.float32)]
    told = []
    extra = {"geoseg.json": ""}
    export_network(bundle, tmp_path, formats=["pt2"], shape=shape, examples=pixels)
    torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    told.append(json.loads(extra["geoseg.json"]))
    onnx = pytest.importorskip("onnx")
    openvino = pytest.importorskip("openvino")
    export_network(bundle, tmp_path, formats=["onnx", "openvino"], shape=shape, examples=pixels)
    told.append(json.loads(onnx.load(tmp_path / "model.onnx").metadata_props[0].value))
    read = openvino.Core().read_model(tmp_path / "model.xml")
    told.append(json.loads(read.get_rt_info("geoseg").astype(str)))
    assert told[0] == told[1] == told[2]
    assert [(one["name"], one["mean"], one["std"]) for one in told[0]["bands"]] == [(b, 120, 60) for b in BANDS]
    assert told[0]["input"]["shape"] == [1, 4, 16, 16]
    assert [one["name"] for one in told[0]["classes"]] == ["class 0", "class 1", "class 2"]
    assert told[0]["bundle_sha256"] == bundle.sha256
    assert read.input("pixels").shape == [1, 4, 16, 16]


def test_a_file_of_another_network_is_told_apart(tmp_path: Path) -> None:
    shape, pixels = (1, 4, 16, 16), [one[:1, :, :16, :16] for one in examples()]
    for seed in (0, 1):
        bundle = tiny_bundle(tmp_path / f"b{seed}", "pointwise", BANDS, 3, seed=seed)
        (tmp_path / str(seed)).mkdir()
        export_network(bundle, tmp_path / str(seed), formats=["pt2"], shape=shape, examples=pixels)
    with torch.inference_mode():
        expected = [torch.softmax(load_network(bundle)(torch.from_numpy(one)), 1).numpy() for one in pixels]
    measure_parity(tmp_path / "1" / "model.pt2", "pt2", pixels, expected).check("pt2")
    other = measure_parity(tmp_path / "0" / "model.pt2", "pt2", pixels, expected)
    with pytest.raises(BundleError, match="pt2 does not compute what the bundle does: probabilities differ by up to"):
        other.check("pt2")


def test_the_worst_example_counts() -> None:
    same = np.full((1, 2, 10, 100), 0.5, np.float32)
    other = same.copy()
    other[0, 1, 0, :2] = 0.75
    assert compare([other, same], [same, same]) == compare([same, other], [same, same])
    assert compare([same, other], [same, same]) == Parity(max_difference=0.25, flipped_share=0.002)
    assert compare([same], [same]) == Parity(max_difference=0.0, flipped_share=0.0)
    with pytest.raises(BundleError, match=r"0\.20% of the classes"):
        compare([same, other], [same, same]).check("x")


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_never_passes(wrong: float) -> None:
    same = np.full((1, 2, 10, 100), 0.5, np.float32)
    broken = same.copy()
    broken[0, 0, 3, 3] = wrong
    found = compare([broken], [same])
    assert found.max_difference == np.inf
    with pytest.raises(BundleError, match="differ by up to inf"):
        found.check("x")
