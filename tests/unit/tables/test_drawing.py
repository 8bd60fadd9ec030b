"""Draws of p(x|z): what they are, what they must never be, and that their probabilities are those of ``log_prob``."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle.tables import (
    MISSING,
    OBSERVED,
    UNKNOWN,
    CategoryColumn,
    Cells,
    Schema,
    draw,
    impute,
    log_prob,
    most_likely,
    to_features,
)
from serving.bundle.tables.gaussian_columns import Gaussian
from tests.support.table_schemas import dates, gaussian, number, parameters_of, people, schemas, uniforms_of
from training.modalities.table.reading.numeric_scale import heaps_of

SEEDS = st.integers(0, 1000)


def cells(schema, rows, seed, temperature=1.0):
    return draw(schema, parameters_of(schema, rows, seed), uniforms_of(schema, rows, seed), temperature)


def one(column):
    return Schema(columns=(column,))


@given(schemas(), SEEDS, st.sampled_from([0.0, 1e-6, 0.5, 1.0, 3.0]))
@settings(max_examples=60, deadline=None)
def test_what_is_drawn_is_allowed(schema, seed, temperature):
    """Values are finite, inside bounds, whole where the data are, and missing only where cells may be."""
    drawn = cells(schema, 50, seed, temperature)
    assert np.isfinite(drawn.values).all()
    assert set(np.unique(drawn.states)) <= {OBSERVED, MISSING}
    for place, column in enumerate(schema.modelled):
        told = drawn.states[:, place] == OBSERVED
        assert told.all() or column.nullable
        values = drawn.values[told, place]
        low, high = column.bounds if hasattr(column, "bounds") else (0, column.codes - 1)
        assert ((low <= values) & (values <= high)).all()
        if step := getattr(column, "lattice", 1):
            assert (np.round(values / step) == values / step).all()
    assert (drawn.values[drawn.states == MISSING] == 0).all()


@given(schemas(), SEEDS)
@settings(max_examples=40, deadline=None)
def test_what_is_drawn_has_a_probability(schema, seed):
    """log p of every drawn cell is finite, and the features of a drawn row are as well."""
    drawn = cells(schema, 30, seed)
    assert np.isfinite(log_prob(schema, parameters_of(schema, 30, seed), drawn)).all()
    features = to_features(schema, drawn)
    assert features.dtype == np.float32
    assert features.shape == (30, schema.features)
    assert np.isfinite(features).all()


@given(schemas(), SEEDS, st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_a_row_depends_on_itself_alone(schema, seed, cut):
    """The same parameters and uniforms give the same record, whatever rows are drawn with it."""
    parameters, uniforms = parameters_of(schema, 50, seed), uniforms_of(schema, 50, seed)
    together, apart = draw(schema, parameters, uniforms), draw(schema, parameters[cut:], uniforms[cut:])
    assert (together.values[cut:] == apart.values).all()
    assert (together.states[cut:] == apart.states).all()


def test_blocks_do_not_show():
    """More rows than are drawn at once give what each gives alone."""
    schema = people()
    parameters, uniforms = parameters_of(schema, 2500, 1), uniforms_of(schema, 2500, 1)
    together = draw(schema, parameters, uniforms)
    for row in (0, 1023, 1024, 2499):
        alone = draw(schema, parameters[row : row + 1], uniforms[row : row + 1])
        assert (together.values[row] == alone.values[0]).all()


def repeated(schema, rows, seed):
    """Many draws of one p(x|z)."""
    parameters = np.repeat(parameters_of(schema, 1, seed, 1.0), rows, 0)
    return parameters, draw(schema, parameters, uniforms_of(schema, rows, seed + 1))


@pytest.mark.parametrize("seed", range(3))
def test_frequencies_are_probabilities(seed):
    """Categories, points and missing cells are drawn as often as ``log_prob`` says."""
    schema = Schema(
        columns=(
            CategoryColumn(name="c", nullable=True, categories=("a", "b", "c"), rest=False),
            number("n", [-0.5, 0.5, 1.5, 9.5], integer=True, nullable=True, bounds=(-40, 50)),
        )
    )
    parameters, drawn = repeated(schema, 40_000, seed)
    told = log_prob(schema, parameters, drawn)
    for place in range(2):
        kinds, where, counts = np.unique(
            np.stack([drawn.values[:, place], drawn.states[:, place]]), axis=1, return_index=True, return_counts=True
        )  # fmt: skip
        probability = np.exp(told[where, place])
        error = np.sqrt(probability * (1 - probability) / 40_000) + 1e-4
        assert (np.abs(counts / 40_000 - probability) < 5 * error).all(), kinds
        assert probability.sum() == pytest.approx(1, abs=0.02)


def total(schema, values, parameters):
    """Of p over these values of the only column."""
    given_cells = Cells(np.asarray(values, float)[:, None], np.ones((len(values), 1), np.int8))
    return np.exp(log_prob(schema, np.repeat(parameters, len(values), 0), given_cells)[:, 0])


def test_probabilities_of_whole_numbers_sum_to_one():
    """Tails included: a number beyond all of the data has a probability of its own."""
    schema = one(number("n", [-3.5, 2.5, 3.5, 10.5], integer=True, width=4.0))
    numbers = np.arange(-200, 200)
    assert total(schema, numbers, parameters_of(schema, 1, 0)).sum() == pytest.approx(1, abs=1e-6)


def test_densities_of_scores_integrate_to_one():
    """In units of score, beside the points, which have probabilities."""
    schema = one(number("n", [0.0, 1.0, 2.0, 4.0], atoms={1: 1.5}, width=2.0))
    parameters = parameters_of(schema, 1, 3)
    scores, step = np.linspace(-15, 20, 350_001, retstep=True)
    density = total(schema, scores * 2.0, parameters)
    point = (scores * 2.0 >= 1.0) & (scores * 2.0 < 2.0)
    probability = total(schema, [1.5], parameters)[0]
    assert density[~point].sum() * step + probability == pytest.approx(1, abs=1e-3)


def test_draws_of_a_continuous_column_follow_its_density():
    """The share below a value is the integral of the density up to it."""
    schema = one(number("n", [0.0, 1.0, 2.0, 4.0], width=0.5, bounds=(-50, 50)))
    parameters, drawn = repeated(schema, 40_000, 5)
    scores, step = np.linspace(-15, 23, 380_001, retstep=True)
    below = np.cumsum(total(schema, scores * 0.5, parameters[:1])) * step
    for value in (-0.5, 0.3, 1.0, 1.7, 3.0, 4.5):
        expected = np.interp(value / 0.5, scores, below)
        assert (drawn.values[:, 0] <= value).mean() == pytest.approx(expected, abs=0.015)


def test_the_median_halves_the_draws():
    """``most_likely`` of a number has as many draws below as above, tails included."""
    schema = one(number("n", [0.0, 1.0, 2.0, 4.0], width=0.5, bounds=(-50, 50)))
    for seed in range(5):
        parameters, drawn = repeated(schema, 20_000, seed)
        median = most_likely(schema, parameters[:1]).values[0, 0]
        assert (drawn.values[:, 0] < median).mean() == pytest.approx(0.5, abs=0.02)


def test_orders_hold():
    """Whatever the parameters, and in chains, whichever column comes first; and with the most likely record."""
    edges = [-0.5, 0.5, 1.5, 2.5, 3.5, 50.5]
    schema = Schema(
        columns=tuple(number(name, edges, integer=True, nullable=name == "b") for name in "bcad"),
        orders=(("a", "b"), ("b", "c"), ("c", "d")),
    )
    for temperature in (0, 0.1, 1, 5):
        drawn = cells(schema, 3000, 7, temperature)
        b, c, a, d = drawn.values.T
        told = drawn.states[:, 0] == OBSERVED
        assert (a <= c).all()
        assert (c <= d).all()
        assert ((a <= b) & (b <= c))[told].all()


def test_a_cut_density_is_the_density_where_it_is_left():
    """Of draws of (a, b) those of b given a are the draws of b alone that are not below a."""
    a, b = (number(name, [-0.5, 0.5, 1.5, 4.5], integer=True, width=2.0, bounds=(-30, 40)) for name in "ab")
    schema, rows = Schema(columns=(a, b), orders=(("a", "b"),)), 60_000
    parameters = np.repeat(parameters_of(schema, 1, 11, 1.0), rows, 0)
    free = draw(Schema(columns=(a, b)), parameters, uniforms_of(schema, rows, 1)).values
    cut = draw(schema, parameters, uniforms_of(schema, rows, 2)).values
    for first in (0, 1, 3):
        wanted = free[free[:, 1] >= first, 1]
        came = cut[cut[:, 0] == first, 1]
        for value in (1, 2, 4, 6):
            error = 5 * 0.5 / np.sqrt(min(len(came), len(wanted)))
            assert (came <= value).mean() == pytest.approx((wanted <= value).mean(), abs=error)


def test_given_cells_stay_and_others_are_never_missing():
    """Observed cells come back as they were; unknown and missing ones are filled."""
    schema = people()
    start = cells(schema, 500, 3)
    states = np.random.default_rng(0).choice([OBSERVED, UNKNOWN], start.states.shape).astype(np.int8)
    states[start.states == MISSING] = MISSING
    given_cells = Cells(np.where(states == OBSERVED, start.values, 0), states)
    filled = impute(schema, parameters_of(schema, 500, 4), uniforms_of(schema, 500, 4), given_cells)
    told = states == OBSERVED
    assert (filled.states == OBSERVED).all()
    assert (filled.values[told] == start.values[told]).all()
    joined, left = (filled.values[:, schema.place[name]] for name in ("joined", "left"))
    assert (joined <= left).all()


def test_given_cells_that_break_an_order_are_kept():
    """What a caller states is not corrected, and what lies between is drawn all the same."""
    schema = Schema(columns=tuple(number(n, [0, 1, 2]) for n in "abc"), orders=(("a", "b"), ("b", "c")))
    given_cells = Cells(np.array([[1.5, 0.0, 0.5]]), np.array([[1, 0, 1]], np.int8))
    filled = impute(schema, parameters_of(schema, 1, 0), uniforms_of(schema, 1, 0), given_cells)
    assert filled.values[0, [0, 2]].tolist() == [1.5, 0.5]
    assert 0 <= filled.values[0, 1] <= 2


def test_no_temperature_is_the_most_likely():
    """Temperature 0 is ``most_likely``, whatever the uniforms; a low one comes near it."""
    schema = people()
    parameters = parameters_of(schema, 200, 9)
    likely = most_likely(schema, parameters)
    assert (cells(schema, 200, 9, 0.0).values == likely.values).all()
    place = schema.place["work"]
    assert (cells(schema, 200, 9, 1e-6).values[:, place] == likely.values[:, place]).mean() > 0.99


def test_unknown_cells_have_no_share_in_a_score():
    """0 nats where nothing is told; a missing cell has the probability of being missing."""
    schema = one(number("n", [0, 1], nullable=True))
    parameters = np.array([[np.log(3.0), 0, 0, 0]] * 2, np.float32)
    came = log_prob(schema, parameters, Cells(np.zeros((2, 1)), np.array([[UNKNOWN], [MISSING]], np.int8)))
    np.testing.assert_allclose(came[:, 0], [0, np.log(0.75)], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda s, p, u, c: draw(s, p[:, 1:], u), "parameters: want"),
        (lambda s, p, u, c: draw(s, p, u[:, :, :2]), "uniforms: want"),
        (lambda s, p, u, c: draw(s, p, u, -1.0), "temperature: want"),
        (lambda s, p, u, c: draw(s, p, u, float("nan")), "temperature: want"),
        (lambda s, p, u, c: impute(s, p, u, c.rows(slice(2))), "cells: want"),
        (
            lambda s, p, u, c: log_prob(s, p, Cells(c.values, np.full_like(c.states, MISSING))),
            "no missing cell",
        ),
        (lambda s, p, u, c: to_features(s, Cells.unknown(3, 99)), "want 6 columns"),
    ],
)
def test_what_does_not_fit_is_refused(call, wanted):
    """In one line that says what was wanted."""
    schema = people()
    arguments = parameters_of(schema, 5, 0), uniforms_of(schema, 5, 0), Cells.unknown(5, 6)
    with pytest.raises(ValueError, match=wanted) as refused:
        call(schema, *arguments)
    assert "\n" not in str(refused.value)


def test_codes_and_scores_by_hand():
    """A bin has its lower edge, tails have codes of their own, scores go on beyond the knots with one slope."""
    schema = one(number("n", [0.0, 1.0, 2.0, 4.0], width=2.0))
    values = np.array([-6.0, 0.0, 0.99, 1.0, 4.0, 5.0, 1e99, 7.0])
    states = np.array([1, 1, 1, 1, 1, 1, 1, 0], np.int8)
    features = to_features(schema, Cells(np.where(states == 1, values, 0)[:, None], states[:, None]))
    assert features[:, 0].tolist() == [3, 0, 0, 1, 2, 4, 4, 0]
    np.testing.assert_allclose(features[:, 1], [-3, 0, 0.495, 0.5, 2, 2.5, 1e4, 0], rtol=1e-6)
    assert features[:, 2].tolist() == [1] * 7 + [0]


def test_a_gaussian_column_has_the_density_of_its_score():
    """The integral is 1, and draws follow it: below a value lies what its normal distribution says."""
    schema = one(gaussian("n", [0, 2, 10], scores=[-1.0, 0.0, 1.0], bounds=(-100, 100)))
    parameters = np.repeat(np.array([[0.4, -0.5]], np.float32), 40_000, 0)
    scores, step = np.linspace(-8, 8, 16_001, retstep=True)
    values = schema.modelled[0].density.value(scores)
    density = total(schema, values, parameters[:1])
    assert density.sum() * step == pytest.approx(1, abs=1e-6)
    drawn = draw(schema, parameters, uniforms_of(schema, 40_000, 3)).values[:, 0]
    for value in (-1.0, 1.0, 3.0, 9.0, 12.0):
        score = schema.modelled[0].density.score(np.array([value]))[0]
        expected = NormalDist(0.4, np.exp(-0.5)).cdf(score)
        assert (drawn <= value).mean() == pytest.approx(expected, abs=0.015)
    assert most_likely(schema, parameters[:1]).values[0, 0] == pytest.approx(2 + 0.4 * 8, rel=1e-6)


@pytest.mark.parametrize("mean", [-30.0, 0.0, 0.7, 30.0])
def test_a_cut_gaussian_is_the_gaussian_where_it_is_left(mean):
    """Also where the limit is far out on either side."""
    columns = tuple(gaussian(name, [0, 1], bounds=(-1e6, 1e6)) for name in "ab")
    free, cut = Schema(columns=columns), Schema(columns=columns, orders=(("a", "b"),))
    parameters = np.repeat(np.array([[0, -7, mean, 0]], np.float32), 20_000, 0)
    uniforms = uniforms_of(free, 20_000, 1)
    a, b = draw(cut, parameters, uniforms).values.T
    assert (a <= b).all()
    if mean < -1:  # next to nothing is left, an exponential just above the limit
        assert np.mean(b - a) == pytest.approx(1 / 30, rel=0.1)
    else:
        alone = draw(free, parameters, uniforms_of(free, 20_000, 2)).values[:, 1]
        alone = alone[alone >= 0]
        for value in (0.5, 1.0, 2.0, 30.0):
            assert (b <= value).mean() == pytest.approx((alone <= value).mean(), abs=0.02)


def test_draws_do_not_heap_up_at_the_bounds():
    """A Gaussian is cut off there: hardly a draw is the bound itself."""
    schema = one(gaussian("n", [0, 1], bounds=(0, 1)))
    values = draw(schema, np.full((5000, 2), 0.5, np.float32), uniforms_of(schema, 5000, 0)).values
    assert ((values >= 0) & (values <= 1)).all()
    assert np.isin(values, (0, 1)).mean() < 0.001


def test_days_are_points_of_a_lattice():
    """A date column is drawn in whole days."""
    schema = one(dates("d", [10, 20, 30]))
    assert set(cells(schema, 200, 0).values[:, 0] / 86400) == {10.0, 20.0, 30.0}


def test_where_the_data_heap_up_draws_do_too():
    """What a Gaussian has beyond a bound is drawn as the bound there, and cut off at one without a heap."""
    scale = {"knots": np.array([0.0, 10.0]), "scores": np.array([-1.0, 1.0]), "width": 5.0}
    rest = {"lattice": None, "decimals": None, "bounds": (0.0, 10.0)}
    parameters = np.stack([np.full(4000, -1.0), np.zeros(4000)])  # half of it below the lower bound
    uniforms = np.random.default_rng(0).random((4000, 2))
    heaped = Gaussian(**scale, **rest, heaps=(True, False)).drawn(parameters, uniforms, 1.0)
    plain = Gaussian(**scale, **rest).drawn(parameters, uniforms, 1.0)
    assert 0.47 < (heaped == 0).mean() < 0.53
    assert (plain > 0).all()
    assert (heaped < 10).all()
    limits = np.full(4000, 2.0), np.full(4000, 10.0)
    limited = Gaussian(**scale, **rest, heaps=(True, True)).drawn(parameters, uniforms, 1.0, limits)
    assert limited.min() >= 2
    assert (limited == 2).mean() < 0.01
    assert 0.01 < (limited == 10).mean() < 0.2


def test_heaps_are_found():
    """Zeros that are many times as frequent as what is next to them, and not the least of many whole numbers."""
    rng = np.random.default_rng(0)
    zeros = np.where(rng.random(500) < 0.2, 0.0, rng.gamma(2.0, 1.0, 500))
    assert heaps_of(zeros) == (True, False)
    assert heaps_of(-zeros) == (False, True)
    assert heaps_of(rng.integers(0, 9, 500).astype(float)) == (False, False)
    assert heaps_of(rng.normal(size=500)) == (False, False)
    assert heaps_of(np.zeros(5)) == (False, False)
