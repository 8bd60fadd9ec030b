"""What the command line shows as a table, or as JSON."""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

from serving.client.results import Model, ModelVersion

_COLUMNS = (
    *("NAME", "VERSION", "STATE", "KIND", "IMAGE", "LATENT", "PRIOR", "POOLS", "MAX ROWS", "ON"),
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
        "x".join(map(str, model.image_shape)),
        "x".join(map(str, model.latent_shape)),
        model.prior,
        str(len(model.pools)),
        str(model.max_rows),
        model.execution_provider,
    ]
