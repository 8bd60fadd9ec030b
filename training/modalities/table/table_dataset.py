"""A table as a data set: what its cells are to the networks, in three splits."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from serving.bundle.tables import MISSING, BooleanColumn, Cells, Number, Schema, to_features
from training.config import FitConfig
from training.data import Dataset, Split
from training.modalities.table.reading import TableData, read_table
from training.modalities.table.reading import describe as in_words

MISSING_LABEL: Final = "(missing)"
"""The label of rows that have none, where the data have such."""


def load(config: FitConfig, *, labelled: bool = True) -> Dataset:
    """The table that the config names, cut by its seed; equal rows lie in one split.

    Raises:
        TrainingError: naming file, column and row of what cannot be read.
    """
    label = config.label if labelled else None
    return split_table(read_table(config.data, label=label, overrides=config.table_schema), config)


def split_table(table: TableData, config: FitConfig) -> Dataset:
    """The same of a table that is read already."""
    parts = table.split(config.val_fraction, config.test_fraction, config.split_seed)
    table = table.fitted_to(parts.train)
    train, val, test = (as_split(table.schema, table.cells.rows(rows)) for rows in parts)
    return Dataset(
        table.name,
        train,
        val,
        test,
        label_names(table.schema),
        table.sha256,
        schema=table.schema,
        notes=tuple(in_words(table)),
    )


def as_split(schema: Schema, cells: Cells) -> Split:
    """Rows for the networks, with their label where the schema has one."""
    return Split(torch.from_numpy(to_features(schema, cells)), _labels(schema, cells), cells)


def label_names(schema: Schema) -> tuple[str, ...]:
    """What the values of the label column are called as pools; nothing without such a column."""
    if schema.label is None:
        return ()
    column = schema.modelled[schema.place[schema.label]]
    assert not isinstance(column, Number)
    names = column.words if isinstance(column, BooleanColumn) else column.categories
    return (*names, MISSING_LABEL) if column.nullable else tuple(names)


def _labels(schema: Schema, cells: Cells) -> Tensor | None:
    if schema.label is None:
        return None
    place = schema.place[schema.label]
    labels = cells.values[:, place].astype(np.int64)
    labels[cells.states[:, place] == MISSING] = len(label_names(schema)) - 1
    return torch.from_numpy(labels)


def describe(dataset: Dataset) -> str:
    """For the terminal: what the columns were taken for, and how many rows there are of what."""
    sizes = f"{len(dataset.train):,} train, {len(dataset.val):,} val, {len(dataset.test):,} test"
    return "\n".join([f"data      {sizes}", *(f"          {note}" for note in dataset.notes)])
