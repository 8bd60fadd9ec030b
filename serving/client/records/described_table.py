"""What a model of tables tells of its columns."""

from dataclasses import dataclass

from google.protobuf import json_format

from serving.pb.vae.v1 import models_pb2


@dataclass(frozen=True)
class TableColumn:
    """A column of the records that a model takes and gives."""

    name: str
    type: str
    """"numeric", "timestamp", "category" or "boolean", which the model knows; else why it need not:
    "constant", "identifier", or "derived", which follows from another column."""
    nullable: bool = False
    """Whether cells were missing in the data."""
    categories: tuple[str, ...] = ()
    """The most frequent first; 1,000 at most."""
    category_count: int = 0
    """How many there are."""
    has_rest: bool = False
    """Whether the last category stands for rare ones."""
    integer: bool = False
    """Of a numeric or derived column: whole numbers."""
    least: float | None = None
    """Smallest value that is drawn; of times in seconds since 1970."""
    most: float | None = None
    resolution: float = 0.0
    """Of times, in seconds; 86,400 where the data are dates."""
    has_zone: bool = False
    """Of times."""
    constant: object = None
    """The value of a constant column."""
    made_anew: bool = False
    """Of an identifier: every new record has one of its own."""


@dataclass(frozen=True)
class Table:
    """The records of a model."""

    columns: tuple[TableColumn, ...]
    """In the order of the table."""
    label: str = ""
    """The column whose values name the pools, if any does."""
    orders: tuple[tuple[str, str], ...] = ()
    """Pairs of columns of which the first is never larger than the second."""


def from_table(message: models_pb2.Table) -> Table:
    return Table(
        columns=tuple(map(_from_column, message.columns)),
        label=message.label,
        orders=tuple((order.least, order.most) for order in message.orders),
    )


def _from_column(message: models_pb2.TableColumn) -> TableColumn:
    constant = json_format.MessageToDict(message.constant) if message.HasField("constant") else None
    return TableColumn(
        name=message.name,
        type=message.type,
        nullable=message.nullable,
        categories=tuple(message.categories),
        category_count=message.category_count,
        has_rest=message.has_rest,
        integer=message.integer,
        least=message.least if message.HasField("least") else None,
        most=message.most if message.HasField("most") else None,
        resolution=message.resolution,
        has_zone=message.has_zone,
        constant=constant,
        made_anew=message.made_anew,
    )
