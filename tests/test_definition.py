"""Law 5 for definitions, what fao says, and that a class the map has not is answered with the nearest one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.core.legend import LandClass, Legend
from geoseg.definition import Definition, PatchRule, find_classes
from geoseg.errors import SettingsError
from geoseg.presets import dump, load_definition, parse, shipped

LEGEND = Legend(
    classes=tuple(
        LandClass(id=number, name=name, color="#00aa00")
        for number, name in [(0, "Other land"), (3, "Forest"), (7, "Mangrove")]
    )
)

words = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)
amounts = st.just(0.0) | st.floats(0, 1e9)
class_names = st.lists(words | st.integers(0, 199), min_size=1, max_size=3).map(tuple)
rules = st.builds(PatchRule, classes=class_names, min_area_m2=st.floats(0.1, 1e9), connectivity=st.sampled_from([4, 8]))
definitions = st.builds(
    Definition,
    name=words,
    term=words,
    source=words,
    note=words,
    classes=class_names,
    min_width_m=amounts,
    min_area_m2=amounts,
    min_gap_area_m2=amounts,
    connectivity=st.sampled_from([4, 8]),
    canopy_threshold_percent=st.none() | st.floats(0, 100),
    canopy_source=words,
    patches=st.lists(rules, max_size=2).map(tuple),
)


@given(definition=definitions)
def test_a_definition_survives_its_yaml(definition: Definition) -> None:
    again = parse(Definition, dump(definition), place="here")
    assert again == definition
    assert again.digest() == definition.digest()


@pytest.mark.parametrize("name", sorted(shipped("pipelines/definitions")))
def test_a_shipped_definition_has_the_name_of_its_file(name: str) -> None:
    assert load_definition(name).name == name


def test_fao_is_half_a_hectare_twenty_metres_and_ten_percent() -> None:
    fao = load_definition("fao")
    assert (fao.min_area_m2, fao.min_width_m, fao.canopy_threshold_percent) == (5000, 20, 10)
    assert "5 m" in fao.note
    assert "land use" in fao.note
    document = fao.to_json(LEGEND)
    assert document["classes"] == ["Forest"]
    assert document["term"] == "forest"
    assert len(document["sha256"]) == 64


def test_a_definition_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{name: mine, term: tree cover, source: us, classes: [3, mangrove], min_area_m2: 1000}")
    mine = load_definition(str(path))
    assert find_classes(mine.classes, LEGEND, place="mine") == (3, 7)
    assert mine.digest() != load_definition("fao").digest()


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("forrest",), "did you mean Forest"),
        ((9,), "class 9 is not"),
        (("zzz",), "it has Other land, Forest"),
    ],
)
def test_an_unknown_class_is_answered_with_the_nearest(classes: tuple[int | str, ...], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        find_classes(classes, LEGEND, place="fao")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("canopy_threshold_percent: 10", "canopy_source"),
        ("min_area: 3", "did you mean min_area_m2"),
        ("min_area_m2: -1", "min_area_m2 = -1"),
        ("min_width_m: .inf", "min_width_m"),
        ("connectivity: 6", "connectivity = 6"),
        ("patches: [{classes: [], min_area_m2: 4}]", "classes"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(f"name: wrong\nterm: t\nsource: s\nclasses: [1]\n{text}\n")
    with pytest.raises(SettingsError, match=words) as caught:
        load_definition(str(path))
    assert "\n" not in str(caught.value)
    assert "wrong.yaml" in str(caught.value)


def test_a_name_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean fao"):
        load_definition("fa0")
