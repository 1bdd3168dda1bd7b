"""What people write into a sample: every way of it is counted, and what cannot be understood is refused."""

import pytest

from geoseg.accuracy.response import Responses, read_responses
from geoseg.errors import ProductError
from tests.accuracy.designs import make_design

Row = tuple[object, ...]


def read(*rows: Row, columns: str = "sample_id reference_class interpreter") -> Responses:
    table = [dict(zip(columns.split(), map(str, row), strict=True)) for row in rows]
    return read_responses(table, make_design(), place="points.csv")


def test_labels_are_names_in_any_case_or_ids() -> None:
    found = read((1, "other  LAND", ""), (2, " FORÊT", ""), ("3.0", "0", ""), ("4,00", "'forêt", ""), (5, "1", ""))
    assert found.labels == {1: 0, 2: 1, 3: 0, 4: 1, 5: 7}  # a name wins over an id: class 7 is called 1
    assert (found.rows, found.blank, found.missing) == (5, 5, 5)


def test_blank_and_uninterpretable_points_are_counted() -> None:
    found = read((1, "", "ann"), (2, "?", "ann"), (3, "Uninterpretable", "ann"), (4, "0", "ann"))
    assert found.labels == {4: 0}
    assert (found.blank, found.missing, found.uninterpretable) == (7, 6, 2)
    assert found.interpreters == ("ann",)


def test_two_interpreters_agree_differ_or_are_settled() -> None:
    found = read(
        (1, "0", "ann"), (1, "Other land", "Bob"),
        (2, "0", "ann"), (2, "forêt", "Bob"),
        (3, "0", "ann"), (3, "forêt", "Bob"), (3, "forêt", "Consensus"),
        (4, "0", "ann"), (4, "", "Bob"),
        (5, "0", "ann"), (5, "?", "Bob"),
        (6, "?", "ann"), (6, "?", "Bob"),
    )  # fmt: skip
    assert found.labels == {1: 0, 3: 1, 4: 0}
    assert (found.doubly, found.agreed, found.consensus) == (5, 2, 1)
    assert (found.disagreements, found.uninterpretable, found.blank) == (2, 1, 4)
    assert found.interpreters == ("Bob", "ann")
    assert found.to_json("points.csv")["agreement"] == 0.4


def test_a_point_twice_by_one_interpreter_counts_once_and_not_at_all_if_it_differs() -> None:
    found = read((1, "0", ""), (1, "0", ""), (1, "", ""), (2, "0", "ann"), (2, "forêt", "ANN"))
    assert found.labels == {1: 0}
    assert (found.duplicates, found.disagreements, found.doubly) == (3, 1, 0)
    assert found.to_json("points.csv")["agreement"] is None


def test_every_point_ends_in_one_place() -> None:
    found = read((1, "0", ""), (2, "?", ""), (3, "", ""), (4, "0", "a"), (4, "forêt", "b"))
    assert len(found.labels) + found.blank + found.uninterpretable + found.disagreements == 10


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((1, "foret", ""), "sample_id 1 is labelled 'foret', no class of the map: did you mean 'forêt'"),
        ((1, "99", ""), "'99', no class of the map: write one of Other land, forêt, 1, an id, or \\?"),
        ((11, "0", ""), "sample_id '11' is not of the sample, which has 1 to 10"),
        (("x", "0", ""), "sample_id 'x' is not of the sample"),
        (("", "0", ""), "sample_id '' is not of the sample"),
    ],
)
def test_what_is_not_of_the_sample_is_refused(row: Row, words: str) -> None:
    with pytest.raises(ProductError, match=words):
        read(row)


def test_points_must_lie_where_the_design_has_them() -> None:
    """Point 1 is in row 0, column 1 of a 10 m grid at (500000, 5000000)."""
    columns = "sample_id reference_class x y"
    assert read((1, "0", 500015.0, 4999995.0), columns=columns).has_coordinates
    assert read((1, "0", "500015,0", "4999995,0"), columns=columns).labels == {1: 0}
    assert read((1, "0", "", ""), columns=columns).labels == {1: 0}
    with pytest.raises(ProductError, match=r"sample_id 1 lies at \(500025, 4999995\), in the design at \(500015"):
        read((1, "0", 500025.0, 4999995.0), columns=columns)


def test_rows_whose_place_was_not_compared_are_counted() -> None:
    """What cannot be read is no proof: a German thousands point, nothing, not a number."""
    found = read(
        (1, "0", 500015.0, 4999995.0), (2, "0", "500.025,0", "4.999.995,0"), (3, "0", "", ""), (4, "0", "nan", "inf"),
        columns="sample_id reference_class x y",
    )  # fmt: skip
    assert (found.rows, found.placed, found.has_coordinates) == (4, 1, False)
    assert found.to_json("x")["placed"] == 1


def test_a_geometry_that_was_moved_is_refused() -> None:
    """Its columns x and y stay as they were written."""
    rows = [{"sample_id": "1", "reference_class": "0", "x": "500015", "y": "4999995"}]
    here = {"geometry x": "500015", "geometry y": "4999999"}
    assert read_responses([rows[0] | here], make_design(), place="points.gpkg").has_coordinates
    with pytest.raises(ProductError, match=r"lies at \(500015, 5000010\).*points moved"):
        read_responses([rows[0] | here | {"geometry y": "5000010"}], make_design(), place="points.gpkg")


def test_a_row_must_have_the_class_and_stratum_of_its_point() -> None:
    columns = "sample_id reference_class map_class stratum"
    assert read((1, "0", "OTHER  land", "0"), (5, "0", "forêt", ""), columns=columns).labels == {1: 0, 5: 0}
    with pytest.raises(ProductError, match=r"sample_id 1 has map_class 'forêt', in the design 'Other land': rows were"):
        read((1, "0", "forêt", "Other land"), columns=columns)
    with pytest.raises(ProductError, match=r"sample_id 5 has stratum 'Other land', in the design 'forêt'.*delete it"):
        read((5, "0", "", "Other land"), columns=columns)


def test_columns_may_have_other_cases_and_must_be_there() -> None:
    assert read((1, "0"), columns="SAMPLE_ID Reference_Class").labels == {1: 0}
    with pytest.raises(ProductError, match=r"no column reference_class \(it has sample_id, label\).*--class-column"):
        read((1, "0"), columns="sample_id label")
    with pytest.raises(ProductError, match="no column sample_id"):
        read((1, "0"), columns="id reference_class")
    with pytest.raises(ProductError, match=r"points\.csv holds no point"):
        read()
