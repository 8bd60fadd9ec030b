"""A server reads texts as the reader of the training data did: the notation of each column is in its schema."""

from datetime import date, timedelta

import numpy as np
import pytest
from pydantic import ValidationError

from serving.bundle.tables import CellError, Schema, cells_of_columns, cells_of_rows
from serving.bundle.tables.written.written_numbers import Notation, number_of
from serving.bundle.tables.written.written_times import FORMS, moment_of
from training.modalities.table.reading import read_table
from training.modalities.table.reading.schema_overrides import ColumnOverride

ROWS = range(60)


def day(i):
    return date(2024, 1, 1) + timedelta(days=3 * i)


@pytest.fixture
def trained(tmp_path):
    """A function that gives the table with these texts in its column "a"."""

    def read(texts):
        path = tmp_path / "data.csv"
        rows = [f"{text}|{i % 5}" for i, text in enumerate(texts)]
        path.write_text("\n".join(["a|b", *rows, ""]), encoding="utf-8")
        return read_table(path)

    return read


NUMBERS = {
    "points": lambda i: f"{i % 9}.5",
    "decimal commas": lambda i: f"{i % 9},5",
    "thousands by commas": lambda i: f"{1 + i % 9},000.5",
    "thousands by points": lambda i: f"{1 + i % 9}.000,25",
    "some thousands": lambda i: f"{i},500.5" if i else "500.5",
    "exponents": lambda i: f"{i % 9}e-3",
}
TIMES = {
    "%d.%m.%Y": "%d.%m.%Y",
    "%m/%d/%Y": "%m/%d/%Y",
    "%d/%m/%Y": "%d/%m/%Y",
    "%-d %B %Y": "%-d %B %Y",
    "%Y/%m/%d": "%Y/%m/%d",
    "%Y-%m-%d": "%Y-%m-%d",
    "half days": "%Y-%m-%d 1:30 PM",
    "half days, other form": "%d.%m.%Y 1:30 PM",
    "no zeros": "%Y-%-m-%-d",
}


@pytest.mark.parametrize("cell", NUMBERS.values(), ids=NUMBERS)
def test_numbers_are_read_as_in_training(trained, cell):
    """The texts of the file, given as they are, are the cells that the model learned; so are numbers."""
    texts = [cell(i) for i in ROWS]
    table = trained(texts)
    again = Schema.model_validate_json(table.schema.model_dump_json())
    cells = cells_of_rows(again, [{"a": text, "b": i % 5} for i, text in enumerate(texts)])
    assert np.array_equal(cells.values, table.cells.values)
    assert np.array_equal(cells.states, table.cells.states)
    told = table.cells.values[:, table.schema.place["a"]].tolist()
    packed = cells_of_columns(again, {"a": told, "b": [i % 5 for i in ROWS]})
    assert np.array_equal(packed.values, table.cells.values)


@pytest.mark.parametrize("form", TIMES.values(), ids=TIMES)
def test_times_are_read_as_in_training(trained, form):
    """In the form of the file; ISO 8601 is always one."""
    texts = [day(i).strftime(form) for i in ROWS]
    table = trained(texts)
    again = Schema.model_validate_json(table.schema.model_dump_json())
    cells = cells_of_rows(again, [{"a": text, "b": i % 5} for i, text in enumerate(texts)])
    assert np.array_equal(cells.values, table.cells.values)
    clock = "T13:30" if "PM" in form else ""
    iso = cells_of_rows(again, [{"a": f"{day(i)}{clock}", "b": i % 5} for i in ROWS])
    assert np.array_equal(iso.values, table.cells.values)


