"""Data-parallel training: the processes that torchrun starts, and what they tell each other.

Each process holds the whole model and takes its share of every batch. The gradients are averaged, so all
processes take the same step, and their averaged weights, optimisers and logs never part. What one alone may
do (validate, log, save) rank 0 does, and the others learn how it went.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from training.training_error import TrainingError

LONGEST_WAIT = timedelta(hours=12)
"""For another process: one that has died is noticed at once, one that decodes images may take hours."""

T = TypeVar("T")


class PeerLost(Exception):
    """Another process of the training is gone; what ended it stands in its own output."""


@dataclass(frozen=True)
class World:
    """The processes of one training, seen from one of them."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among the processes of this machine."""
    control: "dist.ProcessGroup | None" = None
    """For what is said beside the gradients, over gloo, so that a GPU is not held up."""

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def device(self, wanted: torch.device) -> torch.device:
        """A GPU of its own for each process of a machine; the CPU is shared.

        Raises:
            TrainingError: there are fewer GPUs than processes.
        """
        if self.size == 1 or wanted.type != "cuda":
            return wanted
        if self.local_rank >= torch.cuda.device_count():
            raise TrainingError(
                f"--device cuda: want a GPU for each process, came process {self.local_rank + 1} of this "
                f"machine and {torch.cuda.device_count()} GPUs; want a smaller --nproc-per-node of torchrun"
            )
        return torch.device("cuda", self.local_rank)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, all of one type and device, by its mean over the processes."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _peers():
            dist.all_reduce(flat)
        means = flat.div_(self.size).split([tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def largest(self, value: int) -> int:
        """Of the values of all processes."""
        if self.size == 1:
            return value
        shared = torch.tensor(value)
        with _peers():
            dist.all_reduce(shared, dist.ReduceOp.MAX, group=self.control)
        return int(shared)

    def together(self, action: Callable[[], T]) -> T:
        """What ``action`` gives in this process, once it has succeeded in all.

        Raises:
            TrainingError: it failed here, and in no process before this one.
            SystemExit: it failed in another, which says why.
        """
        error = None
        try:
            result = action()
        except TrainingError as exc:
            error = exc
        first = self.size - self.largest(self.size - self.rank if error else 0)
        if error and first == self.rank:
            raise error
        if first < self.size:
            raise SystemExit(2)
        return result

    def from_main(self, action: Callable[[], T]) -> T:
        """What ``action`` gives in rank 0, in every process; it must survive pickling.

        Raises:
            TrainingError, SystemExit: as ``together``.
        """
        result = self.together(lambda: action() if self.is_main else None)
        if self.size == 1:
            return cast(T, result)
        box = [result]
        with _peers():
            dist.broadcast_object_list(box, src=0, group=self.control, device=torch.device("cpu"))
        return cast(T, box[0])


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """The processes that torchrun started, or this one alone.

    Raises:
        PeerLost: one of them cannot be reached, now or within.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    has_gpu = local_rank < torch.cuda.device_count()
    if has_gpu:
        torch.cuda.set_device(local_rank)
    with _peers():
        dist.init_process_group("cpu:gloo,cuda:nccl" if has_gpu else "gloo", timeout=LONGEST_WAIT)
        control = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
    try:
        yield World(dist.get_rank(), size, local_rank, control)
    finally:
        dist.destroy_process_group()


@contextmanager
def _peers() -> Iterator[None]:
    """What torch raises when a connection breaks, as what it means."""
    try:
        yield
    except (RuntimeError, ValueError) as exc:
        reason = str(exc).partition("\n")[0].partition(". ")[0]
        raise PeerLost(f"another process of this training cannot be reached: {reason}") from None
