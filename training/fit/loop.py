"""The training loop."""

import math
from contextlib import ExitStack
from typing import NamedTuple

from training.config import FitConfig
from training.data import Dataset
from training.fit.distributed import ALONE, World
from training.fit.gpu import GraphedStep, chosen_objective, is_recorded
from training.fit.interrupts import deferred
from training.fit.minibatches import Batches
from training.fit.schedule import beta_at, learning_rate_at
from training.fit.state import State
from training.fit.step import train_step, validate
from training.runs import Run, checkpoint
from training.runs.training_log import TrainingLog
from training.training_error import TrainingError

_DEFORMED = 0.8
"""Share of the steps whose images are deformed, if they are; the last ones see the images as they are."""


class Outcome(NamedTuple):
    signal: int | None
    """The signal that stopped the training before its end."""
    validation: dict[str, float] | None
    """Loss, distortion and rate of the averaged weights in nats per image, after the last step; None if
    the training was stopped, or had no step left to take."""


def train(
    state: State, dataset: Dataset, config: FitConfig, run: Run, *, owner: str, world: World = ALONE
) -> Outcome:
    """Train from ``state.step`` to the last step of ``config``, logging and saving on the way.

    Rank 0 alone looks at the validation images and writes. A signal to any process stops all of them after
    the same step.

    Raises:
        TrainingError: the loss is no longer finite; the message names the last good checkpoint.
        PeerLost: another process of the training is gone.
    """
    batches, bound = batches_of(state, dataset, config, world), chosen_objective(config)
    recorded = GraphedStep(state, config, bound) if is_recorded(state, config, world) else None
    validation, stopped_by, saved = None, 0, state.step
    with ExitStack() as stack:
        log = stack.enter_context(_log(state, dataset, config, run)) if world.is_main else None
        stop = stack.enter_context(deferred())
        while state.step < config.total_steps and not stopped_by:
            beta, learning_rate = beta_at(state.step, config), learning_rate_at(state.step, config)
            step, scalars = batches.at(state.step), {"beta": beta, "learning_rate": learning_rate}
            if recorded:
                state.means.add(recorded(step[0], **scalars))
            else:
                state.means.add(train_step(state, step, config, **scalars, world=world, bound=bound))
            stopped_by = world.largest(stop.signal or 0)
            if log:
                log.advance()
            if _is_due(state.step, config.log_every, config):
                means = world.together(lambda: _finite_means(state, run))
                if log:
                    log.train_row(state.step, means, beta=beta, learning_rate=learning_rate)
                state.means.clear()
            if _is_due(state.step, config.checkpoint_every, config):
                validation = world.from_main(lambda: _look(state, dataset, config, run, log, owner))
                saved = state.step
        if stopped_by and saved < state.step:  # a checkpoint of this step is there already, with its loss
            world.from_main(lambda: _save(state, run, owner))
    finished = state.step == config.total_steps
    return Outcome(None if finished else stopped_by, validation if finished else None)


def _is_due(step: int, every: int, config: FitConfig) -> bool:
    return step % every == 0 or step == config.total_steps


def _log(state: State, dataset: Dataset, config: FitConfig, run: Run) -> TrainingLog:
    on_gpu = next(state.model.parameters()).is_cuda
    return TrainingLog(run, config, step=state.step, held_out=len(dataset.val), is_asynchronous=on_gpu)


def batches_of(state: State, dataset: Dataset, config: FitConfig, world: World = ALONE) -> Batches:
    """The training images as this process is shown them, on the device of the model."""
    device = next(state.model.parameters()).device
    images = dataset.train.images
    noise_shape = state.model.noise_shape(config.batch_size)
    return Batches(
        images if dataset.mapped else images.to(device),
        seed=config.seed,
        batch_size=config.batch_size,
        binary=config.binarisation == "dynamic",
        noise_shape=noise_shape,
        batch_axis=len(noise_shape) - len(state.model.latent_shape) - 1,
        device=device,
        share=(world.rank, world.size),
        accumulate=config.accumulate,
        deformation=config.deformation,
        deformed_steps=round(_DEFORMED * config.total_steps),
        single_steps=config.single_steps,
        hides=config.following > 0,
    )


def _look(
    state: State, dataset: Dataset, config: FitConfig, run: Run, log: TrainingLog | None, owner: str
) -> dict[str, float]:
    """Loss, distortion and rate of the averaged weights on the validation images, then a checkpoint."""
    held_out = dataset.binarised("val") if config.binarisation == "dynamic" else dataset.val
    averaged = state.ema.model
    validation = validate(averaged, held_out, seed=config.seed, beta=config.beta)
    _require_finite(validation, state, run)
    if log:
        log.val_row(state.step, validation, sigma=averaged.likelihood.sigma)
    _save(state, run, owner, validation)
    return validation


def _save(state: State, run: Run, owner: str, validation: dict[str, float] | None = None) -> None:
    _finite_means(state, run)
    loss = None if validation is None else validation["loss"]
    checkpoint.save(run.checkpoints, state.step, state.tensors(), owner=owner, loss=loss)


def _finite_means(state: State, run: Run) -> dict[str, float]:
    """Of the steps since the last row; looked at only when a row or a checkpoint is due, since each look
    holds up a GPU."""
    return _require_finite(state.means.means(), state, run)


def _require_finite(terms: dict[str, float], state: State, run: Run) -> dict[str, float]:
    broken = [name for name, value in terms.items() if not math.isfinite(value)]
    if broken:
        saved = checkpoint.files(run.checkpoints)
        good = f"the last good checkpoint is {saved[0]}" if saved else "no checkpoint was written before"
        raise TrainingError(
            f"diverged by step {state.step}: {', '.join(broken)} not finite; {good}; "
            "want a lower --learning-rate or --clip"
        )
    return terms
