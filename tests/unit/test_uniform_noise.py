"""The streams of uniform noise, and what is chosen by them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from serving.latent.noise import standard_normal, uniform
from serving.latent.resampling import resample
from tests.unit.test_noise import SEEDS, philox


@given(SEEDS, st.integers(0, 2**40), st.integers(1, 9), st.integers(1, 4))
def test_is_as_its_contract_has_it(seed, first, values, stream):
    """From the definition of Philox alone: (m + ½)·2⁻⁵² of the top 52 bits of the words of key (seed, stream)."""
    blocks = -(-values // 4)
    words = [word for block in range(blocks) for word in philox(first * blocks + block + 1, (seed, stream))]
    wanted = [((word >> 12) + 0.5) * 2.0**-52 for word in words[:values]]
    assert uniform(seed, first, 1, values, stream=stream).tolist() == [wanted]


@given(SEEDS, st.integers(0, 2**40), st.integers(1, 20), st.integers(1, 20), st.data())
def test_a_row_depends_on_seed_and_index_alone(seed, first, rows, values, data):
    """Any row drawn alone equals the same row drawn among others, bit for bit, and is within (0, 1)."""
    row = data.draw(st.integers(0, rows - 1))
    together = uniform(seed, first, rows, values)
    assert np.array_equal(together[row], uniform(seed, first + row, 1, values)[0])
    assert together.min() > 0
    assert together.max() < 1


def test_is_uniform_and_of_its_own():
    """400,000 values pass a Kolmogorov–Smirnov test, and know nothing of the normal noise of the same seed."""
    drawn = uniform(11, 0, 10_000, 40)
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(drawn.ravel(), standard_normal(11, 0, 10_000, 40).ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(drawn.ravel(), uniform(11, 0, 10_000, 40, stream=2).ravel())[0, 1]) < 0.01


def test_samples_are_chosen_as_their_weights_say():
    """Of 100,000 draws each sample gets its share, to four standard deviations."""
    shares = np.array([0.2, 0.0, 0.45, 0.35])  # none above the bound of 1/2
    with np.errstate(divide="ignore"):
        log_weights = np.log(shares)[None] + 700.0  # beyond what exp holds
    chosen = resample(log_weights, uniform(3, 0, 1, 100_000))
    came = np.bincount(chosen[0], minlength=4) / 100_000
    assert came[1] == 0
    np.testing.assert_allclose(came, shares, atol=4 * np.sqrt(0.25 / 100_000))


def test_weights_are_truncated():
    """At the mean times √samples: one that is 1,000 times each of 15 others counts as 254 times."""
    log_weights = np.zeros((1, 16))
    log_weights[0, 5] = 40.0
    chosen = resample(log_weights, uniform(3, 0, 1, 1000))
    assert set(chosen[0]) == {5}, "the others are nothing beside it, cut off or not"
    log_weights[0, 5] = np.log(1000.0)
    bound = (15 + 1000) / 16 * 4
    chosen = resample(log_weights, uniform(3, 0, 1, 100_000))
    assert abs((chosen == 5).mean() - bound / (bound + 15)) < 0.005


@given(hnp.arrays(np.float64, (3, 5), elements=st.floats(-50, 50)), st.integers(0, 2), SEEDS)
def test_a_choice_depends_on_its_row_alone(log_weights, row, seed):
    """The same sample is chosen whatever rows stand beside, and whatever is added to all weights of a row."""
    uniforms = uniform(seed, 0, 3, 4)
    together = resample(log_weights, uniforms)
    assert np.array_equal(together[row], resample(log_weights[row : row + 1], uniforms[row : row + 1])[0])
    assert ((together >= 0) & (together < 5)).all()
