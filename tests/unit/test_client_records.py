"""Records as callers have them and as the server reads them, records as the server writes them and as callers get them."""

import asyncio
import datetime
import decimal
from types import SimpleNamespace

import numpy as np
import pandas
import polars
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle.tables import cells_of_columns, column_values, draw
from serving.client.records import given_records, received_records
from serving.client.records.described_table import Table, TableColumn, from_table
from serving.client.records.given_records import GivenRecords
from serving.client.records.received_records import Records, from_records
from serving.host.background import Background
from serving.modalities.table import record_writing
from serving.modalities.table.record_reading import read_cells
from serving.modalities.table.table_description import table_of
from serving.modalities.table.table_modality import TableModality
from serving.pb.vae.v1 import tensors_pb2 as pb
from tests.support import table_schemas
from tests.support.table_schemas import parameters_of, uniforms_of

BACKGROUND = Background(1)
UTC = datetime.UTC


def rows_of(columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def frame_of(columns):
    return pandas.DataFrame({name: pandas.Series(values, dtype=object) for name, values in columns.items()})


FORMS = {
    "rows": rows_of,
    "columns": dict,
    "arrays": lambda columns: {n: np.array([*values, None], object)[:-1] for n, values in columns.items()},
    "objects of pandas": frame_of,
    "types of pandas": lambda columns: frame_of(columns).convert_dtypes(),
    "categories of pandas": lambda columns: frame_of(columns).astype("category"),
    "polars": lambda columns: polars.DataFrame(
        {n: polars.Series(n, some, strict=False) for n, some in columns.items()}
    ),
    "arrow": lambda columns: pyarrow.table({n: pyarrow.array(values) for n, values in columns.items()}),
    "dictionaries of arrow": lambda columns: pyarrow.table(
        {n: pyarrow.array(values).dictionary_encode() for n, values in columns.items()}
    ),
}


def read(schema, message, **options):
    """As the server does."""
    options = {"otherwise": "refuse", **options}
    return asyncio.run(read_cells(message, "records", schema, 10**6, BACKGROUND, **options))


def drawn(schema, rows, seed):
    return draw(schema, parameters_of(schema, rows, seed), uniforms_of(schema, rows, seed))


@pytest.mark.parametrize("form", FORMS)
@given(schema=table_schemas.schemas(), rows=st.integers(1, 5), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=15)
def test_whatever_form_records_have_the_server_reads_the_same(form, schema, rows, seed, data):
    """Lists, arrays, frames and tables of a few rows, whole or a part of them, are the cells they were made of."""
    values = column_values(schema, drawn(schema, rows, seed))
    part = slice(data.draw(st.integers(0, rows - 1)), rows)
    records = GivenRecords(FORMS[form](values))
    assert len(records) == rows
    came = read(schema, records.message(part))
    expected = cells_of_columns(schema, {name: some[part] for name, some in values.items()})
    np.testing.assert_array_equal(came.states, expected.states)
    np.testing.assert_array_equal(came.values, expected.values)


def message_of(schema, cells, form):
    """As the server writes it: objects, or packed columns."""
    modality = TableModality(SimpleNamespace(content=lambda _: schema.to_bytes()))
    write = record_writing.rows_of if form == "rows" else record_writing.columns_of
    return pb.Records.FromString(write(modality, cells, 3, {}))


def python_of(text):
    """A date or a time."""
    return datetime.datetime.fromisoformat(text) if "T" in text else datetime.date.fromisoformat(text)


@pytest.mark.parametrize("form", ["rows", "columns"])
@given(schema=table_schemas.schemas(), rows=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_records_come_back_as_the_values_they_are(form, schema, rows, seed):
    """Numbers, texts, truths, dates and nothing, in rows, in a frame and in an Arrow table; of two responses in order."""
    table = from_table(table_of(schema))
    cells = [drawn(schema, rows, seed), drawn(schema, rows, seed + 1)]
    messages = [message_of(schema, some, form) for some in cells]
    records = from_records(messages, table)
    expected = [row for some in cells for row in rows_of(column_values(schema, some, first_row=3))]
    for row in expected:
        for column in table.columns:
            if column.type == "timestamp" and row[column.name] is not None:
                row[column.name] = python_of(row[column.name])
    assert records.rows() == expected
    assert len(records) == 2 * rows
    assert records.to_arrow().to_pylist() == expected
    both = type(cells[0]).joined(cells)
    for again in (records, records.to_pandas(), records.to_arrow(), records.columns, records.rows()):
        came = read(schema, GivenRecords(again).message())
        np.testing.assert_array_equal(came.states, both.states)
        np.testing.assert_allclose(came.values, both.values, rtol=1e-12)


@pytest.mark.parametrize("form", ["rows", "columns"])
def test_the_type_of_a_column_is_that_of_the_table(form):
    """Parts of a stream fit together, whichever cells are missing in them: what may be missing is always masked."""
    columns = (
        TableColumn("whole", "numeric", nullable=True, integer=True),
        TableColumn("number", "numeric"),
        TableColumn("truth", "boolean", nullable=True),
        TableColumn("time", "timestamp", resolution=1.0, has_zone=True),
        TableColumn("always", "constant", constant=3.0),
        TableColumn("nothing", "constant"),
    )
    moment = "2026-11-27T09:30:00Z"
    values = {"whole": [3, None], "number": [1.5, 2], "truth": [True, None], "time": [moment, moment]}
    values |= {"always": [3, 3], "nothing": [None, None]}
    message = GivenRecords(values).message()
    message = pb.Records() if form == "rows" else message
    if form == "rows":
        for row in rows_of(values):
            message.rows.add().update(row)
    else:
        seconds = datetime.datetime.fromisoformat(moment).timestamp()
        message.columns.columns[3].times.microseconds.extend([round(seconds * 1e6)] * 2)
    records = from_records([message], Table(columns))
    kinds = {
        name: (column.dtype.kind, isinstance(column, np.ma.MaskedArray))
        for name, column in records.columns.items()
    }
    assert kinds == {
        "whole": ("i", True), "number": ("f", False), "truth": ("b", True), "time": ("M", False),
        "always": ("i", False), "nothing": ("O", True),
    }  # fmt: skip
    time = datetime.datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
    first = {"whole": 3, "number": 1.5, "truth": True, "time": time, "always": 3, "nothing": None}
    assert records.rows()[0] == first
    frame = records.to_pandas()
    assert [str(kind) for kind in frame.dtypes[:3]] == ["Int64", "float64", "boolean"]
    assert frame["time"][0] == pandas.Timestamp(time)
    assert frame.isna().sum().tolist() == [1, 0, 1, 0, 0, 2]
    assert records.to_arrow().schema.field("time").type == pyarrow.timestamp("s", "UTC")


def test_what_may_be_missing_is_masked_where_nothing_is():
    """Whoever reads a column need not ask whether this part of it happens to be whole."""
    column = TableColumn("whole", "numeric", nullable=True, integer=True)
    records = from_records([GivenRecords({"whole": [3, 4]}).message()], Table((column,)))
    assert isinstance(records.columns["whole"], np.ma.MaskedArray)
    assert str(records.to_pandas()["whole"].dtype) == "Int64"
    assert records.rows() == [{"whole": 3}, {"whole": 4}]


NOTHING = [
    None,
    float("nan"),
    np.float32("nan"),
    np.datetime64("NaT"),
    pandas.NA,
    pandas.NaT,
    decimal.Decimal("nan"),
]


@pytest.mark.parametrize("nothing", NOTHING, ids=repr)
def test_no_value_is_said_in_many_ways(nothing):
    """None, NaN, NaT and NA are all missing cells, alone or beside a value."""
    for values in ([nothing], [nothing, "State"], np.array([nothing, "State", None], object)[:2]):
        (column,) = GivenRecords({"work": values}).message().columns.columns
        assert list(column.missing) == [True, False][: len(values)]


ZONED = datetime.datetime(2026, 11, 27, 9, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))


@pytest.mark.parametrize(
    "values",
    [
        [ZONED],
        pandas.Series([pandas.Timestamp(ZONED)]),
        pandas.Series([pandas.Timestamp(ZONED)]).astype("timestamp[us, tz=UTC][pyarrow]"),
        pyarrow.array([ZONED]),
        Records({"t": np.array(["2026-11-27T07:30"], "datetime64[s]")}, frozenset("t")).to_pandas()["t"],
    ],
    ids=["Python", "pandas", "Arrow in pandas", "Arrow", "Records"],
)
def test_a_time_with_a_zone_keeps_it(values):
    """The server tells it from one by the clock on the wall, and refuses the one where the data have the other."""
    frame = values.to_frame("t") if isinstance(values, pandas.Series) else {"t": values}
    column = GivenRecords(frame).message().columns.columns[0]
    assert datetime.datetime.fromisoformat(column.texts.dictionary[0]) == ZONED
    column = (
        GivenRecords({"t": np.array(["2026-11-27T09:30"], "datetime64[ns]")}).message().columns.columns[0]
    )
    assert column.times.microseconds == [1795771800000000]


def test_rows_that_lack_a_column_lack_it():
    """A column that a row does not have is not the same as a cell that is empty, and the server is told so."""
    message = GivenRecords(
        [{"a": 1, "b": None}, {"b": True, "c": "x"}], absent="unknown", unknown="rest"
    ).message()
    assert [sorted(row.fields) for row in message.rows] == [["a", "b"], ["b", "c"]]
    assert message.rows[0].fields["b"].WhichOneof("kind") == "null_value"
    assert (message.absent, message.unknown) == (pb.ABSENT_COLUMNS_UNKNOWN, pb.UNKNOWN_CATEGORIES_REST)


def test_values_of_several_kinds_stay_what_they_are():
    """A column of texts, numbers and truths cannot be packed; it goes as objects, each value as it is."""
    values = {"mixed": ["yes", True, 3, 2**60, None], "when": np.array(["2026-11-27"] * 5, "datetime64[D]")}
    rows = list(GivenRecords(values).message().rows)
    kinds = [row.fields["mixed"].WhichOneof("kind") for row in rows]
    assert kinds == ["string_value", "bool_value", "number_value", "string_value", "null_value"]
    assert rows[3].fields["mixed"].string_value == str(2**60)
    assert rows[0].fields["when"].string_value.startswith("2026-11-27")


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1))
def test_whole_numbers_keep_all_their_digits(values):
    """Beyond 2⁵³, where doubles have gaps, they go as text."""
    message = GivenRecords([{"id": value} for value in values]).message()
    if message.rows:
        sent = [row.fields["id"].string_value or row.fields["id"].number_value for row in message.rows]
    else:
        (column,) = message.columns.columns
        sent = column.numbers.values or [column.texts.dictionary[code] for code in column.texts.codes]
    assert [int(value) for value in sent] == values


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ("people.csv", "want a list of dictionaries, .* came str"),
        (7, "want a list of dictionaries, .* came int"),
        ([{"a": 1}, 7], "row 1: want a dictionary of columns and their values, came int"),
        ([{"a": 1}, {"a": [1]}], "column 'a', row 1: want a number, text, boolean or time, came list"),
        ({"a": [1, b"x"]}, "column 'a', row 1: want a number, .* came bytes"),
        ({"a": [1], "b": [1, 2]}, "column 'b': want 1 values, as in column 'a', came 2"),
        ({"a": [1], "b": 2}, "column 'b': want a list or array as of the others, came int"),
        ({"a": np.zeros((2, 2))}, r"column 'a': want values \[rows\], came an array \[2, 2\]"),
        ({"a": np.zeros(1, complex)}, "column 'a': want a number, .* came complex128"),
        ({"a": np.zeros(1, "m8[s]")}, "column 'a': want a number, .* came timedelta64"),
        ({"a": np.array(["20000-01-01"], "M8[D]")}, "column 'a', row 0: want a time of the years 1 to 9999"),
        ({1: [1]}, "column '1': want text as its name, came int"),
        ({"a": ["\ud800"]}, r"column 'a', row 0: want text, came '\\ud800'"),
        (pandas.DataFrame([[1, 2]], columns=["a", "a"]), "column 'a': want each column once"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_named(records, message):
    """One line that names column and row, before anything is sent."""
    with pytest.raises(ValueError, match=f"^records: {message}") as error:
        GivenRecords(records)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("option", "wanted"), [("unknown", "refuse, rest"), ("absent", "refuse, unknown, missing")]
)
def test_options_have_names(option, wanted):
    with pytest.raises(ValueError, match=f"{option}: want one of {wanted}, came 'x'"):
        GivenRecords([{"a": 1}], **{option: "x"})


def test_what_is_not_installed_is_named(monkeypatch):
    """A frame is wanted of a library that is not there: one line says how to have it."""
    monkeypatch.setitem(received_records.importlib.sys.modules, "pandas", None)
    with pytest.raises(ValueError, match=r"^pandas: not installed; want `pip install 'vaeserve\[tables\]'`$"):
        Records({"a": np.zeros(1)}).to_pandas()
    assert given_records.GivenRecords({"a": [1]}).message().columns.columns[0].name == "a"
