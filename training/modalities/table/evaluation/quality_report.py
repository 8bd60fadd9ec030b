"""Shapes of columns and trends of pairs, by the definitions of SDMetrics' quality report.

The figures are those of ``sdmetrics`` 0.32 to rounding; a test compares them where it is installed. They are
computed here because that package needs ``copulas``, whose licence (BUSL 1.1) forbids some commercial use,
and pandas below 3. Definitions: docs.sdv.dev/sdmetrics, KSComplement, TVComplement, CorrelationSimilarity and
ContingencySimilarity.

n is the number of rows, C of modelled columns.
"""

from itertools import combinations
from typing import Final, NamedTuple

import numpy as np

from serving.bundle.tables import OBSERVED, Cells, Number, Schema
from training.modalities.table.evaluation.associations import Codes, Doubles, correlation, cramers_v_of
from training.modalities.table.evaluation.taken import Row, Taken, at_most, rows_for

MOST_PAIRS: Final = 5_000
INTERVALS: Final = 10
"""A number becomes one of so many, equally wide in its own table, where its partner is a category."""
STRONG_CORRELATION: Final = 0.5
"""SDMetrics 0.32 counts only pairs that are related in the real table: by Pearson's r …"""
STRONG_ASSOCIATION: Final = 0.3
"""… or by Cramér's V above these."""


class Pair(NamedTuple):
    """How alike a pair of columns is in both tables."""

    first: str
    second: str
    score: float
    """0 to 1; NaN where a correlation is not defined."""
    strength: float
    """|r| or Cramér's V in the real table."""
    strong: bool


def quality(schema: Schema, real: Cells, synthetic: Cells, *, seed: int = 0) -> Taken:
    """``shapes``, ``trends`` and their mean ``overall``, each from 0 to 1; also by column.

    ``trends`` are of all pairs, as published figures are; ``strong_trends`` of related pairs alone, which is
    what SDMetrics 0.32 shows by default.
    """
    rows = rows_for(len(schema.modelled))
    real, synthetic = at_most(real, rows, seed), at_most(synthetic, rows, seed + 1)
    shapes = shape_scores(schema, real, synthetic)
    pairs = pair_scores(schema, real, synthetic, seed=seed)
    columns = {name: {"shape": score} | _mean("trends", _of(pairs, name)) for name, score in shapes.items()}
    figures = _mean("shapes", list(shapes.values())) | _mean("trends", [pair.score for pair in pairs])
    strong = [pair.score for pair in pairs if pair.strong]
    figures |= _mean("strong_trends", strong)
    if {"shapes", "trends"} <= figures.keys():
        figures["overall"] = (figures["shapes"] + figures["trends"]) / 2
    figures["rows"] = float(len(synthetic))
    protocol: dict[str, str | int | float] = {
        "definitions": "SDMetrics 0.32: KS and total variation, Pearson and contingency",
        "real_rows": len(real),
        "synthetic_rows": len(synthetic),
        "pairs": len(pairs),
        "strong_pairs": len(strong),
        "strong": f"|r| above {STRONG_CORRELATION} or Cramér's V above {STRONG_ASSOCIATION} in real rows",
    }
    return Taken(protocol, {"quality": {"synthetic": figures}, "quality by column": columns})


def shape_scores(schema: Schema, real: Cells, synthetic: Cells) -> dict[str, float]:
    """Column to 1 − D: of Kolmogorov and Smirnov for numbers, of total variation for categories.

    Cells that are missing do not count; a column without any cell has no score.
    """
    found = {}
    for place, column in enumerate(schema.modelled):
        a, b = (cells.values[cells.states[:, place] == OBSERVED, place] for cells in (real, synthetic))
        if len(a) and len(b):
            distance = _ks if isinstance(column, Number) else _total_variation
            found[column.name] = 1 - distance(a, b)
    return found


def pair_scores(schema: Schema, real: Cells, synthetic: Cells, *, seed: int = 0) -> list[Pair]:
    """Of all pairs of columns, or of 5,000 at random."""
    names = [column.name for column in schema.modelled]
    numeric = [isinstance(column, Number) for column in schema.modelled]
    coded = [_coded(cells, numeric) for cells in (real, synthetic)]
    found = []
    for i, j in _pairs(len(names), seed):
        if numeric[i] and numeric[j]:
            of_real, of_synthetic = (correlation(cells, i, j) for cells in (real, synthetic))
            score, strength = 1 - abs(of_real - of_synthetic) / 2, abs(of_real)
            limit = STRONG_CORRELATION
        else:
            tables = [(codes[:, i], codes[:, j]) for codes in coded]
            score, strength, limit = *_contingency(*tables), STRONG_ASSOCIATION
        found.append(Pair(names[i], names[j], score, strength, bool(strength > limit)))
    return found


def _pairs(columns: int, seed: int) -> list[tuple[int, int]]:
    count = columns * (columns - 1) // 2
    if count <= MOST_PAIRS:
        return list(combinations(range(columns), 2))
    draw, chosen = np.random.default_rng(seed), set[tuple[int, int]]()
    while len(chosen) < MOST_PAIRS:
        i, j = sorted(draw.integers(columns, size=2).tolist())
        if i != j:
            chosen.add((i, j))
    return sorted(chosen)


def _ks(a: Doubles, b: Doubles) -> float:
    points = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(values), points, side="right") / len(values) for values in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _total_variation(a: Doubles, b: Doubles) -> float:
    sizes = int(max(a.max(), b.max())) + 1
    shares = [np.bincount(values.astype(np.int64), minlength=sizes) / len(values) for values in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum()) / 2


def _coded(cells: Cells, numeric: list[bool]) -> Codes:
    """[n, C] category, 0 where it is missing, or interval of a number."""
    codes = np.zeros(cells.values.shape, np.int64)
    for place, is_number in enumerate(numeric):
        there = cells.states[:, place] == OBSERVED
        values = cells.values[:, place]
        if not is_number:
            codes[:, place] = values.astype(np.int64) + 1
        elif there.any():
            codes[:, place] = np.digitize(values, _edges(values[there])) + 1
        # SDMetrics has missing numbers in the interval of the largest one.
        codes[~there, place] = INTERVALS + 2 if is_number else 0
    return codes


def _edges(values: Doubles) -> Doubles:
    low, high = float(values.min()), float(values.max())
    return np.linspace(low, high, INTERVALS + 1) if low < high else np.array([low - 0.5, high + 0.5])


def _contingency(real: tuple[Codes, Codes], synthetic: tuple[Codes, Codes]) -> tuple[float, float]:
    """1 − total variation of two tables of counts, and Cramér's V of the real one."""
    width = 1 + int(max(real[1].max(), synthetic[1].max()))
    cells, counts = np.unique(real[0] * width + real[1], return_counts=True)
    others, other_counts = np.unique(synthetic[0] * width + synthetic[1], return_counts=True)
    shares, other_shares = counts / len(real[0]), other_counts / len(synthetic[0])
    _, here, there = np.intersect1d(cells, others, assume_unique=True, return_indices=True)
    common = float(np.minimum(shares[here], other_shares[there]).sum())  # of both: 1 − total variation
    return common, cramers_v_of(cells // width, cells % width, shares)


def _of(pairs: list[Pair], column: str) -> list[float]:
    return [pair.score for pair in pairs if column in (pair.first, pair.second)]


def _mean(name: str, scores: list[float]) -> Row:
    known = [score for score in scores if not np.isnan(score)]
    return {name: float(np.mean(known))} if known else {}
