"""Records on the wire: two forms of the same cells, there and back, and what is said of bad ones."""

import json

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle.tables import Cells, cells_of_rows, column_values, draw
from serving.errors import InvalidInput
from serving.host.background import Background
from serving.modalities.table import record_reading, record_writing
from serving.modalities.table.table_modality import TableModality
from serving.pb.vae.v1 import tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import record_json
from tests.support import table_schemas, toy_table

SCHEMA = toy_table.SCHEMA


class _Sealed:
    """Of a bundle what the modality reads."""

    def __init__(self, schema):
        self._schema = schema

    def content(self, name):
        return self._schema.to_bytes()


def modality_of(schema):
    return TableModality(_Sealed(schema))


def drawn(schema, rows, seed):
    parameters, uniforms = (
        table_schemas.parameters_of(schema, rows, seed), table_schemas.uniforms_of(schema, rows, seed),
    )  # fmt: skip
    return draw(schema, parameters, uniforms)


async def read(message, schema=SCHEMA, *, max_rows=100, otherwise="refuse"):
    background = Background(1)
    try:
        return await record_reading.read_cells(
            message, "records", schema, max_rows, background, otherwise=otherwise
        )
    finally:
        background.shutdown()


def records(**content):
    return json_format.ParseDict(content, tensors_pb2.Records())


def same(one, other):
    np.testing.assert_array_equal(one.states, other.states)
    np.testing.assert_allclose(one.values, other.values, rtol=1e-12)


@settings(max_examples=50)
@given(table_schemas.schemas(), st.integers(1, 30), st.integers(0, 1000))
async def test_what_is_written_is_read_back(schema, rows, seed):
    """Cells of any table come back from either form, each a message that protobuf reads."""
    cells, modality = drawn(schema, rows, seed), modality_of(schema)
    for write in (record_writing.rows_of, record_writing.columns_of):
        message = tensors_pb2.Records.FromString(write(modality, cells, 5, {}))
        same(await read(message, schema), cells)


def test_rows_and_columns_say_the_same():
    """What objects have is what packed columns have, identifiers and constants included; a kept value stays."""
    cells, modality = toy_table.cells(toy_table.ROWS), modality_of(SCHEMA)
    kept = {"id": [7, None, 9]}
    rows = tensors_pb2.Records.FromString(record_writing.rows_of(modality, cells, 0, kept)).rows
    columns = tensors_pb2.Records.FromString(
        record_writing.columns_of(modality, cells, 0, kept)
    ).columns.columns
    assert [column.name for column in columns] == [column.name for column in SCHEMA.columns]
    assert [json_format.MessageToDict(row)["id"] for row in rows] == [7, None, 9]
    by_name = {column.name: column for column in columns}
    assert list(by_name["id"].numbers.values) == [7, 0, 9]
    assert list(by_name["id"].missing) == [False, True, False]
    assert [row["country"] for row in rows] == ["NL"] * 3
    assert list(by_name["work"].texts.dictionary) == ["Private", "State", "(rest)"]
    assert list(by_name["work"].texts.codes) == [0, 0, 1]
    assert list(by_name["work"].missing) == [False, True, False]
    assert list(by_name["member"].booleans.values) == [True, False, True]
    assert by_name["joined"].times.microseconds[0] == 1641600000 * 10**6
    assert rows[0]["joined"] == "2022-01-08"


def test_a_long_list_of_categories_is_sent_as_far_as_it_is_used():
    """A few rows of a column of 10,000 categories carry those that are in them."""
    from serving.bundle.tables import CategoryColumn, Schema

    many = tuple(f"c{number}" for number in range(10_000))
    schema = Schema(columns=(CategoryColumn(name="c", nullable=False, categories=many, rest=False),))
    cells = Cells(np.array([[9_999.0], [3.0], [9_999.0]]), np.ones((3, 1), np.int8))
    (column,) = tensors_pb2.Records.FromString(
        record_writing.columns_of(modality_of(schema), cells, 0, {})
    ).columns.columns
    assert list(column.texts.dictionary) == ["c3", "c9999"]
    assert list(column.texts.codes) == [1, 0, 1]


WHOLE = {"age": 39, "work": "State", "height": 1.5, "member": True, "joined": "2022-01-08", "left": None}


def column(name="age", **content):
    return {"columns": {"columns": [{"name": name, **content}]}, "absent": 2}


