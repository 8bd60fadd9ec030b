"""Tables of the command line: text with separators, Parquet and Arrow in; Parquet and CSV out, whole or not at all."""

import bz2
import csv
import gzip
import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, parquet

from serving.bundle.tables import MISSING_TEXTS
from serving.client.files import FileError
from serving.client.records.described_table import Table, TableColumn
from serving.client.records.received_records import Records
from serving.client.table_files import delimited_text, table_files
from serving.client.table_files.answered_columns import filled_in, with_draws
from serving.client.table_files.table_commands import given_of
from serving.client.table_files.table_files import columns_of, for_model, is_table, read_table, table_writer
from tests.support import patience

TABLE = Table(
    (
        TableColumn("age", "numeric", integer=True),
        TableColumn("work", "category", categories=("Private", "NA")),
        TableColumn("height", "numeric"),
        TableColumn("member", "boolean"),
    )
)


def read(path, table=TABLE):
    """All of its columns, as lists of Python's values."""
    found = {}
    for part in read_table(path, table):
        for name, values in part.items():
            found.setdefault(name, []).extend(values if isinstance(values, list) else values.to_pylist())
    return found


ROWS = {"age": ["39", None], "work": ["Private", "NA"], "height": ["1.82", None], "member": ["yes", "true"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "age,work,height,member\n39,Private,1.82,yes\n?,NA,,true\n"),
        ("a.csv", "\ufeffage;work;height;member\r\n39;Private;1,82;yes\r\n\r\n;NA;NaN;true\r\n"),
        ("a.tsv", "age\twork\theight\tmember\n39\tPrivate\t1.82\tyes\n \tNA\tnull\ttrue"),
        ("a.txt", 'age|"work"|height |member\n39|"Private"|1.82|yes\n""|NA|#N/A|true\n'),
    ],
    ids=["commas", "semicolons, BOM, decimal commas", "tabs", "bars and quotes"],
)
def test_text_in_the_forms_that_it_has(tmp_path, name, content):
    """The separator is the one that finds the model's columns; cells stay text, and those without a value are None."""
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert read(path) == ROWS
    for suffix, pack in ((".gz", gzip.compress), (".bz2", bz2.compress)):
        packed = tmp_path / f"{name}{suffix}"
        packed.write_bytes(pack(content.encode()))
        assert read(packed) == ROWS
    path.write_bytes(content.removeprefix("\ufeff").encode("utf-16"))
    assert read(path) == ROWS


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.integers()), min_size=1
    )
)
def test_whatever_a_cell_holds_comes_back(tmp_path_factory, rows):
    """Separators, quotes and line ends within a cell are read as they were written, a few rows at a time too."""
    path = tmp_path_factory.mktemp("text") / "a.csv"
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("work", "age"), *rows])
    path.write_bytes(text.getvalue().encode())
    parts = list(delimited_text.read_texts(path, TABLE, 2))
    works = [cell for part in parts for cell in part["work"]]
    missing = delimited_text.MISSING_TEXTS - {"NA"}
    assert works == [None if cell.strip() in missing else cell for cell, _ in rows]
    assert [int(cell) for part in parts for cell in part["age"]] == [age for _, age in rows]
    assert all(len(part["age"]) <= 2 for part in parts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "want a table, came an empty file"),
        (b"\xef\xbb\xbf \n\n", "want a table, came an empty file"),
        (b"age,work\n", "want rows, came none"),
        (b"age,work\n1,a\n2\n", r"line 3: want 2 cells between ',', as in the first line, came 1"),
        (b"age,age\n1,2\n", "want a name for each column, came 'age' twice"),
        (b"PK\x03\x04\0\0", "want text with a separator, came a binary file"),
        (b"age,work\n1,\xc3\x81\xff\n", "want text in UTF-8, came another encoding"),
        (b'age,work\n1,"open\n', "line 2: unexpected end of data"),
        (b'age,work\n1,"' + b"x" * 200_000, "line 2: field larger than field limit"),
    ],
)
def test_text_that_cannot_be_read_is_named(tmp_path, content, message):
    """The file and the line, in one line."""
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(FileError, match=f"^{path}: {message}") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_other_files_that_cannot_be_read_are_named(tmp_path):
    """Missing, a folder, cut off, of another kind, or with a column twice."""
    for name in ("a.csv", "a.parquet", "a.arrow", "a.csv.gz"):
        with pytest.raises(FileError, match=rf"{name}: cannot be read: No such file or directory"):
            read(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileError, match=r"folder\.csv: want a table, came a folder"):
        read(tmp_path / "folder.csv")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"age\n" * 1000)[:-9])
    with pytest.raises(FileError, match=r"a\.csv\.gz: want a whole \.gz file"):
        read(tmp_path / "a.csv.gz")
    for name in ("a.parquet", "a.feather"):
        (tmp_path / name).write_bytes(b"age,work\n1,2\n" * 10)
        with pytest.raises(
            FileError, match=f"a{Path(name).suffix}: want a {Path(name).suffix} file, came another"
        ):
            read(tmp_path / name)
    twice = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], ["age", "age"])
    parquet.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(FileError, match=r"twice\.parquet: want a name for each column, came 'age' twice"):
        read(tmp_path / "twice.parquet")


