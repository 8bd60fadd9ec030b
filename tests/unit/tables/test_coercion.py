"""Values as callers have them: what is taken, and that all else is named in one line, column and row."""

import json
from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle.tables import (
    MISSING,
    OBSERVED,
    UNKNOWN,
    CategoryColumn,
    CellError,
    Cells,
    NumericColumn,
    Schema,
    cells_of_columns,
    cells_of_rows,
    column_values,
    draw,
)
from tests.support.table_schemas import dates, number, parameters_of, people, schemas, uniforms_of

PEOPLE = people()
PERSON = {
    "age": 39,
    "work": "Private",
    "height": 1.82,
    "member": True,
    "joined": "2022-01-08",
    "left": "2022-01-11",
}


def cell(name, value, **options):
    cells = cells_of_rows(PEOPLE, [PERSON, {**PERSON, name: value}], **options)
    place = PEOPLE.place[name]
    return cells.values[1, place], cells.states[1, place]


@given(schemas(), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_values_come_back(schema, seed):
    """What is shown to users is taken again as the same cells: as columns, as rows, and through JSON."""
    drawn = draw(schema, parameters_of(schema, 20, seed), uniforms_of(schema, 20, seed))
    columns = column_values(schema, drawn)
    assert list(columns) == [column.name for column in schema.columns]
    rows = json.loads(
        json.dumps([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])
    )
    for came in (cells_of_columns(schema, columns), cells_of_rows(schema, rows)):
        assert (came.states == drawn.states).all()
        np.testing.assert_array_equal(came.values, drawn.values)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("age", "39", 39),
        ("age", 39.0, 39),
        ("age", np.int64(39), 39),
        ("age", " 39 ", 39),
        ("height", "1.8e0", 1.8),
        ("height", np.float32(1.5), 1.5),
        ("work", "State", 1),
        ("work", " State\n", 1),
        ("member", False, 0),
        ("member", 1, 1),
        ("member", "YES", 1),
        ("member", np.bool_(False), 0),
        ("joined", "2022-01-08T12:00:00", 19000.5 * 86400),
        ("joined", date(2022, 1, 8), 19000 * 86400),
        ("joined", datetime(2022, 1, 8, 6), 19000.25 * 86400),
        ("joined", np.datetime64("2022-01-08"), 19000 * 86400),
    ],
)  # fmt: skip
def test_what_is_taken(name, value, wanted):
    """Numbers as text, spaces around it, numpy's scalars, the words that the data had."""
    assert cell(name, value) == (wanted, OBSERVED)


@pytest.mark.parametrize(
    ("name", "value", "wanted", "came"),
    [
        ("age", "old", "a whole number", "'old'"),
        ("age", "3_9", "a whole number", "'3_9'"),
        ("age", 39.5, "a whole number", "39.5"),
        ("age", True, "a whole number", "bool 'True'"),
        ("age", [39], "a whole number", "list"),
        ("age", 10**400, "a whole number", "inf"),
        ("age", 2**60, "a whole number of at most", "1.152921504606847e+18"),
        ("height", float("nan"), "a finite number", "nan"),
        ("height", "inf", "a finite number", "inf"),
        ("height", -1e101, "a finite number of at most 1e+100", "-1e+101"),
        ("height", {"m": 1}, "a number", "dict"),
        ("work", "Astronaut", "one of the 3 categories of the data ('Private', 'State', '(rest)')", "'Astronaut'"),
        ("work", ["Private"], "a category", "list"),
        ("member", "true", "true or false (as text no or yes)", "'true'"),
        ("member", 2, "true or false", "int '2'"),
        ("joined", "08/01/2022", "an ISO 8601 date", "'08/01/2022'"),
        ("joined", 1641600000, "an ISO 8601 date", "int"),
        ("joined", "2022-01-08T00:00:00Z", "a time without a zone", "'2022-01-08T00:00:00Z'"),
        ("joined", "2022-02-30", "an ISO 8601 date", "'2022-02-30'"),
    ],
)  # fmt: skip
def test_what_is_refused(name, value, wanted, came):
    """In one line: which column, which row, what was wanted and what came."""
    with pytest.raises(CellError) as refused:
        cell(name, value)
    error = refused.value
    assert (error.column, error.row) == (name, 1)
    assert wanted in error.wanted
    assert came in error.came
    assert str(error) == f"column '{name}', row 1: want {error.wanted}, came {error.came}"


