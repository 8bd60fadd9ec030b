"""Which columns of a file are said to follow from another one, and which are not."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle.tables import MISSING, DerivedColumn, column_values
from training.modalities.table.reading import describe, read_table, read_with_schema
from training.training_error import TrainingError

DEGREES = ("BSc", "MSc", "PhD", "left")
YEARS = {"BSc": 3, "MSc": 5, "PhD": 9, "left": 0}
ROWS = 400


def drawn(count=ROWS, seed=0, kinds=DEGREES):
    """So many of these, in no order."""
    return [kinds[i] for i in np.random.default_rng(seed).integers(0, len(kinds), count).tolist()]


@pytest.fixture
def table(tmp_path):
    """A function that reads a table of these columns, as a file has them."""

    def read(columns, /, *, label=None, schema=None, **overrides):
        path, said = tmp_path / "data.csv", tmp_path / "schema.json"
        rows = zip(*columns.values(), strict=True)
        path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows), ""]))
        said.write_text(json.dumps(overrides))
        if schema is not None:
            return read_with_schema(path, schema, overrides=said)
        return read_table(path, label=label, overrides=said)

    return read


def follows(found):
    """From the name of a derived column to that of its source."""
    return {column.name: column.of for column in found.schema.derived}


def test_any_kind_of_column_can_follow(table):
    """Numbers, categories, booleans and times, in their own types, missing ones included; what is written comes back."""
    degree = drawn()
    columns = {
        "years": [YEARS[d] for d in degree],
        "share": [YEARS[d] / 4 if d != "left" else "" for d in degree],
        "degree": degree,
        "title": ["Dr" if d == "PhD" else "?" if d == "BSc" else "Mx" for d in degree],
        "high": ["no" if d in ("BSc", "left") else "yes" for d in degree],
        "since": [f"01.{1 + YEARS[d]:02d}.2024" if d != "left" else "01.12.2023" for d in degree],
        "age": drawn(seed=1, kinds=range(90)),
    }
    found = table(columns)
    assert follows(found) == dict.fromkeys(["years", "share", "title", "high", "since"], "degree")
    assert [column.name for column in found.schema.modelled] == ["degree", "age"]
    values = column_values(found.schema, found.cells)
    assert list(values) == list(columns)
    row = degree.index("MSc")
    assert [values[name][row] for name in columns][:6] == [5, 1.25, "MSc", "Mx", "yes", "2024-06-01"]
    row = degree.index("left")
    assert [values[name][row] for name in columns][:6] == [0, None, "left", "Mx", "no", "2023-12-01"]
    assert type(values["years"][0]) is int
    assert "  years   derived     follows from degree" in describe(found)
    again = table(columns, schema=found.schema)
    np.testing.assert_array_equal(again.cells.values, found.cells.values)
    np.testing.assert_array_equal(again.cells.states, found.cells.states)


def test_missing_is_one_of_the_categories(table):
    """Where the source is missing the other has one value, or it does not follow."""
    degree = drawn(kinds=(*DEGREES, ""))
    columns = {"degree": degree, "years": [YEARS.get(d, 7) for d in degree]}
    found = table(columns)
    assert found.schema.derived[0].missing == 7
    assert (found.cells.states == MISSING).any()
    values = column_values(found.schema, found.cells)
    assert values["years"] == columns["years"]
    row = degree.index("")
    columns["years"][row] = 8
    assert follows(table(columns)) == {}


def test_one_row_breaks_it(table):
    """A function of all rows but one is none; so is one with a hole in it."""
    for last in (6, ""):
        degree = drawn()
        columns = {"degree": degree, "years": [*(YEARS[d] for d in degree[:-1]), last]}
        assert follows(table(columns)) == {}


@pytest.mark.parametrize(
    ("count", "kinds", "found"),
    [(104, 4, True), (103, 4, False), (401, 40, True), (400, 40, False), (1000, 40, True)],
)
def test_few_rows_show_nothing(table, count, kinds, found):
    """100 rows beyond the first of each category, and more than ten times as many rows as categories."""
    names = [f"k{i % kinds}" for i in range(count)]
    columns = {"name": names, "value": [i % kinds * 1.5 for i in range(count)]}
    assert bool(follows(table(columns))) is found


def test_rare_values_show_nothing(table):
    """Where other categories would hardly have had another value, were the columns independent."""
    for odd, found in ((5, {}), (25, {"flag": "name"})):
        names = ["rare"] * odd + [f"k{i % 3}" for i in range(ROWS)]
        columns = {"name": names, "flag": ["yes" if name == "rare" else "no" for name in names]}
        assert follows(table(columns)) == found


@given(st.integers(0, 10_000), st.integers(20, 400), st.integers(2, 40), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_nothing_follows_by_chance(seed, count, kinds, values):
    """Columns that have nothing to do with one another stay what they are."""
    rng = np.random.default_rng(seed)
    columns = {
        "name": [f"k{i}" for i in rng.integers(0, kinds, count)],
        "other": [f"v{i}" for i in rng.integers(0, values, count)],
        "number": rng.integers(0, values, count),
        "flag": rng.random(count) < 0.1,
    }
    assert read_table(pa.table(columns)).schema.derived == ()


def test_of_a_pair_the_first_is_kept(table):
    """Of two categories that say the same; of a category and a number the category; a label always."""
    degree = drawn()
    columns = {
        "number": [YEARS[d] for d in degree],
        "short": [d[0] for d in degree],
        "degree": degree,
        "age": drawn(seed=1, kinds=range(90)),
    }
    assert follows(table(columns)) == {"number": "short", "degree": "short"}
    assert follows(table(columns, label="degree")) == {"number": "degree", "short": "degree"}
    assert follows(table(columns, label="number")) == {"short": "number", "degree": "number"}


def test_there_are_no_chains(table):
    """What follows from a column that follows itself follows from the first of all."""
    city = drawn(kinds=[f"city{i}" for i in range(12)])
    country = [int(name[4:]) % 4 for name in city]
    columns = {
        "continent": ["EU" if c < 2 else "AS" for c in country],
        "country": [f"c{c}" for c in country],
        "city": city,
    }
    assert follows(table(columns)) == {"continent": "city", "country": "city"}
    assert follows(table(columns, label="country")) == {"continent": "country"}


def test_what_is_said_stays(table):
    """A type, or anything of how a column is modelled, by ``--schema``; so do columns of orders."""
    degree = drawn()
    columns = {"degree": degree, "years": [YEARS[d] for d in degree], "more": [YEARS[d] * 2 for d in degree]}
    keys = {"orders": []}
    assert follows(table(columns, **keys)) == {"years": "degree", "more": "degree"}
    for said in ({"type": "integer"}, {"bounds": [0, 50]}, {"nullable": True}):
        assert follows(table(columns, columns={"years": said}, **keys)) == {"more": "degree"}
    said = {"years": {"type": "category"}}
    assert follows(table(columns, columns=said, **keys)) == {"degree": "years", "more": "years"}
    assert follows(table(columns, columns={"years": {"missing": ["-"]}}, **keys)) == follows(
        table(columns, **keys)
    )
    assert follows(table(columns, columns={"degree": {"type": "ignore"}}, **keys)) == {}
    ordered = table(columns, orders=[["years", "more"]])
    assert (follows(ordered), ordered.schema.orders) == ({}, (("years", "more"),))


def test_rare_categories_are_not_derived(table):
    """Of a column with a rest it is not known any more what its values were; it may be what others follow from."""
    names = [f"k{i % 30}" for i in range(900)]
    columns = {"name": names, "again": [f"x{name}" for name in names], "odd": [i % 2 for i in range(900)]}
    found = table(columns, columns={"name": {"categories": 10}})
    assert follows(found) == {"odd": "again"}
    assert found.schema.columns[0].rest


def test_another_table_must_agree(table):
    """It is refused by both columns, row, what was wanted and what came; holes are filled, columns may be absent."""
    degree = drawn()
    columns = {"degree": degree, "years": [YEARS[d] for d in degree], "age": drawn(seed=1, kinds=range(90))}
    schema = table(columns).schema
    other = {"degree": ["PhD", "", "MSc"], "years": [9, 5, ""], "age": [3, 4, 5]}
    cells = table(other, schema=schema).cells
    assert column_values(schema, cells)["degree"] == ["PhD", "MSc", "MSc"]
    del other["years"]
    assert len(table(other, schema=schema).cells) == 3
    for years, wanted in (
        ([9, 5, 9], "column 'years', row 3: want 5, as column 'degree' is 'MSc', came 9"),
        ([9, 4, 5], "column 'years', row 2: want a value that follows from column 'degree' ("),
        ([9, "x", 5], "column 'years', row 2: want a number, came 'x'"),
    ):
        with pytest.raises(TrainingError) as refused:
            table({**other, "years": years}, schema=schema)
        assert wanted in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_derived_column_is_sealed(table):
    """``schema.json`` has it, and it is read back."""
    degree = drawn()
    schema = table({"degree": degree, "years": [YEARS[d] for d in degree]}).schema
    assert type(schema).parse(schema.to_bytes()) == schema
    assert isinstance(schema.columns[1], DerivedColumn)
