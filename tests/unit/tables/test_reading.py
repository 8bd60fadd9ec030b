"""Tables as users have them: what types are inferred, and what is said of a table that cannot be read."""

import json
from datetime import date, timedelta

import numpy as np
import pytest

from serving.bundle.tables import (
    MISSING,
    OBSERVED,
    BooleanColumn,
    CategoryColumn,
    ConstantColumn,
    IdentifierColumn,
    NumericColumn,
    TimestampColumn,
    column_values,
)
from training.modalities.table.reading import describe, read_table, read_with_schema
from training.training_error import TrainingError

ROWS = range(60)
DAY = date(2024, 1, 1)


def day(i):
    return DAY + timedelta(days=3 * i)


@pytest.fixture
def written(tmp_path):
    """A function that writes a file and gives its path."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def lines(cell, *, header="a,b", separator=","):
    """A table of two columns: what ``cell`` gives for each row, and small numbers."""
    rows = [f"{cell(i)}{separator}{i % 5}" for i in ROWS]
    return "\n".join([header.replace(",", separator), *rows, ""])


def column(table, name="a"):
    return next(found for found in table.schema.columns if found.name == name)


def given(table, name="a"):
    """The values and states of a modelled column."""
    place = table.schema.place[name]
    return table.cells.values[:, place], table.cells.states[:, place]


def test_types_are_inferred(written):
    """One column of each type, missing cells among them."""
    header = "id,age,height,work,member,born,seen,zip,same,none"
    rows = [
        f"{i + 1},{20 + i % 30},{1.5 + i % 40 / 100:.2f},{('Private', 'State', '?')[i % 3]},{('True', 'False')[i % 2]},"
        f"{day(i)},{day(i)}T10:00:0{i % 10}Z,0{i % 7}111,NL,"
        for i in ROWS
    ]
    table = read_table(written("\n".join([header, *rows])), label="work")
    kinds = {c.name: type(c) for c in table.schema.columns}
    assert kinds == {
        "id": IdentifierColumn, "age": NumericColumn, "height": NumericColumn, "work": CategoryColumn,
        "member": BooleanColumn, "born": TimestampColumn, "seen": TimestampColumn, "zip": CategoryColumn,
        "same": ConstantColumn, "none": ConstantColumn,
    }  # fmt: skip
    assert column(table, "age").integer
    assert not column(table, "height").integer
    assert column(table, "height").decimals == 2
    assert (column(table, "born").resolution, column(table, "born").zone) == (86400, "local")
    assert (column(table, "seen").resolution, column(table, "seen").zone) == (1, "utc")
    assert column(table, "zip").categories[0].startswith("0")
    assert (column(table, "same").value, column(table, "none").value) == ("NL", None)
    assert column(table, "work").nullable
    assert given(table, "work")[1].tolist() == [OBSERVED, OBSERVED, MISSING] * 20
    assert table.schema.label == "work"


def test_what_was_inferred_is_shown(written):
    """A line for each column, with its type and what was done to it."""
    content = lines(lambda i: f"{i % 9},{i % 10}", separator=";")
    shown = "\n".join(describe(read_table(written(content))))
    assert "data: 60 rows, 2 columns for the model" in shown
    assert "a  numeric     0 to 8.8, 1 decimals; decimal commas" in shown
    assert "b  integer     0 to 4" in shown


@pytest.mark.parametrize(
    ("content", "first"),
    [
        (b"\xef\xbb\xbf" + lines(lambda i: i % 9).encode(), 0),
        (lines(lambda i: i % 9).encode("utf-16"), 0),
        (lines(lambda i: f"{i % 9}.5", separator=";"), 0.5),
        (lines(lambda i: f"{i % 9},5", separator=";"), 0.5),
        (lines(lambda i: f'"{i % 9},5"'), 0.5),
        (lines(lambda i: f'"{1 + i % 9},000"'), 1000),
        (lines(lambda i: f"{1 + i % 9},000", separator=";"), 1),
        (lines(lambda i: f"{1 + i % 9}.000,25", separator=";"), 1000.25),
        (lines(lambda i: f"{i % 9}e-3", separator="\t"), 0),
        (lines(lambda i: f" {i % 9} ", separator="|"), 0),
        (lines(lambda i: i % 9).replace("\n", "\r\n"), 0),
    ],
    ids=["bom", "utf-16", "semicolons", "decimal commas", "quoted commas", "thousands", "three decimals", "both",
         "tabs", "bars and spaces", "carriage returns"],
)  # fmt: skip
def test_numbers_of_any_notation(written, content, first):
    """Are numbers, whatever separates cells, decimals and thousands."""
    table = read_table(written(content))
    assert isinstance(column(table), NumericColumn)
    assert given(table)[0][0] == first


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (lambda i: day(i).strftime("%d.%m.%Y"), "27.11.2026"),
        (lambda i: day(i).strftime("%m/%d/%Y"), "11/27/2026"),
        (lambda i: day(i).strftime("%d/%m/%Y"), "27/11/2026"),
        (lambda i: day(i).strftime("%-d %B %Y"), "27 Nov 2026"),
        (lambda i: day(i).strftime("%Y/%m/%d"), "2026/11/27"),
        (lambda i: day(i).strftime(("%Y-%m-%d", "%d.%m.%Y", '"%b %d, %Y"')[i % 3]), "2026-11-27, 27.11.2026, Nov 27, 2026"),
    ],
)  # fmt: skip
def test_dates_of_any_form(written, cell, words):
    """Are dates; what stands for another form than ISO 8601 is said, also where there are three."""
    table = read_table(written(lines(cell)))
    assert column_values(table.schema, table.cells)["a"] == [day(i).isoformat() for i in ROWS]
    assert table.words["a"] == f"written as {words}; records have 2026-11-27"


def test_times_of_day_and_zones(written):
    """Half days are counted, zones taken off."""
    clock = read_table(written(lines(lambda i: f"{day(i)} {1 + i % 12}:30 PM")))
    assert column_values(clock.schema, clock.cells)["a"][0] == "2024-01-01T13:30"
    zoned = read_table(written(lines(lambda i: f"{day(i)}T00:15:00+01:00")))
    assert column_values(zoned.schema, zoned.cells)["a"][0] == "2023-12-31T23:15Z"


def test_identifiers_are_made_anew(written):
    """Numbers that count rows, codes, UUIDs and names: left out with a word, and continued."""
    rows = [
        f"{1000 + 7 * i},C-{i:05d},{i:08x}-0000-4000-8000-000000000000,Ann {i * 7919 % 997},{i % 3}"
        for i in ROWS
    ]
    table = read_table(written("\n".join(["customer_id,code,key,name,v", *rows])))
    assert [c.name for c in table.schema.modelled] == ["v"]
    values = column_values(table.schema, table.cells)
    assert values["customer_id"][:2] == [1420, 1427]
    assert values["code"][0] == "C-00060"
    assert len(set(values["key"])) == 60
    assert "texts that hardly repeat" in table.words["name"]


def test_unique_numbers_are_numbers(written):
    """A measurement that never repeats is no identifier."""
    table = read_table(written(lines(lambda i: f"{i * i + 0.5}", header="size,b")))
    assert isinstance(column(table, "size"), NumericColumn)


def test_whole_numbers_beyond_doubles_are_names(written):
    """Neighbours stay apart."""
    table = read_table(written(lines(lambda i: 2**60 + i % 3)))
    assert set(column(table).categories) == {str(2**60 + i) for i in range(3)}


def test_many_categories_are_bounded(written):
    """The rarest are the rest; a value too long for a name is one of them."""
    content = ["a,b", *(f"k{i % 400},{i % 5}" for i in range(700)), *(f"{'x' * 200},1" for _ in range(5))]
    table = read_table(written("\n".join(content)))
    assert column(table).rest
    assert len(column(table).categories) == 256
    assert given(table)[0][-1] == 255
    again = read_with_schema(written("\n".join(content)), table.schema)
    assert (again.cells.values == table.cells.values).all()


def test_orders_are_found(written):
    """Those that hold in every row and not by chance; a chain without what follows from it."""
    rows = [f"{i * 37 % 50},{i * 37 % 50 + i % 7},{i * 37 % 50 + i % 7 + i % 11},{i * 29 % 60}" for i in ROWS]
    table = read_table(written("\n".join(["low,middle,high,other", *rows])))
    assert table.schema.orders == (("low", "middle"), ("middle", "high"))
    assert any("low <= middle" in line for line in describe(table))


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "want a table, came an empty file"),
        (b"\n\n\n", "want a table, came an empty file"),
        (b"a,b\n", "want rows below the names of the columns"),
        (b"a,b\n1,2\n", "want at least 20 rows, came 1"),
        (b"1,2\n3,4\n", "want the names of the columns in the first line"),
        (lines(lambda i: i, header="a,a"), "columns 1 and 2: want a name for each, came 'a' for both"),
        (lines(lambda i: i, header="a" * 129 + ",b"), "column 1: want a name of 1 to 128 letters"),
        (b"a,b\n" + b"1,2\n" * 30 + b"3,4,5\n", "record 32: want 2 cells between ',' as in the first, came 3: '3,4,5'"),
        (b"a,b\n" + b"1,2\n" * 30 + b"3\n", "record 32: want 2 cells"),
        (b'a,b\n1,"2\n' + b"1,2\n" * 30_000, "column 'b': want cells of at most 65536 letters"),
        (b"PK\x03\x04\x00\x00", "want text, came a file with NUL bytes; save it as CSV"),
        (lines(lambda i: "old" if i == 17 else i), "column 'a', row 18: want a number, came 'old'; 98.33% of the cells are"),
        (lines(lambda i: "inf" if i == 3 else i * 1.5), "column 'a', row 4: want a number, came 'inf'"),
        (lines(lambda i: f"{i}e300"), "column 'a', row 2: want a number of at most 1e+100, came 1e+300"),
        (lines(lambda i: "2024-02-30" if i == 5 else day(i)), "row 6: want a date or time as '2026-11-27', came '2024-02-30'"),
        (lines(lambda i: f"0{1 + i % 8}/0{1 + i % 9}/2024"), "row 9: want dates that tell day and month apart, came '01/09/2024'"),
        (lines(lambda i: f"{day(i)}T10:00:00{'Z' * (i % 2)}"), "row 1: want a time with a zone, as others have it"),
        (lines(lambda i: "", header="a,b").replace(",0", ",1").replace(",2", ",1").replace(",3", ",1").replace(",4", ",1"),
         "want a column that differs from row to row, came none; 'a': no value in any row"),
        ((",".join(f"c{i}" for i in range(10_001)) + "\n").encode(), "want at most 10000 columns, came 10001"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused(written, content, wanted):
    """In one line that names the file, the column and the row, and what was wanted."""
    path = written(content)
    with pytest.raises(TrainingError) as refused:
        read_table(path)
    assert str(refused.value).startswith(f"--data {path}: ")
    assert wanted in str(refused.value)
    assert "\n" not in str(refused.value)


def test_other_files_are_refused(written, tmp_path):
    """By their ending, or because they are not what it says."""
    for name, wanted in {
        "data.xlsx": "want a .csv, .tsv, .parquet",
        "data.parquet": "want a .parquet file, came another",
        "data.arrow": "want a .arrow file, came another",
        "data.csv.gz": "want a whole .gz file",
    }.items():
        with pytest.raises(TrainingError, match=wanted):
            read_table(written(b"a,b\n1,2\n", name))
    with pytest.raises(TrainingError, match="No such file"):
        read_table(tmp_path / "none.csv")


def test_quoted_newlines_are_spaces(written):
    """A cell of two lines is a kind of one line."""
    table = read_table(written(lines(lambda i: '"x\ny"' if i % 3 else "z")))
    assert column(table).categories == ("x y", "z")


def test_what_is_no_utf8_is_said(written):
    """Read as Windows-1252, with the line in which it shows."""
    table = read_table(written(lines(lambda i: "é" if i % 2 else "e").encode("cp1252")))
    assert set(column(table).categories) == {"é", "e"}
    assert table.notes == ("read as Windows-1252: line 3 is no UTF-8",)


def test_ten_thousand_columns_can_be_read(written):
    """As many as there may be, each with fewer bins, within what a model may have."""
    head = ",".join(f"c{i}" for i in range(10_000))
    rows = [",".join(str(i * j % 17 / 4) for i in range(10_000)) for j in range(1, 26)]
    table = read_table(written("\n".join([head, *rows])))
    assert len(table.schema.columns) == 10_000
    assert table.schema.parameters <= 1 << 17
    assert len(describe(table)) < 100


def override(written, **columns):
    return written(json.dumps({"columns": columns}), "schema.json")


def test_types_can_be_said(written):
    """``--schema`` has the last word, on type, missing texts, forms of dates, bounds and the number of kinds."""
    content = [
        "zip,id,day,code,n,c",
        *(f"{i % 9},{i % 4},0{1 + i % 9}/02/2024,{'x' if i == 3 else i},{i},k{i % 30}" for i in ROWS),
    ]
    path = written("\n".join(content))
    said = override(
        written,
        zip={"type": "category", "nullable": True}, id={"type": "ignore"}, day={"format": "%d/%m/%Y"},
        code={"missing": ["x"], "bounds": [0, 100]}, n={"type": "integer"}, c={"categories": 10},
    )  # fmt: skip
    table = read_table(path, overrides=said)
    assert [c.name for c in table.schema.columns] == ["zip", "day", "code", "n", "c"]
    assert table.words["id"] == "left out: as you say"
    assert column(table, "zip").nullable
    assert column_values(table.schema, table.cells)["day"][:2] == ["2024-02-01", "2024-02-02"]
    assert given(table, "code")[1][3] == MISSING
    assert column(table, "code").bounds == (0, 100)
    assert isinstance(column(table, "n"), NumericColumn)
    assert len(column(table, "c").categories) == 10
    again = read_with_schema(path, table.schema, overrides=said)
    np.testing.assert_array_equal(again.cells.values, table.cells.values)
    np.testing.assert_array_equal(again.cells.states, table.cells.states)


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"x": {"type": "ignore"}}, "'x': want a column of the table"),
        ({"a": {"type": "text"}}, "columns.a.type"),
        ({"a": {"typ": "category"}}, "columns.a.typ"),
        ({"a": {"type": "category", "bounds": [0, 1]}}, "bounds: not for a column of type category"),
        ({"a": {"bounds": [1, 0]}}, "bounds: want the smaller first"),
        ({"a": {"bounds": [0, 7]}}, "column 'a', row 9: want 0 to 7, as --schema says, came 8"),
        ({"a": {"type": "timestamp"}}, "column 'a', row 1: want a date or time"),
        ({"a": {"type": "boolean"}}, "column 'a', row 1: want two different words for false and true, came 9"),
        ({"c": {"type": "integer"}}, "column 'c', row 2: want a whole number, came 0.5"),
        ({"d": {"type": "numeric"}}, "column 'd', row 1: want a number, came 'x'"),
        ({"d": {"nullable": False}}, "column 'd', row 2: want a value, as \"nullable\": false says, came none"),
    ],
)  # fmt: skip
def test_what_is_said_must_fit(written, columns, wanted):
    """In one line: the key of the file, or the cell of the table."""
    path = written("\n".join(["a,c,d", *(f"{i % 9},{i / 2},{'x' if i % 2 == 0 else ''}" for i in ROWS)]))
    with pytest.raises(TrainingError) as refused:
        read_table(path, overrides=override(written, **columns))
    assert wanted in str(refused.value)


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("nobody", "--label 'nobody': want a column of it"),
        ("size", "--label 'size': want a column of a few kinds, came numeric"),
        ("same", "--label 'same': want a column of a few kinds, came constant"),
        ("day", "--label 'day': want a column of a few kinds, came timestamp"),
    ],
)
def test_labels_are_kinds(written, label, wanted):
    """A column of numbers, dates or one value names no pools."""
    rows = [f"{i * i / 7},NL,{day(i)},{i % 3}" for i in range(1100)]
    with pytest.raises(TrainingError, match=wanted):
        read_table(written("\n".join(["size,same,day,kind", *rows])), label=label)
    table = read_table(written("\n".join(["size,same,day,kind", *rows])), label="kind")
    assert column(table, "kind").categories == ("0", "1", "2")