def test_old_text_is_read_with_a_word(tmp_path, caplog):
    """Windows-1252, as programs of offices write it, is told apart from UTF-8."""
    (tmp_path / "a.csv").write_bytes("work,age\nZürich,3\n".encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path / "a.csv")["work"] == ["Zürich"]
    assert "read as Windows-1252" in caplog.text


def test_parquet_and_arrow_are_read_a_part_at_a_time(tmp_path, monkeypatch):
    """All rows in order, whatever groups and batches they were written in; an index that has no name is not sent."""
    monkeypatch.setattr(table_files, "ROWS", 7)
    rows = pyarrow.table(
        {"age": list(range(40)), "__index_level_0__": list(range(40)), "work": ["a", None] * 20}
    )
    parquet.write_table(rows, tmp_path / "a.parquet", row_group_size=11)
    feather.write_feather(rows, tmp_path / "a.feather", chunksize=9)
    with pyarrow.ipc.new_stream(tmp_path / "a.arrow", rows.schema) as stream:
        stream.write_table(rows, 13)
    for name in ("a.parquet", "a.feather", "a.arrow"):
        parts = list(read_table(tmp_path / name, TABLE))
        assert max(len(part["age"]) for part in parts) == 7
        assert read(tmp_path / name) == rows.to_pydict()
        assert list(for_model(parts[0], TABLE)) == ["age", "work"]


def test_true_and_false_mean_that_whatever_words_the_data_had(tmp_path):
    """The client writes them into CSV, so the server must take them from there."""
    sent = for_model(
        {"member": ["True", "no", None, " FALSE"], "work": ["True"] * 4, "column 3": ["x"] * 4}, TABLE
    )
    assert sent == {"member": [True, "no", None, False], "work": ["True"] * 4}


def test_cells_without_a_value_are_those_of_training():
    """A file that was trained from is read as it was then; the client needs no part of a bundle to know."""
    assert delimited_text.MISSING_TEXTS == MISSING_TEXTS


def test_names_of_tables():
    """A name tells what a file is read as."""
    for name in ("a.csv", "A.CSV", "a.tsv.gz", "a.parquet", "a.pq", "a.feather", "a.arrow", "a.txt"):
        assert is_table(Path(name))
    for name in ("a.npz", "a.png", "a", "a.gz", "csv"):
        assert not is_table(Path(name))


RECORDS = Records(
    {
        "age": np.ma.MaskedArray(np.array([39, 0]), [False, True]),
        "height": np.array([0.1, 1e-7]),
        "member": np.array([True, False]),
        "work": np.array(["a,b", "é\n"], object),
        "at": np.array(["2026-11-27T09:30", "1969-12-31T23:59"], "datetime64[s]"),
        "on": np.array(["2026-11-27", "0001-01-01"], "datetime64[D]"),
    },
    frozenset(["at"]),
)


