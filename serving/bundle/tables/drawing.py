"""p(x|z) of a table: drawing records from it, its most likely record, and the log probability of one.

Parameters [n, P] are what the decoder gives, ``Schema.spans`` tells whose they are: a logit for missing where
the column is nullable, then the logits of its values. A row's draw depends on its own parameters and
uniforms alone, whatever rows are drawn with it. n is the number of rows, C of modelled columns.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables.cells import MISSING, OBSERVED, UNKNOWN, Cells, Doubles
from serving.bundle.tables.column_kinds import BooleanColumn, Modelled, Number
from serving.bundle.tables.normal_scores import Limits
from serving.bundle.tables.numeric_columns import chosen, log_softmax, weights_of
from serving.bundle.tables.table_features import check
from serving.bundle.tables.table_schema import Schema

Array = NDArray[Any]

_COLDEST = 1e-6
"""Of temperatures above 0: logits are float32, and divided by it they are finite."""
_BLOCK = 1024
"""Rows at a time: a column's weights stay in the cache of the processor."""


def draw(schema: Schema, parameters: Array, uniforms: Array, temperature: float = 1.0) -> Cells:
    """One record of each row, drawn from p(x|z) and written as the data are.

    ``uniforms`` [n, C, 3] in (0, 1): whether the cell is missing, which category or bin it is in, where in
    it. ``temperature`` divides all logits; 0 gives the most likely record. What the schema orders
    comes in that order: a column is drawn from its density cut off at those drawn before it.

    Raises:
        ValueError: shapes do not fit the schema, or the temperature is neither 0 nor positive.
    """
    nothing = Cells.unknown(len(parameters), len(schema.modelled))
    return _filled(schema, parameters, uniforms, nothing, temperature, missing=True)


def impute(
    schema: Schema, parameters: Array, uniforms: Array, cells: Cells, temperature: float = 1.0
) -> Cells:
    """The same where a cell is unknown or missing, but never as missing; observed cells stay."""
    return _filled(schema, parameters, uniforms, cells, temperature, missing=False)


def most_likely(schema: Schema, parameters: Array) -> Cells:
    """The most probable category, the median of a number, missing where that is likelier than not."""
    nothing = Cells.unknown(len(parameters), len(schema.modelled))
    return _filled(schema, parameters, None, nothing, 0.0, missing=True)


def log_prob(schema: Schema, parameters: Array, cells: Cells) -> Doubles:
    """[n, C] log p(cell|z) in nats; 0 where a cell is unknown.

    Of a number in a continuous column it is the log density of its normal score, where it is not one of the
    values that have a bin of their own.

    Raises:
        ValueError: shapes do not fit the schema, or a cell is missing where the data had none missing.
    """
    check(schema, cells)
    found = np.zeros(cells.values.shape)
    for rows, block in _blocks(schema, parameters):
        for place, (column, missing, logits) in enumerate(block()):
            values, states = cells.values[rows, place], cells.states[rows, place]
            given = _log_values(column, logits.astype(np.float64), np.where(states == OBSERVED, values, 0))
            if missing is not None:
                given -= np.logaddexp(0, missing)
                given = np.where(states == MISSING, -np.logaddexp(0, -missing), given)
            found[rows, place] = np.where(states == UNKNOWN, 0, given)
    return found


def _log_values(column: Modelled, logits: Doubles, values: Doubles) -> Doubles:
    if isinstance(column, BooleanColumn):
        told: Doubles = -(np.logaddexp(0, np.where(values > 0, -logits[0], logits[0])))
        return told
    if isinstance(column, Number):
        return column.density.log_density(logits, values)
    given: Doubles = log_softmax(logits)[values.astype(np.intp), np.arange(len(values))]
    return given


Parts = tuple[Modelled, Doubles | None, Array]
"""A column, its logits for missing [n] if it is nullable, the logits [K, n] of its values."""


def _blocks(schema: Schema, parameters: Array) -> Iterator[tuple[slice, Callable[[], Iterator[Parts]]]]:
    if parameters.ndim != 2 or parameters.shape[1] != schema.parameters:
        raise ValueError(f"parameters: want [n, {schema.parameters}], came {list(parameters.shape)}")
    for start in range(0, len(parameters), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(parameters)))

        def columns(rows: slice = rows) -> Iterator[Parts]:
            for column in schema.modelled:
                logits = np.ascontiguousarray(parameters[rows, schema.spans[column.name]].T)
                if column.nullable:
                    yield column, logits[0].astype(np.float64), logits[1:]
                else:
                    yield column, None, logits

        yield rows, columns


