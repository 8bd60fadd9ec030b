"""Columns that follow from another one: looked up in it, and a word about it on the way in."""

import json

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle import BundleError
from serving.bundle.tables import (
    MISSING,
    OBSERVED,
    UNKNOWN,
    BooleanColumn,
    CategoryColumn,
    CellError,
    Cells,
    DerivedColumn,
    IdentifierColumn,
    Schema,
    cells_of_columns,
    cells_of_rows,
    column_values,
)
from tests.support import table_schemas
from tests.support.table_schemas import number

DEGREES = CategoryColumn(name="degree", nullable=True, categories=("BSc", "MSc", "PhD", "none"), rest=False)
YEARS = DerivedColumn(name="years", of="degree", kind="numeric", values=(3, 5, 9, None), missing=0)
HIGH = DerivedColumn(
    name="high", of="degree", kind="boolean", values=(False, True, True, False), words=("no", "yes")
)
SINCE = DerivedColumn(
    name="since", of="member", kind="timestamp", values=("2024-02-29T10:00:00", "2024-03-01T00:00:00")
)
AGE = number("age", [0, 50, 100], integer=True)
COLUMNS = (
    YEARS, AGE, DEGREES, IdentifierColumn(name="id", kind="integer"), HIGH,
    BooleanColumn(name="member", nullable=False), SINCE,
)  # fmt: skip
SCHEMA = Schema(columns=COLUMNS, label="degree")
PERSON = {"age": 39, "degree": "MSc", "member": True}


def degree(row, **options):
    """Value and state of that cell of the row."""
    cells = cells_of_rows(SCHEMA, [PERSON, row], **options)
    place = SCHEMA.place["degree"]
    return cells.values[1, place], cells.states[1, place]


def test_a_model_does_not_know_them():
    """No cell, feature or parameter of theirs; all columns are in the answer, in order, in their types."""
    assert [column.name for column in SCHEMA.modelled] == ["age", "degree", "member"]
    assert SCHEMA.features == 9
    cells = Cells(
        np.array([[1, 2, 0], [1, 0, 1], [1, 0, 1], [1, 3, 1.0]]),
        np.array([[1, 1, 1], [1, MISSING, 1], [1, UNKNOWN, 0], [1, 1, 1]], np.int8),
    )
    values = column_values(SCHEMA, cells)
    assert list(values) == [column.name for column in COLUMNS]
    assert json.dumps(values["years"]) == "[9, 0, null, null]"
    assert values["high"] == [True, None, None, False]
    assert values["since"] == ["2024-02-29T10:00:00", "2024-03-01T00:00:00", None, "2024-03-01T00:00:00"]


@given(table_schemas.schemas(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_what_alone_has_a_value_is_known_by_it(schema, seed):
    """A record whose source is left out has it again, where the derived value belongs to one category alone."""
    if not schema.derived:
        return
    (column,) = schema.derived
    place, source = schema.place[column.of], schema.modelled[schema.place[column.of]]
    rng = np.random.default_rng(seed)
    cells = Cells.unknown(10, len(schema.modelled))
    cells.values[:, place] = rng.integers(0, source.codes, 10)
    cells.states[:, place] = OBSERVED
    told = {column.name: column_values(schema, cells)[column.name]}
    again = cells_of_columns(schema, told, absent="unknown")
    everything = [*column.values, column.missing]
    for row, code in enumerate(cells.values[:, place].astype(int).tolist()):
        value = column.values[code]
        alone = value is not None and everything.count(value) == 1
        assert again.states[row, place] == (OBSERVED if alone else UNKNOWN)
        assert again.values[row, place] == (code if alone else 0)


@pytest.mark.parametrize(
    "value",
    [
        {"years": 5}, {"years": 5.0}, {"years": "5"}, {"years": np.int64(5)}, {"years": None}, {"years": "NA"},
        {"high": True}, {"high": "YES"}, {"high": 1}, {"since": "2024-03-01"}, {"since": "2024-03-01T00:00"},
        {"years": 5, "high": True, "id": "anything"},
    ],
)  # fmt: skip
def test_what_agrees_is_taken(value):
    """However it is written; null says nothing."""
    assert degree({**PERSON, **value}) == (1, OBSERVED)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"years": 3}, "column 'years', row 1: want 5, as column 'degree' is 'MSc', came 3"),
        ({"years": 4}, "column 'years', row 1: want 5, as column 'degree' is 'MSc', came 4"),
        ({"years": "many"}, "want 5, as column 'degree' is 'MSc', came 'many'"),
        ({"years": True}, "want 5, as column 'degree' is 'MSc', came True"),
        ({"years": float("nan")}, "came nan"),
        ({"years": "1_0"}, "came '1_0'"),
        ({"years": 10**400}, "want 5"),
        ({"years": [5]}, "want 5"),
        ({"degree": "none", "years": 3}, "want null, as column 'degree' is 'none', came 3"),
        ({"degree": None, "years": 3}, "want 0, as column 'degree' is missing, came 3"),
        ({"high": "maybe"}, "column 'high', row 1: want True, as column 'degree' is 'MSc', came 'maybe'"),
        ({"since": "2024-02-29T10:00:00"}, "want '2024-03-01T00:00:00', as column 'member' is True"),
        ({"since": 1709251200.0}, "column 'since', row 1"),
    ],
)  # fmt: skip
def test_what_does_not_agree_is_refused(value, wanted):
    """In one line with both columns, the row, what was wanted and what came."""
    for read in (
        lambda rows: cells_of_rows(SCHEMA, rows),
        lambda rows: cells_of_columns(SCHEMA, {name: [row.get(name) for row in rows] for name in rows[1]}),
    ):
        with pytest.raises(CellError) as refused:
            read([PERSON, {**PERSON, **value}])
        assert wanted in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("came", "options", "cell"),
    [
        ({"years": 9}, {}, (2, OBSERVED)),
        ({"years": 9}, {"absent": "refuse"}, (2, OBSERVED)),
        ({"years": 9}, {"absent": "unknown"}, (2, OBSERVED)),
        ({"high": True}, {"absent": "unknown"}, (0, UNKNOWN)),
        ({"high": True}, {"absent": "missing"}, (0, MISSING)),
        ({"high": True, "years": 5}, {"absent": "unknown"}, (1, OBSERVED)),
        ({"years": 0}, {"absent": "unknown"}, (0, UNKNOWN)),
        ({"years": None}, {"absent": "unknown"}, (0, UNKNOWN)),
    ],
)
def test_what_is_not_told_follows(came, options, cell):
    """The source is the category that alone has the value; several that have it say nothing."""
    assert degree({"age": 1, "member": False, **came}, **options) == cell


