"""Learning rate and β over a training."""

import pytest

from training.config import FitConfig
from training.fit.schedule import beta_at, learning_rate_at
from training.training_error import TrainingError

STEPS = 200


def config(**values: object) -> FitConfig:
    return FitConfig(**{"steps": STEPS, **values})


def test_learning_rate_is_a_cosine_with_a_floor():
    """It begins at the learning rate, never rises, and the last step has exactly the floor."""
    some = config(learning_rate=2e-3, learning_rate_floor=0.05)
    rates = [learning_rate_at(step, some) for step in range(STEPS)]
    assert rates[0] == 2e-3
    assert rates[-1] == pytest.approx(1e-4)
    assert rates == sorted(rates, reverse=True)
    assert learning_rate_at(0, config(steps=1)) == 1e-3


@pytest.mark.parametrize(("warmup", "full_from"), [(0, 0), (0.1, 19), (1, STEPS - 1)])
def test_beta_warms_up_and_arrives(warmup, full_from):
    """β grows from the first step on, is whole after the warm-up, and always arrives before the end."""
    some = config(beta=3.0, warmup=warmup)
    betas = [beta_at(step, some) for step in range(STEPS)]
    assert betas == sorted(betas)
    assert betas[0] > 0
    assert betas.index(3.0) == full_from
    assert betas[-1] == 3.0


def test_warmup_longer_than_training_is_refused():
    """A warm-up that would never end is an error that names the flag."""
    with pytest.raises(TrainingError, match=r"^--warmup: .*less than or equal to 1; came 1\.5$"):
        FitConfig.parse({"warmup": 1.5})
