"""What the command line shows as a table."""

from collections.abc import Sequence

from serving.client.results import Model

MODEL_COLUMNS = ("NAME", "VERSION", "KIND", "IMAGE", "LATENT", "PRIOR", "POOLS", "MAX ROWS", "ON", "DIGEST")


def print_table(table: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def model_row(model: Model) -> tuple[str, ...]:
    return (
        model.name,
        str(model.version),
        model.kind,
        "x".join(map(str, model.image_shape)),
        "x".join(map(str, model.latent_shape)),
        model.prior,
        str(len(model.pools)),
        str(model.max_rows),
        model.execution_provider,
        model.digest[:12],
    )