BAD = {
    "nothing": ({}, "records: want rows or columns, at least one row, came nothing"),
    "both": ({"rows": [WHOLE], **column(numbers={"values": [1]})}, "records: want rows or columns, at least one row, came both"),
    "an unknown column": ({"rows": [WHOLE | {"agee": 1}]}, "records.rows: column 'agee', row 0: want a column of the table ('age'?)"),
    "an absent column": ({"rows": [WHOLE, {"age": 3}]}, "records.rows: column 'work', row 1: want a value of it, came none"),
    "a new category": ({"rows": [WHOLE | {"work": "Navy"}]}, "records.rows: column 'work', row 0: want one of the 3 categories"),
    "a text for a number": ({"rows": [WHOLE, WHOLE | {"age": "old"}]}, "records.rows: column 'age', row 1: want a whole number, came 'old'"),
    "a fraction": ({"rows": [WHOLE | {"age": 3.5}]}, "records.rows: column 'age', row 0: want a whole number"),
    "a list": ({"rows": [WHOLE | {"age": [1, 2]}]}, "records.rows: column 'age', row 0: want one value, came a list"),
    "an object": ({"rows": [WHOLE | {"age": {"a": 1}}]}, "records.rows: column 'age', row 0: want one value, came an object"),
    "a date of another form": ({"rows": [WHOLE | {"joined": "8/1/2022"}]}, "column 'joined', row 0: want an ISO 8601 date or time such as 2026-11-27, came '8/1/2022'"),
    "too many rows": ({"rows": [WHOLE] * 101}, "records.rows: want 1 to 100 rows, came 101"),
    "no columns": ({"columns": {}}, "records.columns: want 1 to 100 rows, came 0"),
    "NaN": (column(numbers={"values": [1, "NaN"]}), "records.columns: column 'age', row 1: want a whole number of at most 9.0072e+15, came nan"),
    "infinity": (column("height", numbers={"values": ["-Infinity"]}), "records.columns: column 'height', row 0: want a finite number"),
    "columns of two lengths": (
        {"columns": {"columns": [{"name": "age", "numbers": {"values": [1, 2]}}, {"name": "work", "texts": {}}]}},
        "records.columns: column 'work': want 2 values, as in the first column, came 0",
    ),
    "a column twice": (
        {"columns": {"columns": [{"name": "age", "numbers": {"values": [1]}}] * 2}},
        "records.columns: column 'age': want each column once, came it twice",
    ),
    "a column of nothing": (
        {"columns": {"columns": [{"name": "age", "numbers": {"values": [1]}}, {"name": "work"}]}},
        "records.columns: column 'work': want numbers, texts, booleans or times, came nothing",
    ),
    "a code beyond the dictionary": (
        column("work", texts={"dictionary": ["State"], "codes": [0, 1]}),
        "records.columns: column 'work', row 1: want a code from 0 to 0, the last of the dictionary, came 1",
    ),
    "a short mask": (
        column(numbers={"values": [1, 2]}, missing=[True]),
        "records.columns: column 'age': want 2 of missing, one a row, came 1",
    ),
    "times of a number": (column(times={"microseconds": [5]}), "records.columns: column 'age': want values of its type, came times"),
    "numbers of a time": (column("joined", numbers={"values": [5]}), "records.columns: column 'joined', row 0: want an ISO 8601 date"),
    "no way with the unknown": ({"rows": [WHOLE], "unknown": 7}, "records.unknown: want one of UNKNOWN_CATEGORIES_UNSPECIFIED, "),
    "no way with the absent": ({"rows": [WHOLE], "absent": 9}, "records.absent: want one of ABSENT_COLUMNS_UNSPECIFIED, "),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
async def test_bad_records_are_refused_by_name(content, message):
    """In one line: the field, the column and the row, what was wanted and what came."""
    with pytest.raises(InvalidInput) as refusal:
        await read(records(**content))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


async def test_a_value_without_a_kind_is_refused():
    """An empty ``google.protobuf.Value`` is no null."""
    message = tensors_pb2.Records()
    message.rows.add().fields["age"].SetInParent()
    with pytest.raises(InvalidInput, match="column 'age', row 0: want a value, came an empty one"):
        await read(message)


async def test_what_is_absent_or_unknown_is_as_the_request_says():
    """Absent columns are refused, unknown or missing; a new category is refused or one of the rest."""
    for way, states in ((2, [1, 0, 0, 0, 0, 0]), (3, [1, -1, -1, 0, 0, -1])):
        cells = await read(records(rows=[{"age": 39}], absent=way))
        assert cells.states.tolist() == [states]
    assert (await read(records(rows=[{"age": 39}]), otherwise="unknown")).states.sum() == 1
    rest = await read(records(rows=[WHOLE | {"work": "Navy"}], unknown=2))
    assert rest.values[0, 1] == 2


async def test_a_row_of_many_is_named_by_its_place_in_the_request(monkeypatch):
    """Also where rows are read in pieces beside the loop."""
    monkeypatch.setattr("serving.host.background._SMALL", 0)
    monkeypatch.setattr("serving.host.background._PIECE", 700)
    with pytest.raises(InvalidInput, match=r"column 'age', row 41: want a whole number"):
        await read(records(rows=[WHOLE] * 41 + [WHOLE | {"age": "x"}]))
    same(await read(records(rows=[WHOLE] * 42)), cells_of_rows(SCHEMA, [WHOLE] * 42))


async def test_missing_times_and_numbers_are_null():
    """What the mask covers is not looked at, whatever stands there."""
    content = {
        "columns": [
            {"name": "age", "numbers": {"values": [30, "NaN"]}, "missing": [False, True]},
            {"name": "left", "times": {"microseconds": [0, "1641600000000000"]}, "missing": [True, False]},
            {"name": "work", "texts": {"dictionary": ["State"], "codes": [0, 99]}, "missing": [False, True]},
        ]
    }
    cells = await read(records(columns=content, absent=2))
    assert cells.states[:, [0, 1, 5]].tolist() == [[1, 1, -1], [0, -1, 1]]
    assert cells.values[1, 5] == 1641600000


@given(table_schemas.schemas(), st.integers(1, 8), st.integers(0, 1000))
def test_rows_as_json_keep_their_order(schema, rows, seed):
    """JSON has the columns in the order of the table, whole numbers without a point, and the same values."""
    cells, modality = drawn(schema, rows, seed), modality_of(schema)
    content = record_writing.rows_of(modality, cells, 0, {})
    response = pb.SampleResponse(seed=3, records=tensors_pb2.Records.FromString(content))
    raw = (
        pb.SampleResponse(seed=3).SerializeToString() + bytes([6 << 3 | 2]) + _varint(len(content)) + content
    )
    text = record_json.take_rows(response, raw, "mark")
    assert text is not None
    came = json.loads(f"[{text.decode()}]")
    wanted = column_values(schema, cells)
    assert [list(row) for row in came] == [list(wanted)] * rows
    assert came == [dict(zip(wanted, row, strict=True)) for row in zip(*wanted.values(), strict=True)]
    assert record_json.placeholder("mark") in json_format.MessageToJson(response, indent=None).encode()
    whole = [json.dumps(value) for row in came for value in row.values() if isinstance(value, int)]
    assert not [number for number in whole if "." in number]


def _varint(value):
    from serving.protobuf_wire import varint

    return varint(value)


def test_derived_columns_are_written_behind_what_they_follow_from():
    """From the cells of their own source, wherever that is among the columns; in both forms the same."""
    from serving.bundle.tables import BooleanColumn, DerivedColumn, Schema

    schema = Schema(
        columns=(
            DerivedColumn(name="fee", of="member", kind="numeric", values=(2.5, None)),
            BooleanColumn(name="old", nullable=False),
            BooleanColumn(name="member", nullable=False),
            DerivedColumn(name="age", of="old", kind="category", values=("young", "old")),
        )
    )
    cells, modality = Cells(np.array([[1.0, 0], [0, 1]]), np.ones((2, 2), np.int8)), modality_of(schema)
    content = record_writing.rows_of(modality, cells, 0, {})
    rows = [json_format.MessageToDict(row) for row in tensors_pb2.Records.FromString(content).rows]
    assert rows == [
        {"fee": 2.5, "old": True, "member": False, "age": "old"},
        {"fee": None, "old": False, "member": True, "age": "young"},
    ]
    content = record_writing.columns_of(modality, cells, 0, {})
    columns = tensors_pb2.Records.FromString(content).columns.columns
    assert [column.name for column in columns] == ["fee", "old", "member", "age"]
    assert (list(columns[0].numbers.values), list(columns[0].missing)) == ([2.5, 0], [False, True])
    assert [columns[3].texts.dictionary[code] for code in columns[3].texts.codes] == ["old", "young"]