@pytest.mark.parametrize(
    ("texts", "came", "wanted"),
    [
        ([f"{1 + i}.000,5" for i in ROWS], "1,5,5", "a number"),
        ([f"{1 + i}.000,5" for i in ROWS], "1_000", "a number"),
        ([f"{1 + i}.5" for i in ROWS], "1,5", "a number"),
        ([day(i).strftime("%d.%m.%Y") for i in ROWS], "31.02.2024", "such as 2026-11-27 or 27.11.2026"),
        ([day(i).strftime("%d.%m.%Y") for i in ROWS], "02/03/2024", "such as 2026-11-27 or 27.11.2026"),
        ([day(i).strftime("%d.%m.%Y") for i in ROWS], "3 Nonsense 2024", "such as 2026-11-27 or 27.11.2026"),
    ],
)
def test_other_notations_are_refused(trained, texts, came, wanted):
    """A text that the column never had is not guessed at."""
    with pytest.raises(CellError) as caught:
        cells_of_rows(trained(texts).schema, [{"a": came, "b": 1}])
    assert "column 'a', row 0" in str(caught.value)
    assert wanted in str(caught.value)


def test_derived_columns_are_read_so_too(tmp_path):
    """Told texts of one are compared by what they say, in the notation of the data."""
    fees = {"low": "1.000,5", "middle": "2.500,25", "high": "10.000,75"}
    since = {"low": "01.02.2020", "middle": "15.02.2021", "high": "28.02.2022"}
    kinds = list(fees)
    rng = np.random.default_rng(0)
    rows = [(kinds[i], fees[kinds[i]], since[kinds[i]], rng.integers(9)) for i in rng.integers(0, 3, 600)]
    path = tmp_path / "fees.csv"
    path.write_text("\n".join(["kind|fee|since|b", *("|".join(map(str, row)) for row in rows), ""]))
    schema = read_table(path).schema
    assert {column.name for column in schema.derived} == {"fee", "since"}
    told = {"kind": "high", "b": 1}
    for text in ("10.000,75", "10000,75"):
        cells_of_rows(schema, [told | {"fee": text, "since": "28.02.2022"}])
    cells_of_rows(schema, [told | {"fee": 10000.75, "since": "2022-02-28"}])
    with pytest.raises(CellError, match="fee"):
        cells_of_rows(schema, [told | {"fee": "1.000,5", "since": "28.02.2022"}])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_its_own_example(form):
    """What a refusal shows as wanted is taken."""
    assert moment_of(form, (form,)) == moment_of("2026-11-27", ())


@pytest.mark.parametrize(
    "form", ["%", "%H:%M", "%Y%Y-%m-%d", "%d.%m", "%Q.%d.%m.%Y", "%-d.%m.%Y", "27-11-26", "", "%d%m%Y " * 20]
)
def test_what_is_no_form_is_refused(form):
    """Before a text is read by it: of a part that is there twice, strptime says so by an error of its own kind."""
    with pytest.raises(ValidationError):
        ColumnOverride(format=form)


@pytest.mark.parametrize(
    "form", ["%d.%m.%y", "%Y-%m-%dT%H:%M:%S%z", "%A, %d %B %Y", "27/11/2026", "%Y%m%d", "%Y-%m"]
)
def test_forms_are_taken(form):
    """Those of strptime that name a year, and examples."""
    assert ColumnOverride(format=form).format == form


def test_what_is_no_notation_is_refused():
    """Of a schema that somebody wrote."""
    with pytest.raises(ValidationError, match="two marks"):
        Notation(point=",", thousands=",")
    with pytest.raises(ValidationError, match=r"27\.11\.2026"):
        Schema.model_validate_json(
            '{"columns": [{"type": "timestamp", "name": "a", "nullable": false, "bounds": [0, 86400],'
            ' "scale": {"knots": [0], "scores": [0], "width": 86400}, "bins": null, "resolution": 86400,'
            ' "zone": "local", "written": ["27-11-26"]}]}'
        )


@pytest.mark.parametrize("text", ["", ".", "-", "1.2.3", "0x10", "1 000", "1e", "+-1"])
def test_what_is_no_number_is_none(text):
    """Whatever the notation."""
    for notation in (Notation(), Notation(point=","), Notation(thousands=",")):
        with pytest.raises(ValueError, match=r".*"):
            number_of(text, notation)
