"""Learning rate and β over the steps of a training (from 0)."""

import math

from training.config import FitConfig


def learning_rate_at(step: int, config: FitConfig) -> float:
    """Half a cosine from ``learning_rate`` down to its ``learning_rate_floor`` share at the last step."""
    progress = step / max(1, config.total_steps - 1)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * (config.learning_rate_floor + (1 - config.learning_rate_floor) * cosine)


def beta_at(step: int, config: FitConfig) -> float:
    """β, growing linearly over the first ``warmup`` share of the steps: without it, many latents collapse."""
    ramp = config.warmup * config.total_steps
    return config.beta * min(1.0, (step + 1) / ramp) if ramp else config.beta