def test_what_is_not_told_is_checked():
    """A value that nothing has is refused; so are two that do not belong together, and an absent source."""
    rest = {"age": 1, "member": False}
    with pytest.raises(
        CellError, match=r"want a value that follows from column 'degree' \(3, 5, 9\), came 4"
    ):
        cells_of_rows(SCHEMA, [{**rest, "years": 4}], absent="unknown")
    with pytest.raises(
        CellError, match="column 'high', row 0: want False, as column 'degree' is 'BSc', came True"
    ):
        cells_of_rows(SCHEMA, [{**rest, "years": 3, "high": True}], absent="unknown")
    with pytest.raises(CellError, match="column 'degree', row 0: want a value of it, came none"):
        cells_of_rows(SCHEMA, [{**rest, "high": True}], absent="refuse")


def test_null_of_a_source_without_missing_cells_follows():
    """There null is an unknown cell, and the derived one tells it."""
    schema = Schema(columns=(DEGREES.model_copy(update={"nullable": False}), YEARS))
    cells = cells_of_columns(schema, {"degree": [None, None], "years": np.array([9.0, 5.0])})
    assert cells.values[:, 0].tolist() == [2, 1]
    assert cells.states[:, 0].tolist() == [OBSERVED, OBSERVED]


def test_times_of_numpy_agree():
    """As texts of the same moment do."""
    moments = np.array(["2024-03-01", "2024-02-29T10:00"], "datetime64[s]")
    cells = cells_of_columns(SCHEMA, {"since": moments}, absent="unknown")
    assert cells.values[:, SCHEMA.place["member"]].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"of": "age"}, "'years': of: want a category or boolean column, came 'age'"),
        ({"of": "nobody"}, "want a category or boolean column, came 'nobody'"),
        ({"of": "years"}, "want a category or boolean column, came 'years'"),
        ({"of": "high"}, "want a category or boolean column, came 'high'"),
        ({"values": [3, 5]}, "'years': values: want 4 values, one for each of 'degree', came 2"),
        ({"values": [3, 5, "x", 1]}, "values: want those of a numeric column, came 'x'"),
        ({"values": [3, 5, True, 1]}, "values: want those of a numeric column, came 'True'"),
        ({"missing": "x"}, "values: want those of a numeric column, came 'x'"),
        ({"kind": "timestamp", "values": ["soon"] * 4, "missing": None}, "timestamp column, came 'soon'"),
        ({"kind": "category"}, "values: want those of a category column, came '3'"),
        ({"kind": "constant"}, "columns.0.derived.kind"),
        ({"words": ["a", "A"]}, "want two different ones"),
    ],
)  # fmt: skip
def test_what_follows_from_nothing_is_refused(change, wanted):
    """By the schema, in one line."""
    document = json.loads(SCHEMA.to_bytes())
    document["columns"][0] |= change
    with pytest.raises(BundleError) as refused:
        Schema.parse(json.dumps(document).encode())
    assert wanted in str(refused.value)
    assert "\n" not in str(refused.value)


def test_get_model_describes_them():
    """By their type, whether they have nulls, and the range of numbers."""
    from serving.modalities.table.table_description import table_of

    described = {column.name: json_format.MessageToDict(column) for column in table_of(SCHEMA).columns}
    years = {"name": "years", "type": "derived", "nullable": True, "integer": True, "least": 0, "most": 9}
    assert described["years"] == years
    assert described["since"] == {"name": "since", "type": "derived"}


def test_numbers_with_decimal_commas_are_read_by_the_client(tmp_path):
    """Of a derived column that has numbers, as of any other; a text with a comma stays."""
    from serving.client.records.described_table import Table as Described
    from serving.client.records.described_table import TableColumn
    from serving.client.table_files.delimited_text import read_texts

    columns = (TableColumn("rate", "derived", least=0.5, most=2.5), TableColumn("code", "derived"))
    path = tmp_path / "data.csv"
    path.write_text("rate;code\n2,5;1,0\n")
    (found,) = read_texts(path, Described(columns=columns), 10)
    assert found == {"rate": ["2.5"], "code": ["1,0"]}
