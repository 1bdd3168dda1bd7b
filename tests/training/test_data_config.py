"""What YAML may say of the data, and which class a value of the labels becomes."""

from typing import Any

import pytest

from geoseg.errors import InputError, SettingsError
from geoseg.presets import dump, parse
from geoseg.training.config import TrainConfig
from geoseg.training.config_data import DataConfig, LabelledSceneConfig
from geoseg.workflows.labelled_scenes import _class_of

TEXT = """
scenes:
  - {scene: may.tif, labels: a.gpkg, field: class, bands: {red: 3}, remap: {wood: 0, orchard: 0, 7: 1}, ignore: [5]}
  - {scene: july, labels: cover.tif, ignore: [0], remap: {10: 0, 40: 1}}
blocks: {side_m: 2000, held_share: 0.2, test_share: 0.1}
sampling: {class_weights: [1, 3]}
"""


def test_numbers_in_yaml_are_values_of_labels_and_come_back() -> None:
    data = parse(DataConfig, TEXT, place="run.yaml")
    first, second = data.scenes
    assert first.remap == {"wood": 0, "orchard": 0, "7": 1}
    assert first.ignore == ("5",)
    assert first.bands == {"red": "3"}
    assert second.remap == {"10": 0, "40": 1}
    assert parse(DataConfig, dump(data), place="again") == data
    assert data.is_held


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scenes": [{"scene": "a.tif", "labels": "b.tif", "remap": {"1": 5}}]}, "remap gives class 5; there are 2"),
        ({"scenes": [{"scene": "a.tif", "labels": "b.tif", "remap": {"1": 0}, "ignore": ["1"]}]}, "in remap and in ig"),
        ({"sampling": {"class_weights": [1]}}, "class_weights has 1 values; there are 2 classes"),
        ({"blocks": {"by": "checkerboard", "test_share": 0.1}}, "a checkerboard has two colours"),
        ({"scenes": [{"scene": "a.tif", "labels": "b.tif"}]}, "procedural.seeds and clouds.images go with tiles.csv"),
        ({"blocks": {"side": 3}}, "unknown key data.blocks.side"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(
    small_config: TrainConfig, change: dict[str, Any], message: str
) -> None:
    content = small_config.model_dump(mode="json")
    content["data"] |= change
    import yaml

    with pytest.raises(SettingsError, match=message):
        parse(TrainConfig, yaml.safe_dump(content), place="run.yaml")


def test_a_value_becomes_the_class_it_is_mapped_to_or_nothing() -> None:
    mapped = LabelledSceneConfig(scene="a", labels="b", remap={"wood": 1, "255": 0}, ignore=("5",))  # type: ignore[arg-type]
    plain = LabelledSceneConfig(scene="a", labels="b", ignore=("4",))  # type: ignore[arg-type]

    def class_of(value: str, one: LabelledSceneConfig) -> int | None:
        return _class_of(value, one, classes=3, place="parcels.gpkg")

    assert [class_of(value, mapped) for value in ("wood", "255", "5", "other")] == [1, 0, None, None]
    assert [class_of(value, plain) for value in ("2", "4", "255", "feature 3 (no name)")] == [2, None, None, None]
    with pytest.raises(InputError, match=r"parcels\.gpkg: the value 'wood' is no class id: give it one"):
        class_of("wood", plain)
    with pytest.raises(InputError, match="the value '3' is no class id"):
        class_of("3", plain)
