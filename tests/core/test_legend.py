"""What a legend refuses: ids and names that a map or a terminal could not carry."""

import pytest

from geoseg.core.legend import LandClass, Legend


@pytest.mark.parametrize(
    ("class_id", "name", "color", "said"),
    [
        (200, "forest", "#00ff00", "not in 0"),
        (-1, "forest", "#00ff00", "not in 0"),
        (1, " ", "#00ff00", "has no name"),
        (1, "for\x1b[2Jest", "#00ff00", "control characters"),
        (1, "\t=HYPERLINK(1)", "#00ff00", "control characters"),
        (1, "\r=HYPERLINK(1)", "#00ff00", "control characters"),
        (1, "forest", "green", "is not #rrggbb"),
    ],
)
def test_a_class_that_cannot_be_shown_is_refused(class_id: int, name: str, color: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LandClass(id=class_id, name=name, color=color)


def test_a_legend_is_ascending_and_names_each_class_once() -> None:
    one, two = (LandClass(id=k, name=f"class {k}", color="#102030") for k in (3, 1))
    with pytest.raises(ValueError, match="unique and ascending"):
        Legend(classes=(one, two))
    legend = Legend(classes=(two, one))
    assert legend.ids == (1, 3)
    assert legend.name_of(3) == "class 3"
    assert two.rgb == (16, 32, 48)
    with pytest.raises(ValueError, match="not unique"):
        Legend(classes=(two, LandClass(id=4, name="class 1", color="#102030")))
