"""Schemas of tables, of any kind that is allowed and one that is small and known."""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from serving.bundle.tables import (
    Bins,
    BooleanColumn,
    CategoryColumn,
    ConstantColumn,
    DerivedColumn,
    IdentifierColumn,
    NumericColumn,
    Scale,
    Schema,
    TimestampColumn,
)

DAY = 86400.0


def number(name, edges, *, integer=False, decimals=None, nullable=False, width=1.0, bounds=None, atoms=()):
    """A column whose score is its value over ``width``, with bins between these edges, or points of ``atoms``."""
    edges = [float(edge) for edge in edges]
    inside = list(pairwise(edges))
    if integer:
        least, most = [np.ceil(low) for low, _ in inside], [np.ceil(high) - 1 for _, high in inside]
    else:
        least, most = ([pair[end] for pair in inside] for end in (0, 1))
        for place, value in dict(atoms).items():
            least[place] = most[place] = float(value)
    return NumericColumn(
        name=name, nullable=nullable, integer=integer, decimals=decimals,
        bounds=bounds or (least[0], most[-1]),
        scale=Scale(knots=(edges[0], edges[-1]), scores=(edges[0] / width, edges[-1] / width), width=width),
        bins=Bins(edges=tuple(edges), least=tuple(least), most=tuple(most)),
    )  # fmt: skip


def gaussian(name, knots, *, scores=None, integer=False, decimals=None, nullable=False, bounds=None):
    """A column without bins: its score is Gaussian, and 0, 1, … at the knots unless told otherwise."""
    knots = tuple(float(knot) for knot in knots)
    scores = tuple(scores or (float(place) for place in range(len(knots))))
    return NumericColumn(
        name=name, nullable=nullable, integer=integer, decimals=decimals, bounds=bounds or (knots[0], knots[-1]),
        scale=Scale(knots=knots, scores=scores, width=1.0), bins=None,
    )  # fmt: skip


def dates(name, days, *, nullable=False, zone="local", resolution=DAY):
    """A column of times with a bin for each of these days."""
    knots = tuple(day * DAY for day in days)
    half = resolution / 2
    return TimestampColumn(
        name=name, nullable=nullable, resolution=resolution, zone=zone, bounds=(knots[0], knots[-1]),
        scale=Scale(knots=knots, scores=tuple(range(len(days))), width=DAY),
        bins=Bins(edges=(knots[0] - half, *(k - half for k in knots[1:]), knots[-1] + half), least=knots, most=knots),
    )  # fmt: skip


def people():
    """One column of each kind, by hand."""
    return Schema(
        columns=(
            IdentifierColumn(name="id", kind="integer", start=101),
            number("age", [16.5, 30.5, 60.5, 90.5], integer=True, width=15.0),
            ConstantColumn(name="country", value="NL"),
            CategoryColumn(name="work", nullable=True, categories=("Private", "State", "(rest)"), rest=True),
            number("height", [1.4, 1.7, 2.1], decimals=2, nullable=True, width=0.1),
            BooleanColumn(name="member", nullable=False, words=("no", "yes")),
            dates("joined", [19000, 19001, 19002, 19005]),
            dates("left", [19000, 19002, 19006], nullable=True),
        ),
        label="work",
        orders=(("joined", "left"),),
    )


@st.composite
def numbers(draw, name):
    """Numeric columns with bins and points of any kind."""
    integer = draw(st.booleans())
    count = draw(st.integers(1, 8))
    if integer:
        jumps = draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count))
        edges = np.cumsum([draw(st.integers(-1000, 1000)), *jumps]) - 0.5
        atoms = {}
    else:
        jumps = draw(st.lists(st.floats(1e-3, 1e3), min_size=count, max_size=count))
        edges = np.cumsum([draw(st.floats(-1e3, 1e3)), *jumps])
        points = draw(st.sets(st.integers(0, count - 1)))
        atoms = {place: (edges[place] + edges[place + 1]) / 2 for place in points}
    return number(
        name, edges, integer=integer, atoms=atoms, nullable=draw(st.booleans()), width=draw(st.floats(2.0, 100.0))
    )  # fmt: skip


@st.composite
def columns(draw, name):
    """A modelled column of any kind."""
    kind = draw(st.sampled_from(["number", "number", "gaussian", "category", "boolean", "timestamp"]))
    nullable = draw(st.booleans())
    if kind == "gaussian":
        knots = draw(st.lists(st.integers(-1000, 1000), min_size=2, max_size=5, unique=True).map(sorted))
        return gaussian(name, knots, integer=draw(st.booleans()), nullable=nullable)
    if kind == "number":
        return draw(numbers(name))
    if kind == "category":
        count = draw(st.integers(1, 6))
        rest = draw(st.booleans())
        return CategoryColumn(name=name, nullable=nullable, categories=tuple("abcdef"[:count]), rest=rest)
    if kind == "boolean":
        return BooleanColumn(name=name, nullable=nullable)
    days = draw(st.lists(st.integers(-1000, 30000), min_size=2, max_size=5, unique=True).map(sorted))
    zone, resolution = draw(st.sampled_from([("utc", 1.0), ("local", DAY), ("local", 60.0)]))
    return dates(name, days, nullable=nullable, zone=zone, resolution=resolution)


VALUES = {
    "numeric": st.integers(-5, 5) | st.sampled_from([0.25, 1e10]),
    "category": st.sampled_from(["x", "1", "two words", "é"]),
    "boolean": st.booleans(),
    "timestamp": st.sampled_from(["2024-02-29", "2024-02-29T10:00:00.5Z"]),
}


@st.composite
def derived(draw, source):
    """A column that follows from this one."""
    kind = draw(st.sampled_from(sorted(VALUES)))
    values = [draw(st.none() | VALUES[kind]) for _ in range(source.codes)]
    return DerivedColumn(
        name="follows",
        of=source.name,
        kind=kind,
        values=tuple(values),
        missing=draw(st.none() | VALUES[kind]),
    )


@st.composite
def schemas(draw, most=4):
    """Tables of a few modelled columns, with a constant, an identifier and a derived column at times."""
    modelled = [draw(columns(f"c{place}")) for place in range(draw(st.integers(1, most)))]
    apart = [ConstantColumn(name="always", value=3), IdentifierColumn(name="id", kind="uuid")]
    apart = apart[: draw(st.integers(0, 2))]
    sources = [column for column in modelled if column.type in ("category", "boolean")]
    if sources and draw(st.booleans()):
        apart.append(draw(derived(draw(st.sampled_from(sources)))))
    return Schema(columns=tuple(draw(st.permutations([*modelled, *apart]))))


def parameters_of(schema, rows, seed, spread=2.0):
    """[rows, P] as a decoder would give them."""
    return np.random.default_rng(seed).normal(0, spread, (rows, schema.parameters)).astype(np.float32)


def uniforms_of(schema, rows, seed):
    return np.random.default_rng(seed).uniform(2**-53, 1 - 2**-53, (rows, len(schema.modelled), 3))
