"""A step recorded once as a CUDA graph and then repeated: one launch instead of a thousand.

The networks here are small, and their kernels shorter than Python needs to start them. Recorded is all of a
step, from the forward pass to the averaged weights. What changes from step to step lies in tensors that stay
where they are: images and noise, drawn outside as in every other step, β, the learning rate, the share of the
moving average. Nothing of a step waits for the host, so the host draws the next batch meanwhile.

Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from typing import Any

import torch
from torch import Tensor

from training.config import FitConfig
from training.fit.distributed import ALONE, World
from training.fit.losses import Bound, Objective, Scalar, objective
from training.fit.minibatches import AnyBatch
from training.fit.running_means import StepTerms
from training.fit.state import State
from training.fit.step import descend, randomness
from training.models import VAE
from training.training_error import TrainingError

WARM_UP = 3
"""Steps that are taken before one is recorded: libraries choose their algorithms and allocate then."""


def is_recorded(state: State, config: FitConfig, world: World = ALONE) -> bool:
    """Whether the steps of this training are.

    Raises:
        TrainingError: --execution graph, where there can be none.
    """
    obstacle = None
    if not next(state.model.parameters()).is_cuda:
        obstacle = "a GPU"
    elif world.size > 1:
        obstacle = "one process"
    elif config.accumulate > 1:
        obstacle = "--accumulate 1"
    if obstacle and config.execution == "graph":
        raise TrainingError(f"--execution graph: want {obstacle}, or --execution auto")
    return obstacle is None and config.execution != "eager"


def chosen_objective(config: FitConfig) -> Objective:
    """What the gradient is taken of, compiled where the config says so."""
    if config.execution != "compiled":
        return objective
    compiled = torch.compile(objective, dynamic=False)

    def bound(model: VAE, image: Tensor, noise: Tensor, *, beta: Scalar, free_bits: float) -> Bound:
        beta = torch.as_tensor(beta, device=image.device)  # a number would be compiled in
        terms: Bound = compiled(model, image, noise, beta=beta, free_bits=free_bits)
        return terms

    return bound


class GraphedStep:
    """Takes the steps of one session, in place of ``train_step``; the optimisers are its own from now on."""

    def __init__(self, state: State, config: FitConfig, bound: Objective = objective) -> None:
        self._state, self._config, self._bound = state, config, bound
        self._device = next(state.model.parameters()).device
        self._beta, self._rate, self._share = (torch.zeros((), device=self._device) for _ in range(3))
        self._batch: AnyBatch | None = None
        self._terms: StepTerms | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream(self._device)
        self._warm = 0
        for group in self._groups():
            group["lr"] = self._rate

    def __call__(self, batch: AnyBatch, *, beta: float, learning_rate: float) -> StepTerms:
        """One step; what it returns holds until the next."""
        state = self._state
        self._take(batch)
        self._beta.fill_(beta)
        self._rate.fill_(learning_rate)
        self._share.fill_(1 - state.ema.decay_at(state.step))
        with randomness(self._config, state.step, self._device):
            if self._warm < WARM_UP:
                self._warm += 1
                terms = self._beside()
            else:
                terms = self._repeated()
        state.step += 1
        return terms

    def _take(self, batch: AnyBatch) -> None:
        if self._batch is None or self._batch.noise.shape != batch.noise.shape:  # more samples from now on
            self._batch = type(batch)(*(torch.empty_like(part) for part in batch))
            self._graph, self._warm = None, 0
        for place, part in zip(self._batch, batch, strict=True):
            place.copy_(part)

    def _beside(self) -> StepTerms:
        """On the stream that will be recorded, not the default one."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._clear()
            terms = self._descend()
        current.wait_stream(self._stream)
        return terms

    def _repeated(self) -> StepTerms:
        if self._graph is None or self._terms is None:
            self._clear()  # gradients are laid out anew, in the memory of the graph
            for group in self._groups():
                group["capturable"] = True  # AdamW asks; its fused kernel counts steps on the device anyway
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph, stream=self._stream):
                    self._terms = self._descend()
            except RuntimeError as exc:
                reason = str(exc).partition("\n")[0]
                raise TrainingError(f"CUDA graph: {reason}; want --execution eager") from exc
            self._graph = graph
        self._graph.replay()
        return self._terms

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self._state.optimizers.values() for group in optimizer.param_groups]

    def _clear(self) -> None:
        for optimizer in self._state.optimizers.values():
            optimizer.zero_grad(set_to_none=True)

    def _descend(self) -> StepTerms:
        if self._batch is None:
            raise ValueError("want a batch first")
        return descend(
            self._state, [self._batch], self._config, beta=self._beta, share=self._share, bound=self._bound
        )
