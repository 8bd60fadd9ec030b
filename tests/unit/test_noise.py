import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from serving.latent import noise
from tests.golden import make_noise

GOLDEN = json.loads(Path(make_noise.__file__).with_name("noise.json").read_text())
SEEDS = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["arguments"]))
def test_bits_never_change(case):
    """A seed that a user wrote down gives the same bits in every later version."""
    assert make_noise.bits(*case["arguments"]) == case["bits"]


@given(SEEDS, st.integers(0, 2**40), st.integers(1, 20), st.integers(1, 20), st.data())
def test_a_row_depends_on_seed_and_index_alone(seed, first, rows, values, data):
    """Any row drawn alone equals the same row drawn among others, bit for bit."""
    row = data.draw(st.integers(0, rows - 1))
    together = noise.standard_normal(seed, first, rows, values)
    alone = noise.standard_normal(seed, first + row, 1, values)
    assert np.array_equal(together[row], alone[0])


@given(SEEDS, SEEDS)
def test_seeds_differ(one, other):
    """Two seeds give two noises."""
    same = np.array_equal(noise.standard_normal(one, 0, 1, 8), noise.standard_normal(other, 0, 1, 8))
    assert same == (one == other)


def test_is_standard_normal():
    """400,000 values pass a Kolmogorov–Smirnov test, and rows and columns are uncorrelated."""
    drawn = noise.standard_normal(11, 0, 10_000, 40)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 0.01
    correlation = np.corrcoef(drawn.T) - np.eye(40)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(drawn))


def test_inverse_normal_is_accurate():
    """The table agrees with scipy to 2e-7 relative over the whole range that can be drawn."""
    x = np.concatenate([np.linspace(1e-9, 0.499, 100_001), np.exp2(-np.arange(2.0, 54.0))])
    wanted = special.ndtri(x)
    np.testing.assert_allclose(noise._inverse_normal(x), wanted, rtol=2e-7)