def test_a_time_needs_its_zone_where_the_data_had_zones():
    """Nothing is guessed of a time without a zone."""
    schema = Schema(columns=(dates("at", [0, 1], zone="utc", resolution=1.0),))
    taken = cells_of_rows(schema, [{"at": "1970-01-01T01:00:00+01:00"}, {"at": "1970-01-01T00:00:01Z"}])
    assert taken.values[:, 0].tolist() == [0, 1]
    with pytest.raises(CellError, match="want a time with its zone"):
        cells_of_rows(schema, [{"at": "1970-01-01T00:00:00"}])


def test_null_is_missing_where_cells_were_missing():
    """And unknown in a column that never had a missing cell: it is inferred, not scored."""
    assert cell("work", None) == (0, MISSING)
    assert cell("age", None) == (0, UNKNOWN)


@pytest.mark.parametrize(
    ("absent", "work", "age"), [("missing", MISSING, UNKNOWN), ("unknown", UNKNOWN, UNKNOWN)]
)
def test_columns_that_are_not_given(absent, work, age):
    """As null, or as unknown; in rows each row by itself."""
    rows = cells_of_rows(PEOPLE, [{"height": 1.5}, PERSON], absent=absent)
    columns = cells_of_columns(PEOPLE, {"height": [1.5, 1.6]}, absent=absent)
    for states, wanted in ((rows.states, [True, False]), (columns.states, [True, True])):
        for name, state in (("work", work), ("age", age)):
            came = states[:, PEOPLE.place[name]] == state
            assert came.tolist() == wanted


def test_columns_that_must_be_given():
    """Are named with the first row that lacks them."""
    with pytest.raises(CellError, match="column 'age', row 1: want a value of it, came none"):
        cells_of_rows(PEOPLE, [PERSON, {}], absent="refuse")
    with pytest.raises(CellError, match="column 'age': want a value of it, came none"):
        cells_of_columns(PEOPLE, {"height": [1.5]}, absent="refuse")


def test_columns_that_are_none_of_the_table():
    """Are refused with the name that was perhaps meant; those kept apart may be given, whatever they hold."""
    with pytest.raises(CellError, match=r"column 'agee', row 1: want a column of the table \('age'\?\)"):
        cells_of_rows(PEOPLE, [PERSON, {"agee": 1}])
    with pytest.raises(
        CellError, match=r"column 'zz': want a column of the table \(id, age, country, work, height, …\)"
    ):
        cells_of_columns(PEOPLE, {"zz": [1]})
    assert len(cells_of_rows(PEOPLE, [{**PERSON, "id": 5, "country": "DE"}])) == 1


def test_rows_of_the_wrong_shape():
    """A row that is no object, columns of different lengths."""
    with pytest.raises(CellError, match="row 1: want an object of columns and their values, came list"):
        cells_of_rows(PEOPLE, [PERSON, [1, 2]])
    with pytest.raises(CellError, match="column 'age': want 1 values, as in column 'height', came 2"):
        cells_of_columns(PEOPLE, {"height": [1.0], "age": [1, 2]})
    assert len(cells_of_rows(PEOPLE, [])) == len(cells_of_columns(PEOPLE, {})) == 0


def test_a_category_never_seen_can_be_one_of_the_rest():
    """If it is asked for, and if the data had rare categories."""
    assert cell("work", "Astronaut", unknown="rest") == (2, OBSERVED)
    schema = Schema(columns=(CategoryColumn(name="c", nullable=False, categories=("a",), rest=False),))
    with pytest.raises(CellError, match="none for the rest"):
        cells_of_rows(schema, [{"c": "b"}], unknown="rest")


