"""The messages of tables: ``vae.v1.Records``."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.bundle.tables import Cells, draw, impute, most_likely, to_features
from serving.bundle.tables.coercion import Absent
from serving.errors import InvalidInput
from serving.host.background import Background
from serving.latent.noise import uniform
from serving.modalities.modality import Rows
from serving.modalities.table import record_reading, record_writing
from serving.modalities.table.raw_features import check_features
from serving.modalities.table.record_writing import Kept
from serving.modalities.table.table_description import table_of
from serving.modalities.table.table_modality import TableModality
from serving.modalities.wire_form import Decoded, Draws, Partial
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.wire import tensors
from serving.wire.replies import Part, message

_DRAWING = 20
"""Drawing a cell, for each of its logits, in steps of arithmetic on a value."""
_WRITING, _PACKING = 40, 5
"""Writing a cell of an object, and of a packed column, in the same."""
_FEATURES = 10
_COLDEST = 1e-6
"""Of temperatures above 0."""


@dataclass(frozen=True)
class KnownCells:
    """What of some records stays: observed cells, and identifiers that came along."""

    cells: Cells
    kept: Kept = field(default_factory=dict)

    def rows(self, places: Any) -> "KnownCells":
        """Those at these indices, which may be there several times."""
        chosen = np.asarray(places)
        kept = {name: [values[place] for place in chosen.tolist()] for name, values in self.kept.items()}
        return KnownCells(self.cells.rows(chosen), kept)


@dataclass(frozen=True)
class GivenRecords:
    """See ``GivenRows``."""

    modality: TableModality
    message: tensors_pb2.Records
    field: str

    def rows_said(self, max_rows: int) -> int:
        return record_reading.rows_said(self.message, max_rows)

    async def read(self, max_rows: int, background: Background) -> Rows:
        cells = await self._cells(max_rows, background, "refuse")
        return await self._features(cells, background)

    async def read_partial(self, max_rows: int, background: Background) -> Partial:
        cells = await self._cells(max_rows, background, "unknown")
        kept = record_reading.kept_values(self.message, self.field, self.modality.identifiers)
        return Partial(await self._features(cells, background), KnownCells(cells, kept))

    async def _cells(self, max_rows: int, background: Background, otherwise: Absent) -> Cells:
        return await record_reading.read_cells(
            self.message, self.field, self.modality.schema, max_rows, background, otherwise=otherwise
        )

    async def _features(self, cells: Cells, background: Background) -> Rows:
        schema = self.modality.schema

        def work(part: slice) -> Rows:
            return to_features(schema, cells.rows(part))

        pieces = await background.pieces(len(cells), schema.features * _FEATURES, work)
        return np.concatenate(pieces)


@dataclass(frozen=True)
class TableWriter:
    """See ``Writer``."""

    modality: TableModality
    form: int
    """A ``vae.v1.RecordFormat``."""
    temperature: float
    as_pixels = False

    async def written(
        self, response: Any, decoded: Decoded, background: Background, draws: Draws | None = None
    ) -> tuple[Part, ...]:
        schema = self.modality.schema
        cells = Cells.joined(
            await background.pieces(
                len(decoded), schema.parameters * _DRAWING, lambda part: self._drawn(decoded, part, draws)
            )
        )
        known = draws.known if draws else None
        kept, first_row = known.kept if known else {}, draws.first_row if draws else 0

        def columns(_: slice) -> bytes:
            return record_writing.columns_of(self.modality, cells, first_row, kept)

        def rows(part: slice) -> bytes:
            some = {name: values[part] for name, values in kept.items()}
            return record_writing.rows_of(self.modality, cells.rows(part), first_row + part.start, some)

        if self.form == tensors_pb2.RECORD_FORMAT_COLUMNS:
            content = await background.pieces(1, cells.values.size * _PACKING, columns)
        else:
            content = await background.pieces(len(cells), len(schema.columns) * _WRITING, rows)
        return message(response.RECORDS_FIELD_NUMBER, b"".join(content))

    def _drawn(self, parameters: Decoded, part: slice, draws: Draws | None) -> Cells:
        """The part's rows of what p(x|z) gives."""
        schema, count = self.modality.schema, part.stop - part.start
        if draws is None:
            return most_likely(schema, parameters[part])
        columns = len(schema.modelled)
        values = uniform(draws.seed, draws.first_row + part.start, count, 3 * columns)
        uniforms = values.reshape(count, columns, 3)
        if draws.known is None:
            return draw(schema, parameters[part], uniforms, self.temperature)
        known = draws.known.cells.rows(part)
        return impute(schema, parameters[part], uniforms, known, self.temperature)


class TableWire:
    """See ``WireForm``."""

    many, one = "records", "record"
    asked: tuple[str, ...] = ("record_format", "observation_temperature")
    fills = True

    def __init__(self, modality: TableModality) -> None:
        self._modality = modality

    def given(self, message: tensors_pb2.Records, field: str) -> GivenRecords:
        return GivenRecords(self._modality, message, field)

    async def read_tensor(
        self, tensor: tensors.TensorLike, field: str, max_rows: int, background: Background
    ) -> Rows:
        shape = self._modality.takes.shape
        rows: Rows = tensors.to_array(tensor, field, shape, max_rows, (tensors_pb2.DATA_TYPE_FLOAT32,))

        def check(part: slice) -> None:
            check_features(self._modality.schema, rows, field)

        await background.pieces(1, rows.size * _FEATURES, check)
        return rows

    def writer(self, request: Any) -> TableWriter:
        form = request.record_format
        if form not in tensors_pb2.RecordFormat.values():
            known = ", ".join(tensors_pb2.RecordFormat.keys())
            raise InvalidInput("record_format", f"want one of {known}, came {form}")
        return TableWriter(self._modality, form, _temperature(request))

    def describe(self, described: models_pb2.Model) -> None:
        described.table.CopyFrom(table_of(self._modality.schema))


def _temperature(request: Any) -> float:
    """Of what is drawn from p(x|z)."""
    field = "observation_temperature"
    if field not in request.DESCRIPTOR.fields_by_name or not request.HasField(field):
        return 1.0
    found = tensors.finite_at_least_zero(request.observation_temperature, field)
    if 0 < found < _COLDEST:
        raise InvalidInput(field, f"want 0, or at least {_COLDEST:g}, came {found:g}")
    return found
