"""Any table: it is read or refused in one line, and what is read can be drawn, scored and read again."""

import csv

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.bundle.tables import (
    Schema,
    cells_of_columns,
    column_values,
    draw,
    log_prob,
    most_likely,
    to_features,
)
from serving.bundle.tables.column_kinds import LARGEST
from tests.support.table_schemas import parameters_of, uniforms_of
from training.modalities.table.reading import describe, read_table, read_with_schema
from training.training_error import TrainingError

ODD = st.sampled_from(
    ["", "?", "NA", "0", "1", "-1", "1.5", "2,5", "1,234", "007", "1e5", "true", "False", "x", "y", "(rest)", "a\nb", '"',
     "2024-01-01", "01/02/2024", "31.12.1999", "2024-01-01T10:00:00Z", "é", "\u2028", "9" * 30, "z" * 200, " x ", "-0"]
)  # fmt: skip
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-LARGEST, LARGEST),
    st.integers(-3, 3).map(float),
    st.sampled_from([1e100, -1e100, 1e-300, 5e-324, 0.0, 2.0**53, 2.0**60]),
)


def usable(table):
    """Its schema is read back, its cells come back as values, and p(x|z) is finite wherever it is asked."""
    schema, cells = table.schema, table.cells
    assert Schema.parse(schema.to_bytes()) == schema
    assert all(line.isprintable() for line in describe(table))
    again = cells_of_columns(schema, column_values(schema, cells))
    np.testing.assert_array_equal(again.states, cells.states)
    np.testing.assert_allclose(again.values, cells.values, rtol=1e-12, atol=1e-6)
    assert np.isfinite(to_features(schema, cells)).all()
    parameters = parameters_of(schema, len(cells), 0)
    assert np.isfinite(log_prob(schema, parameters, cells)).all()
    drawn = draw(schema, parameters, uniforms_of(schema, len(cells), 0))
    for made in (drawn, most_likely(schema, parameters)):
        taken = cells_of_columns(schema, column_values(schema, made))
        np.testing.assert_array_equal(taken.states, made.states)
        assert np.isfinite(log_prob(schema, parameters, made)).all()
        for low, high in schema.orders:
            a, b = schema.place[low], schema.place[high]
            both = (made.states[:, a] == 1) & (made.states[:, b] == 1)
            assert (made.values[both, a] <= made.values[both, b]).all()


@given(
    st.lists(st.lists(ODD, min_size=1, max_size=4), min_size=1, max_size=4),
    st.sampled_from([",", ";", "\t"]),
    st.integers(20, 60),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text(tmp_path, palettes, separator, rows, random):
    """Cells of every odd kind, in any mixture."""
    path = tmp_path / "any.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow([f"c{place}" for place in range(len(palettes))])
        writer.writerows([random.choice(palette) for palette in palettes] for _ in range(rows))
    try:
        table = read_table(path)
    except TrainingError as error:
        message = str(error)
    else:
        usable(table)
        again = read_with_schema(path, table.schema)
        np.testing.assert_array_equal(again.cells.values, table.cells.values)
        np.testing.assert_array_equal(again.cells.states, table.cells.states)
        message = ""
    assert message.isprintable()


@given(
    st.lists(st.lists(st.none() | NUMBERS, min_size=20, max_size=60), min_size=1, max_size=3),
    st.integers(1, 8),
)
@settings(max_examples=150, deadline=None)
def test_any_numbers(columns, times):
    """Of any size, as close together or as far apart as doubles are; in few rows or in more."""
    length = min(map(len, columns))
    frame = pa.table({f"c{place}": values[:length] * times**3 for place, values in enumerate(columns)})
    try:
        table = read_table(frame)
    except TrainingError as error:
        message = str(error)
    else:
        usable(table)
        message = ""
    assert message.isprintable()


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(tmp_path, content):
    """In files of any ending."""
    for ending in ("csv", "tsv", "parquet", "arrow", "csv.gz", "csv.xz"):
        path = tmp_path / f"any.{ending}"
        path.write_bytes(content)
        message = ""
        try:
            read_table(path)
        except TrainingError as error:
            message = str(error)
        assert message.isprintable()
