"""The training loop."""

import math
from typing import NamedTuple

from training import checkpoint
from training.config import FitConfig
from training.data import Dataset, Split
from training.draws import Batches
from training.errors import TrainingError
from training.interrupts import deferred
from training.journal import Journal
from training.runs import Run
from training.schedule import beta_at, learning_rate_at
from training.state import State
from training.step import train_step, validate


class Outcome(NamedTuple):
    signal: int | None
    """The signal that stopped the training before its end."""
    validation: dict[str, float] | None
    """Loss, distortion and rate of the averaged weights in nats per image, after the last step; None if
    the training was stopped, or had no step left to take."""


def train(state: State, dataset: Dataset, config: FitConfig, run: Run, *, owner: str) -> Outcome:
    """Train from ``state.step`` to the last step of ``config``, logging and saving on the way.

    Raises:
        TrainingError: the loss is no longer finite; the message names the last good checkpoint.
    """
    batches = _batches(state, dataset, config)
    held_out = dataset.binarised("val") if config.binarisation == "dynamic" else dataset.val
    averaged = state.ema.model
    validation = None
    with Journal(run, config, step=state.step) as journal, deferred() as stop:
        while state.step < config.total_steps and not stop:
            image, noise = batches.at(state.step)
            beta, learning_rate = beta_at(state.step, config), learning_rate_at(state.step, config)
            terms = train_step(
                state,
                image,
                noise,
                beta=beta,
                learning_rate=learning_rate,
                clip=config.clip,
                bfloat16=config.precision == "bfloat16",
            )
            state.window.add(terms)
            journal.advance()
            if _is_due(state.step, config.log_every, config):
                means = _require_finite(state.window.means(), state, run)
                journal.train_row(state.step, means, beta=beta, learning_rate=learning_rate)
                state.window.clear()
            if _is_due(state.step, config.checkpoint_every, config):
                validation = validate(averaged, held_out, seed=config.seed, beta=config.beta)
                _require_finite(validation, state, run)
                journal.val_row(state.step, validation, sigma=averaged.likelihood.sigma)
                _save(state, run, owner)
        if stop:
            _save(state, run, owner)
    finished = state.step == config.total_steps
    return Outcome(None if finished else stop.signal, validation if finished else None)


def _is_due(step: int, every: int, config: FitConfig) -> bool:
    return step % every == 0 or step == config.total_steps


def _batches(state: State, dataset: Dataset, config: FitConfig) -> Batches:
    device = next(state.model.parameters()).device
    return Batches(
        Split(dataset.train.images.to(device), None),
        seed=config.seed,
        batch_size=config.batch_size,
        binary=config.binarisation == "dynamic",
        latent_shape=state.model.latent_shape,
    )


def _save(state: State, run: Run, owner: str) -> None:
    _require_finite(state.window.means(), state, run)
    checkpoint.save(run.checkpoints, state.step, state.tensors(), owner=owner)


def _require_finite(terms: dict[str, float], state: State, run: Run) -> dict[str, float]:
    """``terms``; looked at only when a row or a checkpoint is due, since each look holds up a GPU."""
    broken = [name for name, value in terms.items() if not math.isfinite(value)]
    if broken:
        saved = checkpoint.files(run.checkpoints)
        good = f"the last good checkpoint is {saved[0]}" if saved else "no checkpoint was written before"
        raise TrainingError(
            f"diverged by step {state.step}: {', '.join(broken)} not finite; {good}; "
            "want a lower --learning-rate or --clip"
        )
    return terms
