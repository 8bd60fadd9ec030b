"""Reading tables: from files and frames as users have them to a schema, and cells to fit a model to."""

from training.modalities.table.reading.inferred_types import describe
from training.modalities.table.reading.sources.frames import WANTED
from training.modalities.table.reading.table_data import Split, TableData, read_table, read_with_schema

__all__ = ["WANTED", "Split", "TableData", "describe", "read_table", "read_with_schema"]
