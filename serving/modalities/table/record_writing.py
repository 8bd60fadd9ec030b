"""Cells to ``vae.v1.Records``, serialised: written straight into wire format, as ``serving.wire.replies`` is.

A message built in Python takes a microsecond for each cell of an object; here the bytes of a name are made
once a column, and those of a category once a category.

Source: https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from google.protobuf import struct_pb2
from numpy.typing import NDArray

from serving.bundle.tables import (
    OBSERVED,
    BooleanColumn,
    CategoryColumn,
    Cells,
    Modelled,
    NumericColumn,
    column_values,
)
from serving.modalities.table.table_modality import TableModality
from serving.pb.vae.v1 import tensors_pb2
from serving.protobuf_wire import delimited

Kept = Mapping[str, Sequence[object]]
"""Values of columns that stay as they came."""

_FEW = 64
"""Categories that are written as they are, whichever of them come."""
_FIELD, _KEY, _VALUE = struct_pb2.Struct.FIELDS_FIELD_NUMBER, 1, 2  # those of an entry of any map
_NULL = struct_pb2.Value(null_value=struct_pb2.NULL_VALUE).SerializeToString()
_NUMBER = struct.Struct("<Bd")
_NUMBER_TAG = struct_pb2.Value.NUMBER_VALUE_FIELD_NUMBER << 3 | 1  # 64 bits
_ROWS = tensors_pb2.Records.ROWS_FIELD_NUMBER
_COLUMNS = tensors_pb2.Records.COLUMNS_FIELD_NUMBER
_COLUMN = tensors_pb2.Columns.COLUMNS_FIELD_NUMBER
_NAME, _MISSING = tensors_pb2.Column.NAME_FIELD_NUMBER, tensors_pb2.Column.MISSING_FIELD_NUMBER
_NUMBERS = tensors_pb2.Column.NUMBERS_FIELD_NUMBER, tensors_pb2.Numbers.VALUES_FIELD_NUMBER
_BOOLEANS = tensors_pb2.Column.BOOLEANS_FIELD_NUMBER, tensors_pb2.Booleans.VALUES_FIELD_NUMBER
_TIMES = tensors_pb2.Column.TIMES_FIELD_NUMBER, tensors_pb2.Times.MICROSECONDS_FIELD_NUMBER
_TEXTS = tensors_pb2.Column.TEXTS_FIELD_NUMBER
_DICTIONARY, _CODES = tensors_pb2.Texts.DICTIONARY_FIELD_NUMBER, tensors_pb2.Texts.CODES_FIELD_NUMBER


def rows_of(modality: TableModality, cells: Cells, first_row: int, kept: Kept) -> bytes:
    """As objects, columns in the order of the table; identifiers are those of ``first_row`` and after."""
    values = {**column_values(modality.schema, cells, first_row=first_row), **kept}
    columns = [_entries(name, of_column) for name, of_column in values.items()]
    return b"".join([_field(_ROWS, b"".join(row)) for row in zip(*columns, strict=True)])


def columns_of(modality: TableModality, cells: Cells, first_row: int, kept: Kept) -> bytes:
    """The same as packed columns."""
    schema = modality.schema
    apart: dict[str, Sequence[object]] = {}
    if modality.apart:
        places = modality.apart_from
        some = Cells(cells.values[:, places], cells.states[:, places])
        made = column_values(modality.apart, some, first_row=first_row)
        apart = {name: values for name, values in {**made, **kept}.items() if name not in schema.place}
    written = [
        _listed(column.name, apart[column.name])
        if column.name in apart
        else _modelled(schema.modelled[schema.place[column.name]], cells, schema.place[column.name])
        for column in schema.columns
    ]
    return _field(_COLUMNS, b"".join([_field(_COLUMN, column) for column in written]))


def _entries(name: str, values: Sequence[object]) -> list[bytes]:
    """Of a map from names to values, one for each row."""
    key = _field(_KEY, name.encode())
    head = key + delimited(_VALUE, _NUMBER.size)
    before_number = delimited(_FIELD, len(head) + _NUMBER.size) + head
    texts: dict[object, bytes] = {}
    found = []
    for value in values:
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.append(before_number + _NUMBER.pack(_NUMBER_TAG, value))
            continue
        entry = texts.get(value)
        if entry is None:
            entry = texts[value] = _field(_FIELD, key + _field(_VALUE, _value(value)))
        found.append(entry)
    return found


def _value(value: object) -> bytes:
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value).SerializeToString()
    return struct_pb2.Value(string_value=str(value)).SerializeToString()


def _modelled(column: Modelled, cells: Cells, place: int) -> bytes:
    values, told = cells.values[:, place], cells.states[:, place] == OBSERVED
    if isinstance(column, CategoryColumn):
        content = _categories(column, values.astype("<i4"))
    elif isinstance(column, BooleanColumn):
        content = _packed(_BOOLEANS, (values > 0).view(np.uint8))
    elif isinstance(column, NumericColumn):
        content = _packed(_NUMBERS, values.astype("<f8"))
    else:
        content = _packed(_TIMES, np.round(values * 1e6).astype("<i8"))
    return _field(_NAME, column.name.encode()) + content + _missing(told)


def _listed(name: str, values: Sequence[object]) -> bytes:
    """A column of values of one kind."""
    told = np.array([value is not None for value in values], np.bool_)
    some = next((value for value in values if value is not None), "")
    if isinstance(some, bool):
        content = _packed(_BOOLEANS, np.array([value is True for value in values], np.uint8))
    elif isinstance(some, int | float):
        content = _packed(_NUMBERS, np.array([0 if v is None else v for v in values], "<f8"))
    else:
        texts = ["" if value is None else str(value) for value in values]
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        content = _texts(list(places), np.array([places[text] for text in texts], "<i4"))
    return _field(_NAME, name.encode()) + content + _missing(told)


def _categories(column: CategoryColumn, codes: NDArray[np.int32]) -> bytes:
    if len(column.categories) <= max(len(codes), _FEW):
        return _texts(column.categories, codes)
    used, codes_of_used = np.unique(codes, return_inverse=True)
    return _texts([column.categories[code] for code in used], codes_of_used.astype("<i4"))


def _texts(dictionary: Sequence[str], codes: NDArray[np.int32]) -> bytes:
    words = b"".join([_field(_DICTIONARY, word.encode()) for word in dictionary])
    return _field(_TEXTS, words + _field(_CODES, codes.tobytes()))


def _packed(fields: tuple[int, int], values: NDArray[np.generic]) -> bytes:
    kind, inner = fields
    return _field(kind, _field(inner, values.tobytes()))


def _missing(told: NDArray[np.bool_]) -> bytes:
    return b"" if told.all() else _field(_MISSING, (~told).view(np.uint8).tobytes())


def _field(number: int, content: bytes) -> bytes:
    return delimited(number, len(content)) + content
