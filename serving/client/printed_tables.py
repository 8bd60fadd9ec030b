"""What the command line shows as a table, or as JSON."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.client.records.described_table import Table, TableColumn
from serving.client.results import Model, ModelVersion

DAY_S = 86400.0
_FEW = 5
"""Categories that are shown."""

_COLUMNS = (
    *("NAME", "VERSION", "STATE", "KIND", "DATA", "LATENT", "PRIOR", "POOLS", "MAX ROWS", "ON"),
    *("MIB", "DIGEST", "REASON"),
)
_NOTHING = "-"


def print_table(table: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_versions(versions: Sequence[ModelVersion]) -> None:
    """A row for each; which one answers by default is said where several are in service."""
    served = Counter(version.name for version in versions if version.state == "ready")
    rows = [_row(version, among_several=served[version.name] > 1) for version in versions]
    told = len(_COLUMNS) if any(version.reason for version in versions) else len(_COLUMNS) - 1
    print_table([row[:told] for row in (_COLUMNS, *rows)])


def print_columns(versions: Sequence[ModelVersion]) -> None:
    """A row for each column of models of tables."""
    models = [version.model for version in versions if version.model is not None and version.model.table]
    rows = [
        (model.name, str(model.version), column.name, *_of_column(column))
        for model in models
        for column in (model.table.columns if model.table else ())
    ]
    print_table([("NAME", "VERSION", "COLUMN", "TYPE", "MISSING", "VALUES"), *rows])


def print_scores(figures: Mapping[str, Any], names: Sequence[str] | None = None) -> None:
    """A row for each; ``names`` are those of files."""
    texts = [
        [f"{value:.3f}" if isinstance(value, np.floating) else _shown(value) for value in column]
        for column in figures.values()
    ]
    count = len(texts[0])
    first = names or list(map(str, range(count)))
    head = ["FILE" if names else "ROW", *map(str.upper, figures)]
    print_table([head, *map(list, zip(first, *texts, strict=True))])


def print_versions_as_json(versions: Sequence[ModelVersion]) -> None:
    """An object for each, all with the same keys; what is not known is null."""
    keys = [field.name for field in dataclasses.fields(Model)]
    told = []
    for version in versions:
        known = dataclasses.asdict(version)
        model = known.pop("model") or dict.fromkeys(keys) | {"ready": False}
        told.append(model | known)
    print(json.dumps(told, indent=2, default=str))


def _row(version: ModelVersion, *, among_several: bool) -> tuple[str, ...]:
    model = version.model
    by_default = ", default" if among_several and version.is_default else ""
    return (
        version.name,
        str(version.version),
        f"{version.state}{by_default}",
        *(_described(model) if model else [_NOTHING] * 7),
        f"{version.memory_bytes / (1 << 20):.1f}" if version.memory_bytes else _NOTHING,
        version.digest[:12] or _NOTHING,
        " ".join(version.reason.split()),
    )


def _described(model: Model) -> list[str]:
    return [
        model.kind,
        "x".join(map(str, model.image_shape)) if model.table is None else _width(model.table),
        "x".join(map(str, model.latent_shape)),
        model.prior,
        str(len(model.pools)),
        str(model.max_rows),
        model.execution_provider,
    ]


def _width(table: Table) -> str:
    return f"{len(table.columns)} column{'s' if len(table.columns) > 1 else ''}"


def _of_column(column: TableColumn) -> tuple[str, str, str]:
    kind = "integer" if column.integer and column.type == "numeric" else column.type
    missing = "yes" if column.nullable else _NOTHING
    if column.type == "category":
        few = ", ".join(map(_shown, column.categories[:_FEW]))
        more = f", … ({column.category_count})" if column.category_count > _FEW else ""
        return kind, missing, few + more
    if column.type == "constant":
        return kind, missing, _shown(column.constant)
    if column.least is None or column.most is None:
        return kind, missing, _NOTHING
    return kind, missing, f"{_end(column, column.least)} to {_end(column, column.most)}"


def _end(column: TableColumn, value: float) -> str:
    """Of the range of its values."""
    if column.type != "timestamp":
        return f"{value:.15g}"
    moment = np.datetime64(0, "us") + np.timedelta64(round(value * 1e6), "us")
    text = np.datetime_as_string(moment, "D" if column.resolution >= DAY_S else "s")
    return f"{text}{'Z' * column.has_zone}"


def _shown(value: object) -> str:
    return " ".join(str(value).split())
