"""Parquet, Arrow and frames from Python give what the same table in a text file gives."""

import gzip
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from serving.bundle.tables import (
    MISSING,
    BooleanColumn,
    CategoryColumn,
    NumericColumn,
    TimestampColumn,
    column_values,
)
from training.modalities.table.reading import describe, read_table, read_with_schema
from training.training_error import TrainingError

ROWS = range(60)
COLUMNS = {
    "age": [20 + i % 30 for i in ROWS],
    "height": [None if i % 7 == 0 else round(1.5 + i % 40 / 100, 2) for i in ROWS],
    "work": [("Private", "State", None)[i % 3] for i in ROWS],
    "member": [i % 2 == 0 for i in ROWS],
    "born": [date(1990, 1, 1) + timedelta(days=37 * i) for i in ROWS],
    "seen": [datetime(2024, 1, 1, 10, i % 60, 7 * i % 60, tzinfo=UTC) for i in ROWS],
}
ARROW = pa.table(COLUMNS)


def text():
    columns = [[str(v) if v is not None else "" for v in values] for values in COLUMNS.values()]
    columns[-1] = [moment.isoformat() for moment in COLUMNS["seen"]]
    return "\n".join([",".join(COLUMNS), *(",".join(row) for row in zip(*columns, strict=True))])


def as_file(tmp_path, kind):
    path = tmp_path / f"people.{kind}"
    if kind == "csv":
        path.write_text(text())
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(text().encode()))
    elif kind == "tsv":
        path.write_text(text().replace(",", "\t"))
    elif kind == "parquet":
        parquet.write_table(ARROW, path)
    elif kind == "feather":
        feather.write_feather(ARROW, path)
    else:
        with pa.ipc.new_stream(path, ARROW.schema) as stream:
            stream.write_table(ARROW)
    return path


def assert_people(table):
    """The types, and every value, of ``COLUMNS``."""
    assert [type(column) for column in table.schema.columns] == [
        NumericColumn, NumericColumn, CategoryColumn, BooleanColumn, TimestampColumn, TimestampColumn,
    ]  # fmt: skip
    values = column_values(table.schema, table.cells)
    assert values == {
        **{name: COLUMNS[name] for name in ("age", "height", "work", "member")},
        "born": [day.isoformat() for day in COLUMNS["born"]],
        "seen": [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in COLUMNS["seen"]],
    }
    assert (table.cells.states[:, table.schema.place["work"]] == MISSING).sum() == 20


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "parquet", "feather", "arrow"])
def test_files(tmp_path, kind):
    """Of every form; read again by its own schema they give the same cells."""
    path = as_file(tmp_path, kind)
    table = read_table(path)
    assert table.name == "people"
    assert_people(table)
    again = read_with_schema(path, table.schema)
    np.testing.assert_array_equal(again.cells.values, table.cells.values)
    np.testing.assert_array_equal(again.cells.states, table.cells.states)
    assert again.sha256 == table.sha256


def test_a_schema_holds_for_every_form(tmp_path):
    """That of the text file read from Parquet gives the cells of the text file."""
    table = read_table(as_file(tmp_path, "csv"))
    other = read_with_schema(as_file(tmp_path, "parquet"), table.schema)
    np.testing.assert_array_equal(other.cells.values, table.cells.values)


@pytest.mark.parametrize(
    "frame",
    [
        ARROW,
        pl.from_arrow(ARROW),
        ARROW.to_pandas(),
        ARROW.to_pandas(types_mapper=pd.ArrowDtype),
        pd.DataFrame(COLUMNS).convert_dtypes(),
        pd.DataFrame(COLUMNS).astype({"work": "category"}),
    ],
    ids=["arrow", "polars", "pandas", "pandas of Arrow", "pandas of its own", "categorical"],
)
def test_frames(frame):
    """Of pandas in all its types, of polars, of Arrow; told apart by what they hold."""
    table = read_table(frame)
    assert_people(table)
    assert read_table(frame).sha256 == table.sha256
    shorter = frame.slice(0, 50) if not isinstance(frame, pd.DataFrame) else frame.head(50)
    assert read_table(shorter).sha256 != table.sha256


def test_odd_types_of_frames():
    """Decimals are numbers, mixed objects kinds, NaN and None missing, lists left out with a word."""
    frame = pd.DataFrame({
        "price": [Decimal(f"{i % 9}.25") for i in ROWS],
        "mixed": [(1, "a", 2.5, None, True)[i % 5] for i in ROWS],
        "gap": [np.nan if i % 4 else float(i) for i in ROWS],
        "many": [[i] for i in ROWS],
    })  # fmt: skip
    table = read_table(frame)
    assert [column.name for column in table.schema.columns] == ["price", "mixed", "gap"]
    assert table.schema.modelled[0].decimals == 2
    assert set(table.schema.modelled[1].categories) == {"1", "a", "2.5", "True"}
    assert column_values(table.schema, table.cells)["gap"][:3] == [0, None, None]
    assert table.words["many"].startswith("left out: values of type list")
    assert any("many" in line and "left out" in line for line in describe(table))


def test_integers_with_gaps_stay_integers():
    """pandas makes floats of integers where a value is missing."""
    table = read_table(pd.DataFrame({"n": [None if i % 5 == 0 else i % 7 for i in ROWS]}))
    assert table.schema.modelled[0].integer


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        (pd.DataFrame({"a": [1.0, np.inf] * 30}), "frame: column 'a', row 2: want a number of at most 1e"),
        (pd.DataFrame({"a": []}), "frame: want rows, came none"),
        (pd.DataFrame([[1, 2]] * 30, columns=["a", "a"]), "frame: columns 1 and 2: want a name for each"),
        (pd.DataFrame(index=range(30)), "frame: want 1 to 10000 columns, came 0"),
        ([[1, 2]], "want a path, a frame of pandas or polars or an Arrow table, came list"),
        (pa.table({"a": [datetime(2024, 1, 1)] * 30, "b": [[1]] * 30}), "want a column that differs from row to row"),
    ],
)  # fmt: skip
def test_bad_frames_are_refused(frame, wanted):
    """In one line, as files are."""
    with pytest.raises(TrainingError) as refused:
        read_table(frame)
    assert wanted in str(refused.value)


def test_columns_of_another_table(tmp_path):
    """A schema asks for its columns, and for cells of their types; more columns are not looked at."""
    table = read_table(as_file(tmp_path, "csv"))
    frame = ARROW.to_pandas().assign(more=1)
    assert len(read_with_schema(frame, table.schema).cells) == 60
    for changed, wanted in (
        (frame.drop(columns="age"), "frame: want a column 'age', as the schema has it"),
        (frame.assign(age=0.5), "column 'age', row 1: want a whole number, as the schema has it, came 0.5"),
        (frame.assign(work="Navy"), "column 'work', row 1: want one of its 2 categories .*, came 'Navy'"),
        (frame.assign(seen=frame.born), "column 'seen', row 1: want times with a zone"),
        (frame.assign(member="perhaps"), "column 'member', row 1: want False or True, came 'perhaps'"),
    ):
        with pytest.raises(TrainingError, match=wanted):
            read_with_schema(changed, table.schema)
