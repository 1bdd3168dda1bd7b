"""What a bundle was not made for is refused with the remedy; what it takes enters by the declared conversion."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoseg.errors import BundleError
from geoseg.model.bundle import BundleSpec, Conversion, check_scene, infer_level
from tests.model.bundles import tiny_bundle

TOA_TO_DISPLAY = {
    "from_level": "toa",
    "from_dtype": "uint16",
    "from_scale": 0.0001,
    "scale": 255 / 3558,
    "offset": 1.0,
    "clip_min": 0,
    "clip_max": 255,
    "round": True,
}


def spec(tmp_path: Path, **fields: Any) -> BundleSpec:
    return tiny_bundle(tmp_path / "b", **{"gsd_min_m": 8, "gsd_max_m": 15, **fields}).spec


def check(of: BundleSpec, **scene: Any) -> Conversion | None:
    usual: dict[str, Any] = {
        "scene_name": "scene.tif",
        "band_names": ["red", "green", "blue"],
        "level": "display8",
        "dtype": "uint8",
        "gsd_m": 10.0,
    }
    return check_scene(of, **{**usual, **scene})


def test_the_scene_it_was_made_for_enters_as_it_is(tmp_path: Path) -> None:
    assert check(spec(tmp_path)) is None
    assert check(spec(tmp_path), band_names=["nir", "blue", "green", "red"]) is None
    assert check(spec(tmp_path), encoding=(1.0, 0.0)) is None


def test_three_uint8_bands_without_a_level_are_a_display_image_and_this_is_said(tmp_path: Path) -> None:
    assert check(spec(tmp_path), level=None) is None
    level, said = infer_level(None, dtype="uint8", band_count=3)
    assert level == "display8"
    assert said is not None
    assert "display8" in said
    assert infer_level(None, dtype="uint16", band_count=3) == (None, None)
    assert infer_level(None, dtype="uint8", band_count=6) == (None, None)
    assert infer_level("toa", dtype="uint8", band_count=3) == ("toa", None)


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (
            {"band_names": ["red", "band 2"]},
            r"scene\.tif has no green, blue \(known: red, band 2\); bundle 'tiny-pointwise' needs red, green, blue: "
            r"name them with --bands, e\.g\. --bands red=1,green=2,blue=3",
        ),
        ({"band_names": []}, r"has no red, green, blue \(known: none\)"),
        ({"gsd_m": 0.5}, r"pixels of 0\.5 m on the ground; .* accepts 8 to 15 m: resample it to 10 m"),
        ({"gsd_m": 15.01}, "accepts 8 to 15 m"),
        ({"gsd_m": float("nan")}, "accepts 8 to 15 m"),
        (
            {"level": None, "dtype": "uint16"},
            r"does not say what its uint16 values mean; .* takes display8: say what its values mean with "
            r"--radiometry toa\|surface\|display8",
        ),
        (
            {"level": "surface", "dtype": "uint16"},
            "holds uint16 surface values; .* accepts uint8 display8 or uint16 toa",
        ),
        ({"level": "toa", "dtype": "float32"}, "holds float32 toa values"),
        ({"level": "display8", "dtype": "uint16"}, "holds uint16 display8 values"),
        ({"level": "toa", "dtype": "uint8"}, "holds uint8 toa values"),
    ],
)
def test_what_it_was_not_made_for_is_refused_with_the_remedy(
    scene: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=message):
        check(spec(tmp_path, conversions=[TOA_TO_DISPLAY]), **scene)


def test_a_declared_conversion_is_found(tmp_path: Path) -> None:
    found = check(spec(tmp_path, conversions=[TOA_TO_DISPLAY]), level="toa", dtype="uint16")
    assert found == Conversion.model_validate(TOA_TO_DISPLAY)


def test_a_conversion_follows_the_encoding_a_scene_states(tmp_path: Path) -> None:
    """Sentinel-2 since baseline 04.00: reflectance = (DN - 1000) / 10000; the same ground must look the same."""
    of = spec(tmp_path, conversions=[TOA_TO_DISPLAY])
    old = check(of, level="toa", dtype="uint16")
    new = check(of, level="toa", dtype="uint16", encoding=(0.0001, -0.1))
    assert old is not None
    assert new is not None
    reflectance = np.linspace(0, 0.4, 9)
    before = reflectance * 10000 * old.scale + old.offset
    after = (reflectance * 10000 + 1000) * new.scale + new.offset
    np.testing.assert_allclose(after, before, atol=1e-9)
    assert (new.clip_max, new.round) == (255, True)


def test_a_stated_encoding_is_brought_into_that_of_the_bands(tmp_path: Path) -> None:
    bands = [{"name": "red", "scale": 0.0001, "offset": -0.1, "mean": 0.2, "std": 0.1}]
    of = spec(tmp_path, bands=["red"], level="surface").model_copy()
    of = BundleSpec.model_validate({**of.model_dump(), "bands": bands})
    scene = {"band_names": ["red"], "level": "surface"}
    assert check(of, dtype="uint16", encoding=(0.0001, -0.1), **scene) is None
    landsat = check(of, dtype="int16", encoding=(0.0000275, -0.2), **scene)
    assert landsat is not None
    reflectance = 20000 * 0.0000275 - 0.2
    assert (20000 * landsat.scale + landsat.offset) * 0.0001 - 0.1 == pytest.approx(reflectance)


def test_an_encoding_is_refused_where_the_bands_are_scaled_unlike_each_other(tmp_path: Path) -> None:
    of = spec(tmp_path, bands=["red", "nir"], level="surface")
    bands = [{"name": "red", "scale": 0.0001}, {"name": "nir", "scale": 0.001}]
    of = BundleSpec.model_validate({**of.model_dump(), "bands": bands})
    with pytest.raises(BundleError, match=r"states scale 0\.0002, offset 0; .* scales its bands differently"):
        check(of, band_names=["red", "nir"], level="surface", dtype="uint16", encoding=(0.0002, 0.0))


def test_a_bundle_for_any_level_takes_any(tmp_path: Path) -> None:
    of = spec(tmp_path, level="any")
    assert check(of, level=None, dtype="float64") is None
    assert check(of, level="toa", dtype="int16", encoding=(0.5, 3.0)) is None