def _filled(
    schema: Schema,
    parameters: Array,
    uniforms: Array | None,
    cells: Cells,
    temperature: float,
    *,
    missing: bool,
) -> Cells:
    check(schema, cells)
    shape = (len(parameters), len(schema.modelled))
    if cells.values.shape != shape:
        raise ValueError(f"cells: want {list(shape)} as there are parameters, came {cells.values.shape}")
    if uniforms is not None and uniforms.shape != (*shape, 3):
        raise ValueError(f"uniforms: want {[*shape, 3]}, came {list(uniforms.shape)}")
    if not (temperature == 0 or _COLDEST <= temperature < np.inf):
        raise ValueError(f"temperature: want 0, or at least {_COLDEST:g}, came {temperature:g}")
    values, states = np.where(cells.states == OBSERVED, cells.values, 0), cells.states.copy()
    for rows, block in _blocks(schema, parameters):
        drawn = uniforms[rows] if uniforms is not None and temperature > 0 else None
        _fill(schema, block(), drawn, values[rows], states[rows], temperature, missing)
    return Cells(values, states)


def _fill(
    schema: Schema,
    columns: Iterator[Parts],
    uniforms: Array | None,
    values: Doubles,
    states: NDArray[np.int8],
    temperature: float,
    may_miss: bool,
) -> None:
    """Fill what is not observed of a block of rows, in place; ``uniforms`` None: the most likely."""
    for place, (column, missing, logits) in enumerate(columns):
        empty = states[:, place] != OBSERVED
        own = None if uniforms is None else uniforms[:, place]
        if isinstance(column, Number):
            limits = _limits(schema, place, values, states)
            found = _numbers(column, logits, own, temperature, limits)
        else:
            found = _kinds(column, logits, own, temperature)
        values[:, place] = np.where(empty, found, values[:, place])
        states[empty, place] = OBSERVED
        if missing is not None and may_miss:
            gone = empty & _missing(missing, own, temperature)
            values[gone, place], states[gone, place] = 0, MISSING


def _missing(logits: Doubles, uniforms: Array | None, temperature: float) -> NDArray[np.bool_]:
    if uniforms is None:
        return logits > 0
    odds = np.log(uniforms[:, 0]) - np.log1p(-uniforms[:, 0])
    return odds < logits / temperature


def _kinds(column: Modelled, logits: Array, uniforms: Array | None, temperature: float) -> Doubles:
    if isinstance(column, BooleanColumn):
        if uniforms is None:
            return np.asarray(logits[0] > 0, np.float64)
        odds = np.log(uniforms[:, 1]) - np.log1p(-uniforms[:, 1])
        return np.asarray(odds < logits[0] / np.float64(temperature), np.float64)
    if uniforms is None:
        return np.asarray(logits.argmax(0), np.float64)
    return np.asarray(chosen(weights_of(logits, temperature), uniforms[:, 1]), np.float64)


def _numbers(
    column: Number, logits: Array, uniforms: Array | None, temperature: float, limits: Limits | None
) -> Doubles:
    if uniforms is None:
        return column.density.median(logits, limits)
    return column.density.drawn(logits, uniforms[:, 1:], temperature, limits)


def _limits(schema: Schema, place: int, values: Doubles, states: NDArray[np.int8]) -> Limits | None:
    """Between which values a column must lie, by those that are there already; None if nothing is said."""
    below, above = schema.before[place]
    if not below and not above:
        return None
    low, high = np.full(len(values), -np.inf), np.full(len(values), np.inf)
    for other in below:
        low = np.maximum(low, np.where(states[:, other] == OBSERVED, values[:, other], -np.inf))
    for other in above:
        high = np.minimum(high, np.where(states[:, other] == OBSERVED, values[:, other], np.inf))
    crossed = low > high  # what was given breaks the order itself
    low[crossed], high[crossed] = -np.inf, np.inf
    return (low, high) if np.isfinite(low).any() or np.isfinite(high).any() else None
