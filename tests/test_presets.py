"""Law 5 for pipelines and configs, and that a wrong key is answered with file, key, value and the nearest key."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.config import Config
from geoseg.errors import SettingsError
from geoseg.pipeline import InferenceSection, Pipeline, PolygonsSection, SceneSection, TilingSection
from geoseg.presets import dump, load_config, load_pipeline, parse, shipped

words = st.text(min_size=1, max_size=20)
pipelines = st.builds(
    Pipeline,
    name=words,
    description=st.text(max_size=40),
    model=words,
    scene=st.builds(
        SceneSection,
        bands=st.dictionaries(words, words, max_size=4),
        level=st.sampled_from([None, "toa", "surface", "display8"]),
        collar=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    ),
    tiling=st.builds(
        TilingSection,
        tile=st.integers(16, 8192),
        margin=st.sampled_from(["tolerance", "exact"]) | st.integers(0, 500),
        ramp=st.integers(0, 500),
        window=st.sampled_from(["hann", "linear", "crop"]),
    ),
    inference=st.builds(
        InferenceSection,
        engine=st.sampled_from(["auto", "torch-cpu", "torch-cuda"]),
        precision=st.sampled_from(["auto", "fp32", "bf16"]),
        batch=st.integers(1, 64),
    ),
    polygons=st.builds(PolygonsSection, format=st.sampled_from(["gpkg", "parquet", "fgb", "geojson"])),
    products=st.sampled_from([("classes",), ("classes", "confidence", "areas", "polygons")]),
)
configs = st.builds(
    Config,
    name=words,
    device=st.sampled_from(["auto", "cpu", "cuda", "cuda:3"]),
    threads=st.integers(0, 64),
    gdal_cache_mb=st.integers(16, 4096),
    panel_width=st.integers(1, 40).map(lambda k: 512 * k),
)


@given(pipeline=pipelines)
def test_a_pipeline_survives_its_yaml(pipeline: Pipeline) -> None:
    again = parse(Pipeline, dump(pipeline), place="here")
    assert again == pipeline
    assert again.digest() == pipeline.digest()


@given(config=configs)
def test_a_config_survives_its_yaml(config: Config) -> None:
    assert parse(Config, dump(config), place="here") == config


def test_every_shipped_file_loads_under_its_own_name() -> None:
    assert {name: load_pipeline(name).name for name in shipped("pipelines")} == {
        name: name for name in shipped("pipelines")
    }
    assert {name: load_config(name).name for name in shipped("configs")} == {name: name for name in shipped("configs")}
    assert "forest" in shipped("pipelines")
    assert "laptop" in shipped("configs")


def test_overrides_reach_any_key() -> None:
    pipeline = load_pipeline("forest", overrides=["tiling.margin=64", "scene.bands.red=3", "products=[classes]"])
    assert (pipeline.tiling.margin, pipeline.products) == (64, ("classes",))
    assert load_config("laptop", overrides=["threads=2"]).threads == 2


def test_the_digest_is_of_what_may_change_a_pixel() -> None:
    forest = load_pipeline("forest")
    assert load_pipeline("forest", overrides=["description=other words"]).digest() == forest.digest()
    assert load_pipeline("forest", overrides=["tiling.tile=256"]).digest() != forest.digest()


@pytest.mark.parametrize(
    ("override", "words_"),
    [
        ("tiling.margn=64", "unknown key tiling.margn: did you mean margin?"),
        ("tilling.margin=64", "unknown key tilling: did you mean tiling?"),
        ("tiling.tile=3", "tiling.tile = 3: Input should be greater than or equal to 16"),
        ("tiling.margin=-32", "-32: Input should be greater than or equal to 0"),
        ("scene.collar=.nan", "Input should be a finite number"),
        ("tiling.tile", "write KEY=VALUE"),
        ("products=[areas]", "products must contain classes"),
        ("tiling.window=hamming", "'hann', 'linear' or 'crop'"),
    ],
)
def test_a_wrong_override_is_answered_in_one_line(override: str, words_: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_pipeline("forest", overrides=[override])
    assert words_ in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean forest"):
        load_pipeline("forrest")


@pytest.mark.parametrize("text", ["", "[]", "name: [", "just words", "[" * 5000], ids=range(5))
def test_a_file_that_is_no_mapping_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"mine\.yaml"):
        load_pipeline(str(path))
