"""Writes noise.json: the noise of a few seeds and rows as float32 bit patterns.

Run it only if the noise contract of serving/latent/noise.py gains a new version: clients rely on these bits.
"""

import json
from pathlib import Path

import numpy as np

from serving.latent.noise import standard_normal

CASES = [(0, 0, 2, 3), (7, 0, 4, 16), (7, 1000, 1, 5), (2**64 - 1, 2**40, 1, 8), (123456789, 3, 2, 40)]


def bits(seed: int, first_row: int, rows: int, values: int) -> list[list[str]]:
    noise = standard_normal(seed, first_row, rows, values).astype(np.float32)
    return [[f"{word:08x}" for word in row] for row in noise.view(np.uint32).tolist()]


if __name__ == "__main__":
    cases = [{"arguments": case, "bits": bits(*case)} for case in CASES]
    Path(__file__).with_name("noise.json").write_text(json.dumps(cases, indent=1) + "\n")