def test_numbers_are_the_names_of_categories_too():
    """A code such as 94105 is the same category as text, as a number, and as 94105.0."""
    schema = Schema(
        columns=(CategoryColumn(name="zip", nullable=False, categories=("94105", "0.5"), rest=False),)
    )
    came = cells_of_columns(schema, {"zip": ["94105", 94105, 94105.0, 0.5, np.float64(0.5)]})
    assert came.values[:, 0].tolist() == [0, 0, 0, 1, 1]


def test_arrays_are_taken_as_lists_are():
    """numpy's arrays of numbers, text, booleans and times; NaT is null."""
    given_columns = {
        "age": np.array([39, 40], np.int16),
        "height": np.array([1.5, 1.6], np.float32),
        "member": np.array([True, False]),
        "work": np.array(["State", "Private"]),
        "left": np.array(["2022-01-09", "NaT"], "datetime64[D]"),
    }
    came = cells_of_columns(PEOPLE, given_columns)
    assert came.values[:, PEOPLE.place["left"]].tolist() == [19001 * 86400, 0]
    assert came.states[:, PEOPLE.place["left"]].tolist() == [OBSERVED, MISSING]
    assert came.values[:, PEOPLE.place["work"]].tolist() == [1, 0]
    with pytest.raises(CellError, match="column 'height', row 1: want a finite number"):
        cells_of_columns(PEOPLE, {**given_columns, "height": np.array([1.5, np.nan])})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from([*PERSON, "id", "country", "x"]), JSON), max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_json_is_taken_or_named(rows):
    """Cells that fit the schema come of it, or one line."""
    try:
        cells = cells_of_rows(PEOPLE, rows)
    except CellError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert refused.isprintable()
        return
    assert np.isfinite(cells.values).all()
    assert (cells.values[cells.states != OBSERVED] == 0).all()


def test_fresh_identifiers():
    """Numbers go on after the data's; those of a row are the same wherever a request is cut."""
    columns = column_values(PEOPLE, Cells.unknown(3, 6), first_row=10)
    assert columns["id"] == [111, 112, 113]
    assert columns["country"] == ["NL"] * 3
    assert columns["age"] == [None] * 3


def test_whole_numbers_and_decimals_are_shown_as_such():
    """int and float, booleans, dates without a time."""
    columns = column_values(PEOPLE, cells_of_rows(PEOPLE, [PERSON]))
    assert {name: columns[name][0] for name in PERSON} == PERSON
    assert type(columns["age"][0]) is int
    assert columns["member"] == [True]


@pytest.mark.parametrize(
    ("resolution", "seconds", "text"),
    [
        (60.0, 90060.0, "1970-01-02T01:01Z"),
        (1.0, 90061.0, "1970-01-02T01:01:01Z"),
        (0.001, 1.25, "1970-01-01T00:00:01.250Z"),
        (1e-6, -0.000001, "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_as_precise_as_the_data(resolution, seconds, text):
    """And come back as the same second."""
    schema = Schema(columns=(dates("at", [0, 1], zone="utc", resolution=resolution),))
    cells = Cells(np.array([[seconds]]), np.ones((1, 1), np.int8))
    assert column_values(schema, cells)["at"] == [text]
    assert cells_of_rows(schema, [{"at": text}]).values[0, 0] == pytest.approx(seconds, abs=1e-9)


def test_a_continuous_column_takes_any_finite_number():
    """Also one far from the data: its score is bounded, not its value."""
    schema = Schema(columns=(number("n", [0, 1]),))
    assert isinstance(schema.modelled[0], NumericColumn)
    assert cells_of_rows(schema, [{"n": -1e99}]).values[0, 0] == -1e99


@pytest.mark.parametrize("text", ["", " ", "?", "NA", "null", "NaN"])
def test_texts_for_missing_values_are_null(text):
    """As files have them; a kind of that name stays one."""
    assert cell("work", text) == (0, MISSING)
    assert cell("age", text) == (0, UNKNOWN)
    schema = Schema(columns=(CategoryColumn(name="c", nullable=True, categories=("None", "b"), rest=False),))
    assert cells_of_rows(schema, [{"c": "None"}]).states[0, 0] == OBSERVED
