"""Noise that depends on the seed and the row alone: standard normal for latents, uniform for records.

Contract (never to be changed, only joined by another): row *i* of seed *s* with *n* values takes the first
*n* words of the ⌈n/4⌉ blocks, of four 64-bit words each, that Philox4x64-10 with key (*s*, 0) makes of the
counters *i*·⌈n/4⌉ + 1 to (*i* + 1)·⌈n/4⌉. (NumPy's Philox counts up before each block: told to start at a
counter, it gives the block of the next one. No row takes block 0.) The lowest bit of a word is the sign, 1
for minus; its highest 52 bits *m* give x = (m + ½)·2⁻⁵³ in (0, ½), and the value is ∓Φ⁻¹(x), Φ⁻¹ being
tabulated as a cubic on each of 32 equal parts of every octave of x.

Uniform values have streams of their own: the words of the same blocks with key (*s*, *t*), whose highest 52
bits *m* give the value (m + ½)·2⁻⁵² in (0, 1). Stream *t* = 1 is for what is drawn from p(x|z).

Only IEEE 754 operations that are exactly rounded are used (+, −, ×, ÷, √, frexp; no libm), the table
included, so the same float32 values come out on every machine, whatever the batch or the instruction
set. The table is there for speed: 18 array operations a draw instead of 60.

Sources: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; Wichura 1988, "Algorithm
AS 241: the percentage points of the normal distribution" (PPND7, relative error about 1e-7).
"""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

WORK_A_VALUE = 10
"""What drawing a value takes, in steps of arithmetic on one."""
_WORDS_PER_BLOCK = 4
_SEED_BITS = 64
_LN2 = 0.6931471805599453
_PARTS = 32
"""Parts of an octave; a power of two, so that a part is the leading bits of a mantissa."""
_PART_BITS = np.uint64(52 - 5)
_WITHIN = np.uint64((1 << 47) - 1)
_OCTAVES = range(-54, -1)
"""Exponents e of the octaves [2^e, 2^(e+1)) that x can be in."""


def standard_normal(seed: int, first_row: int, rows: int, values: int) -> Doubles:
    """Rows ``first_row`` to ``first_row + rows - 1`` of a seed: [rows, values] ~ N(0, 1).

    The values are float32 values held as float64, so that arithmetic on them is exact enough to be
    rounded once at the end. ``seed`` is 0 to 2⁶⁴−1.
    """
    words = _words(seed, first_row, rows, values)
    magnitude = -_inverse_normal(((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-53)
    signs = 1.0 - 2.0 * (words & np.uint64(1)).astype(np.float64)
    return (magnitude * signs).astype(np.float32).astype(np.float64)


def uniform(seed: int, first_row: int, rows: int, values: int, *, stream: int = 1) -> Doubles:
    """Rows ``first_row`` to ``first_row + rows - 1`` of a stream of the seed: [rows, values] in (0, 1)."""
    words = _words(seed + (stream << _SEED_BITS), first_row, rows, values)
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _words(key: int, first_row: int, rows: int, values: int) -> NDArray[np.uint64]:
    """[rows, values] of the generator; the lower 64 bits of the key are the first of its two words."""
    blocks = -(-values // _WORDS_PER_BLOCK)
    generator = np.random.Philox(key=key, counter=first_row * blocks)
    words = generator.random_raw(rows * blocks * _WORDS_PER_BLOCK)
    return words.reshape(rows, blocks * _WORDS_PER_BLOCK)[:, :values]


def _inverse_normal(x: Doubles) -> Doubles:
    """Φ⁻¹(x) for 2⁻⁵⁴ ≤ x < ½ from the table, elementwise."""
    bits = x.view(np.uint64)
    cubic = _TABLE.take((bits >> _PART_BITS).astype(np.int64) - _FIRST_PART, axis=0)
    t = (bits & _WITHIN).astype(np.float64) * 2.0**-47
    return ((cubic[..., 3] * t + cubic[..., 2]) * t + cubic[..., 1]) * t + cubic[..., 0]


def _tabulate() -> Doubles:
    """[parts, 4] coefficients, lowest order first, of the cubic through four points of each part."""
    octave = np.ldexp(1.0, np.array(_OCTAVES))[:, None, None]
    points = np.arange(_PARTS)[None, :, None] + np.array([0.0, 1.0, 2.0, 3.0]) / 3.0
    y = _wichura((octave * (1.0 + points / _PARTS)).reshape(-1, 4))
    first = y[:, 1] - y[:, 0]
    second = y[:, 2] - 2.0 * y[:, 1] + y[:, 0]
    third = y[:, 3] - 3.0 * y[:, 2] + 3.0 * y[:, 1] - y[:, 0]
    # Newton's forward differences in s = 3t, gathered by powers of t.
    linear = 3.0 * (first - second / 2.0 + third / 3.0)
    quadratic = 4.5 * (second - third)
    return np.stack([y[:, 0], linear, quadratic, 4.5 * third], axis=1)


def _wichura(p: Doubles) -> Doubles:
    """Φ⁻¹(p) for 0 < p ≤ ½ (AS 241, PPND7)."""
    q = p - 0.5
    r = 0.180625 - q * q
    above = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
    below = ((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0
    return np.where(q >= -0.425, q * above / below, -_tail(np.sqrt(-_log(p))))


def _tail(r: Doubles) -> Doubles:
    near, far = r - 1.6, r - 5.0
    z_near = (((0.17023821103 * near + 1.3067284816) * near + 2.7568153900) * near + 1.4234372777) / (
        (0.12021132975 * near + 0.73700164250) * near + 1.0
    )
    z_far = (((0.017337203997 * far + 0.42868294337) * far + 3.0812263860) * far + 6.6579051150) / (
        (0.012258202635 * far + 0.24197894225) * far + 1.0
    )
    return np.where(r <= 5.0, z_near, z_far)


def _log(x: Doubles) -> Doubles:
    """Natural logarithm from exactly rounded operations: 2·artanh(s) as a series in s².

    With the mantissa in [√½, √2) |s| is below 0.172, and the first term left out below 1e-14.
    """
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    exponent = exponent - low
    s = (mantissa - 1.0) / (mantissa + 1.0)
    t = s * s
    series = np.full_like(s, 1.0 / 17.0)
    for divisor in (15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0):
        series = series * t + 1.0 / divisor
    return exponent * _LN2 + 2.0 * s * series


_TABLE = _tabulate()
_FIRST_PART = (1023 + _OCTAVES[0]) * _PARTS
"""Leading bits (biased exponent and part) of the smallest x."""
