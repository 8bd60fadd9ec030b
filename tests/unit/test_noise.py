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


WORD = 2**64


def philox(counter: int, key: tuple[int, int]) -> list[int]:
    """One block of Philox4x64-10, four 64-bit words, from its definition alone: Salmon et al. 2011, section 3.3.

    Multipliers and Weyl constants are those of the authors' Random123.
    """
    words = [counter >> 64 * place & WORD - 1 for place in range(4)]
    keys = list(key)
    for _ in range(10):
        high_0, low_0 = divmod(0xD2E7470EE14C6C93 * words[0], WORD)
        high_1, low_1 = divmod(0xCA5A826395121157 * words[2], WORD)
        words = [high_1 ^ words[1] ^ keys[0], low_1, high_0 ^ words[3] ^ keys[1], low_0]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) % WORD, (keys[1] + 0xBB67AE8584CAA73B) % WORD]
    return words


def test_our_philox_is_that_of_its_authors():
    """The known answers of Random123 (``kat_vectors``)."""
    assert philox(0, (0, 0)) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]
    assert philox(2**256 - 1, (WORD - 1, WORD - 1)) == [
        0x87B092C3013FE90B,
        0x438C3C67BE8D0224,
        0x9CC7D7C69CD777B6,
        0xA09CAEBF594F0BA0,
    ]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["arguments"]))
def test_the_contract_is_what_its_text_says(case):
    """Blocks, words, sign and mantissa as the text names them give the golden bits; Φ⁻¹ of SciPy agrees."""
    seed, first_row, rows, values = case["arguments"]
    blocks = -(-values // 4)
    for row in range(rows):
        counters = range((first_row + row) * blocks + 1, (first_row + row + 1) * blocks + 1)
        words = [word for counter in counters for word in philox(counter, (seed, 0))][:values]
        x = np.array([((word >> 12) + 0.5) * 2.0**-53 for word in words])
        minus = np.array([word & 1 for word in words]) == 1
        magnitude = -noise._inverse_normal(x)
        drawn = np.where(minus, -magnitude, magnitude).astype(np.float32)
        assert [f"{word:08x}" for word in drawn.view(np.uint32).tolist()] == case["bits"][row]
        np.testing.assert_allclose(magnitude, -special.ndtri(x), rtol=2e-7)