def test_records_are_written_as_they_are(tmp_path):
    """Types in Parquet; in CSV ISO 8601 with a Z where there is a zone, and the shortest number that is the same."""
    for name in ("a.csv", "a.parquet"):
        with table_writer(tmp_path / name) as writer:
            for _ in range(2):
                writer.write(columns_of(RECORDS, tmp_path / name))
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == RECORDS.rows() * 2
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == list(RECORDS.columns)
    assert rows == 2 * [
        ["39", "0.1", "True", "a,b", "2026-11-27T09:30:00Z", "2026-11-27"],
        ["", "1e-07", "False", "é\n", "1969-12-31T23:59:00Z", "0001-01-01"],
    ]


def test_row_groups_are_large(tmp_path, monkeypatch):
    """Parts of a stream are gathered: small row groups make a file slow to read."""
    monkeypatch.setattr(table_files, "ROWS", 100)
    with table_writer(tmp_path / "a.parquet") as writer:
        for start in range(0, 1000, 30):
            writer.write({"n": np.arange(start, start + 30)})
    with parquet.ParquetFile(tmp_path / "a.parquet") as file:
        assert file.num_row_groups <= 10
        assert file.read()["n"].to_pylist() == list(range(1020))


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_half_written_is_left(tmp_path, name, error):
    """What ends in the middle leaves the folder as it was, with the file of before."""
    (tmp_path / name).write_bytes(b"before")

    def write():
        with table_writer(tmp_path / name) as writer:
            writer.write({"n": np.arange(10)})
            raise error

    with pytest.raises(error):
        write()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"before"


TERMINATED = """
import sys, time, pathlib, numpy
from serving.client.table_files.table_files import table_writer
with table_writer(pathlib.Path(sys.argv[1])) as writer:
    writer.write({"n": numpy.arange(10)})
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_terminated_process_leaves_nothing(tmp_path):
    """SIGTERM, as `kill` and containers send it, puts away what is half written."""
    out = tmp_path / "a.csv"
    with subprocess.Popen(
        [sys.executable, "-c", TERMINATED, str(out)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(patience.SECONDS) == 128 + signal.SIGTERM
    assert os.listdir(tmp_path) == []


def test_where_nothing_can_be_written(tmp_path):
    """One line that names the file."""
    with (
        pytest.raises(FileError, match=r"none/a\.csv: cannot be written: No such file or directory"),
        table_writer(tmp_path / "none/a.csv"),
    ):
        pass
    (tmp_path / "a.csv").mkdir()
    with (
        pytest.raises(FileError, match=r"a\.csv: cannot be written: Is a directory"),
        table_writer(tmp_path / "a.csv"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_filled_cells_go_where_there_were_none():
    """Texts of a file stay as they were written; draws of a row follow each other."""
    given = {"id": ["7", "8"], "age": ["039", None]}
    answered = {"id": [7, 7, 8, 8], "age": [39, 39, 1, 2], "new": [1, 2, 3, 4]}
    filled = filled_in(given, answered, 2)
    assert filled == {"id": ["7", "7", "8", "8"], "age": ["039", "039", 1, 2], "new": [1, 2, 3, 4]}
    counted = with_draws(filled, 10, 2)
    assert counted["row"].tolist() == [10, 10, 11, 11]
    assert counted["draw"].tolist() == [0, 1, 0, 1]
    with pytest.raises(FileError, match="want no column of the name 'row', which --draws makes"):
        with_draws({"row": [1]}, 0, 2)


def test_cells_that_are_given():
    """As COLUMN=VALUE, or as a JSON object; a column twice is refused."""
    assert given_of(None) is None
    given = given_of(["sex=Female", "note=a=b", "work=", '{"age": 39, "ok": true}'])
    assert given == {"sex": "Female", "note": "a=b", "work": None, "age": 39, "ok": True}
    for texts, message in (
        (["sex"], "want COLUMN=VALUE, or an object as JSON has it, came 'sex'"),
        (["=3"], "want COLUMN=VALUE"),
        (["{sex: 1}"], "want COLUMN=VALUE"),
        (["a=1", "a=2"], "want each column once, came 'a' twice"),
    ):
        with pytest.raises(ValueError, match=f"^--given: {message}"):
            given_of(texts)
