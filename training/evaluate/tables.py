"""Groups of figures beside the likelihood: samples, latents, foreign images."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

Row = dict[str, float]
"""Column to figure; ``x_sd`` is the spread of ``x`` over repeats, ``x_se`` its standard error."""
Table = dict[str, Row]
SPREADS = ("_sd", "_se")


class Group(BaseModel):
    """What ``metrics.json`` holds under the name of a group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Mapping[str, str | int | float]
    """How the figures were taken; ``step`` says of which weights, ``seed`` of which draws."""
    tables: Mapping[str, Table]

    def describe(self) -> str:
        """The tables for a terminal, a blank line between two."""
        return "\n\n".join(describe(name, table) for name, table in self.tables.items())


def describe(title: str, table: Table) -> str:
    """Aligned columns; a spread stands behind its figure, an absent figure leaves its place empty."""
    columns = list(dict.fromkeys(c for row in table.values() for c in row if not c.endswith(SPREADS)))
    cells = [[title, *columns]]
    cells += [[name, *(_cell(row, column) for column in columns)] for name, row in table.items()]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  " + "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in cells
    )


def _cell(row: Row, column: str) -> str:
    if column not in row:
        return ""
    spread = next((row[column + suffix] for suffix in SPREADS if column + suffix in row), None)
    return f"{row[column]:.4g}" if spread is None else f"{row[column]:.4g} ± {spread:.1g}"
