"""Learning rate and β over the steps of a training (from 0)."""

import math

from training.config import FitConfig


def learning_rate_at(step: int, config: FitConfig) -> float:
    """Half a cosine from ``learning_rate`` down to its ``learning_rate_floor`` share at the last step."""
    progress = step / max(1, config.total_steps - 1)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * (config.learning_rate_floor + (1 - config.learning_rate_floor) * cosine)


def beta_at(step: int, config: FitConfig) -> float:
    """β, growing linearly over the first ``warmup`` share of each cycle: without it, many latents collapse.

    Several cycles: Fu et al. 2019 (arXiv:1903.10145); each begins with latents that are worth using.
    """
    cycle = config.total_steps / config.beta_cycles
    ramp = config.warmup * cycle
    return config.beta * min(1.0, (step % cycle + 1) / ramp) if ramp else config.beta
