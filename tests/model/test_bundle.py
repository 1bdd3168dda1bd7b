"""Bundles: what is packed is what is loaded; damage and wrong keys are refused in one line."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import BundleError
from geoseg.model.bundle import BundleSpec, load_bundle, pack_bundle, shipped_bundles
from geoseg.model.spec import dump_spec, parse_spec
from geoseg.model.weights import read_state
from tests.model.bundles import tiny_bundle

TEXT = st.text(max_size=20)
CLASS_NAME = TEXT.filter(lambda name: bool(name.strip()) and name.isprintable())
NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=64)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def specs(draw: st.DrawFn) -> BundleSpec:
    divisor = draw(st.sampled_from([1, 8, 16, 32]))
    gsd_m = draw(st.floats(0.1, 100))
    names = draw(st.lists(TEXT.filter(bool), min_size=1, max_size=4, unique=True))
    return BundleSpec.model_validate(
        {
            "name": "a",
            "version": draw(TEXT.filter(bool)),
            "description": draw(TEXT),
            "architecture": draw(TEXT.filter(bool)),
            "options": draw(st.dictionaries(TEXT, JSON, max_size=3)),
            "bands": [{"name": name, "scale": draw(NUMBER), "mean": draw(NUMBER)} for name in names],
            "level": draw(st.sampled_from(["toa", "surface", "display8", "any"])),
            "dtype": draw(st.sampled_from(["uint8", "uint16", "float32", "any"])),
            "conversions": [
                {
                    "from_level": "toa",
                    "from_dtype": "uint16",
                    "scale": draw(NUMBER),
                    "clip_max": draw(st.none() | NUMBER),
                    "round": draw(st.booleans()),
                }
            ],
            "gsd_m": gsd_m,
            "gsd_min_m": gsd_m / 2,
            "gsd_max_m": gsd_m * 2,
            "legend": [{"id": 3, "name": draw(CLASS_NAME), "color": "#00fF00"}],
            "divisor": divisor,
            "min_size": divisor,
            "margin_tolerance": divisor * 2,
            "margin_exact": draw(st.none() | st.just(divisor * 3)),
            "licence": draw(TEXT.filter(bool)),
            "training_data": {"inputs": draw(st.dictionaries(TEXT, TEXT, max_size=3)), "procedural_seeds": [1, 2]},
            "metrics": draw(st.dictionaries(TEXT, JSON, max_size=3)),
            "weights_sha256": "0123456789abcdef" * 4,
            "forest_definition": draw(st.none() | TEXT),
        }
    )


@given(specs())
def test_a_spec_survives_its_yaml(spec: BundleSpec) -> None:
    assert parse_spec(dump_spec(spec), place="bundle.yaml") == spec


def test_every_field_says_what_it_is() -> None:
    for name, field in BundleSpec.model_fields.items():
        assert field.description, name


def test_what_is_packed_is_loaded_by_folder_and_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tiny_bundle(tmp_path / "b", bands=["red", "nir"], classes=3)
    monkeypatch.chdir(tmp_path)
    loaded = load_bundle("b")
    assert loaded == packed
    assert loaded.spec == packed.spec
    assert Path(loaded.path).is_absolute()
    assert loaded.legend.ids == (0, 1, 2)
    assert loaded.spec.band_names == ("red", "nir")
    both = (tmp_path / "b/bundle.yaml").read_bytes() + (tmp_path / "b/model.safetensors").read_bytes()
    assert loaded.sha256 == hashlib.sha256(both).hexdigest()


def test_a_shipped_name_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    shipped = tiny_bundle(package / "bundles" / "forest-x", seed=1)
    tiny_bundle(tmp_path / "forest-x", seed=2)
    monkeypatch.setattr("geoseg.model.bundle.resources.files", lambda _name: package)
    monkeypatch.chdir(tmp_path)
    assert load_bundle("forest-x") == shipped
    assert load_bundle("./forest-x") != shipped
    assert shipped_bundles() == ("forest-x",)
    with pytest.raises(BundleError, match=r"no bundle 'forrest-x': did you mean forest-x\?"):
        load_bundle("forrest-x")


def test_a_folder_without_a_contract_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: it has no bundle\.yaml"):
        load_bundle(str(tmp_path))


def test_weights_are_float16_where_they_fit_and_statistics_keep_their_range(tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "weight": np.array([[1 / 3, 70.0]]),
        "wide": np.array([[1e6, 1.0]]),
        "running_var": np.array([1e-9, 3.0], np.float32),
        "count": np.array(7),
    }
    bundle = pack_bundle(tmp_path / "b", fields(), state)
    stored = {name: tensor.numpy() for name, tensor in read_state(bundle.weights).items()}
    assert {name: array.dtype.name for name, array in stored.items()} == {
        "weight": "float16",
        "wide": "float32",
        "running_var": "float32",
        "count": "int64",
    }
    assert stored["count"].shape == ()
    np.testing.assert_array_equal(stored["weight"], state["weight"].astype(np.float16))
    np.testing.assert_array_equal(stored["running_var"], state["running_var"])


def test_the_same_state_gives_the_same_bundle(tmp_path: Path) -> None:
    assert tiny_bundle(tmp_path / "a", "unet").sha256 == tiny_bundle(tmp_path / "b", "unet").sha256
    assert tiny_bundle(tmp_path / "a", "unet").sha256 != tiny_bundle(tmp_path / "c", "unet", seed=1).sha256


def test_weights_that_are_not_finite_are_not_packed(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="weights w hold NaN"):
        pack_bundle(tmp_path / "b", fields(), {"w": np.array([np.nan])})
    assert not (tmp_path / "b").exists()


def test_a_handle_is_small_and_leaves_its_training_inputs_behind(tmp_path: Path) -> None:
    inputs = {f"tile_{k}.tif": "0" * 64 for k in range(1000)}
    bundle = tiny_bundle(tmp_path / "b", training_data={"inputs": inputs, "attribution": "them"})
    content = pickle.dumps(bundle)
    assert len(content) < 10_000
    back = pickle.loads(content)
    assert back == bundle
    assert back.spec.training_data.attribution == "them"
    assert len(bundle.spec.training_data.inputs) == 1000


def test_a_byte_changed_in_the_weights_is_seen(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    content = bytearray(bundle.weights.read_bytes())
    content[-1] ^= 1
    bundle.weights.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.safetensors is damaged: sha256 .*get the bundle again"):
        load_bundle(bundle.path)


def test_missing_weights_are_said(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    bundle.weights.unlink()
    with pytest.raises(BundleError, match=r"model\.safetensors cannot be read: No such file"):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temprature": 2}, r"key temprature is not known: did you mean temperature\?"),
        ({"zzz": 2}, "key zzz is not known: known keys: name, version"),
        ({"bands": [{"name": "red", "stdd": 1}]}, r"key bands\.0\.stdd is not known: did you mean std\?"),
        ({"training_data": {"input": {}}}, r"key training_data\.input is not known: did you mean inputs\?"),
        ({"temperature": 0}, "temperature = 0: Input should be greater than 0"),
        ({"temperature": float("nan")}, "temperature = nan: Input should be"),
        ({"level": "TOA"}, "level = 'TOA': Input should be 'toa'"),
        ({"bands": [{"name": "red"}, {"name": "red"}]}, "names one twice"),
        ({"gsd_min_m": 11}, r"gsd_m 10\.0 is not between"),
        ({"divisor": 16, "min_size": 24}, "min_size 24 is not a multiple of divisor 16"),
        ({"margin_exact": 5, "divisor": 2, "min_size": 2}, "margin_exact 5 is not a multiple"),
        ({"legend": [{"id": 1, "name": "a", "color": "red"}]}, "color 'red' is not #rrggbb"),
        ({"weights_sha256": "abc"}, "weights_sha256 = 'abc'"),
        ({"name": "../evil"}, r"name = '\.\./evil'"),
        ({"licence": None}, "licence = None"),
    ],
)
def test_a_wrong_key_is_named_with_file_value_and_remedy(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    file = tmp_path / "b" / "bundle.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **change}))
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(bundle.path)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not readable YAML"),
        ("- 1", "holds no keys"),
        ("", "holds no keys"),
        ("name: a\nname: b", "line 2: key 'name' is there twice"),
        ("a: &x [1]\nb: *x", "aliases are not allowed"),
        ("a: !!python/object/apply:os.getcwd []", "is not readable YAML"),
        ("? [1, 2]\n: 3", "is not readable YAML"),
        ("name: a", "key version is missing"),
    ],
)
def test_yaml_that_is_none_or_tricky_is_refused(text: str, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        parse_spec(text, place="b/bundle.yaml")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_and_files_that_are_too_large_are_refused(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    file = tmp_path / "b" / "bundle.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match="is not UTF-8"):
        load_bundle(bundle.path)
    file.write_bytes(b"#" * (2 << 20))
    with pytest.raises(BundleError, match="is larger than"):
        load_bundle(bundle.path)


def test_bundles_import_no_torch() -> None:
    code = "import geoseg.model.bundle, sys; print('torch' in sys.modules, 'rasterio' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


def fields() -> dict[str, Any]:
    return {
        "name": "b",
        "version": "1",
        "architecture": "pointwise",
        "bands": [{"name": "red"}],
        "level": "any",
        "dtype": "any",
        "gsd_m": 10,
        "gsd_min_m": 10,
        "gsd_max_m": 10,
        "legend": [{"id": 0, "name": "a", "color": "#000000"}],
        "divisor": 1,
        "min_size": 1,
        "margin_tolerance": 0,
        "licence": "CC0-1.0",
    }
