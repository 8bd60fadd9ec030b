"""Muon: momentum whose direction is made orthogonal, so that every singular value of a step is about one.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"
(https://kellerjordan.github.io/posts/muon/): Nesterov momentum, five steps of a quintic Newton–Schulz
iteration. A step is scaled by 0.2 √max(rows, columns), which gives its entries the root mean square of
AdamW's, so that both take one learning rate and one decoupled weight decay: Liu et al. 2025
(arXiv:2502.16982), section 2.2.

``torch.optim.Muon`` (from 2.9 on) takes matrices alone and one at a time, and a float as learning rate: it
cannot be recorded as a CUDA graph.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of x, x³ and x⁵. They do not converge to 1, but bring what lies above 0.002 near it in five steps."""
ITERATIONS = 5
_SMALL = 1e-7
_ELONGATED = 4
"""From this ratio of the sides on, a CPU iterates on the small side's square alone."""


class Muon(torch.optim.Optimizer):
    """For weights of two or more axes; a convolution's are a matrix of outputs and all the rest.

    ``lr`` may be a scalar tensor on the device of the weights: then nothing of a step waits for the host.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        *,
        lr: float | Tensor,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """``precision``: what the iteration computes in; bfloat16 is enough."""
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Without a closure; weights without a gradient stay."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                _step(weights, self._directions(weights, group["momentum"]), group)

    def _directions(self, weights: list[Tensor], momentum: float) -> list[Tensor]:
        """Nesterov's: the gradient, on its way to the average."""
        averages = []
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["momentum"] = torch.zeros_like(weight)
            averages.append(state["momentum"])
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        updates: list[Tensor] = list(torch._foreach_lerp(gradients, averages, momentum))
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, update in enumerate(updates):
            by_shape[_sides(update)].append(number)
        for numbers in by_shape.values():
            stack = torch.stack([_as_matrix(updates[number]) for number in numbers])
            for number, matrix in zip(numbers, orthogonalised(stack, self._precision), strict=True):
                updates[number] = _as_weight(matrix, weights[number].shape)
        return updates


def _step(weights: list[Tensor], directions: list[Tensor], group: dict[str, Any]) -> None:
    rate = group["lr"]
    scaled = list(torch._foreach_mul(directions, [0.2 * max(_sides(update)) ** 0.5 for update in directions]))
    if group["weight_decay"]:
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
    torch._foreach_mul_(scaled, rate)
    torch._foreach_sub_(weights, scaled)


def _sides(weight: Tensor) -> tuple[int, int]:
    return len(weight), weight[0].numel()


def _as_matrix(weight: Tensor) -> Tensor:
    """[outputs, all the rest], a convolution's as they lie in memory: the order of columns is all one."""
    return weight.movedim(1, -1).flatten(1)


def _as_weight(matrix: Tensor, shape: torch.Size) -> Tensor:
    """The inverse, laid out like the weight."""
    return matrix.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


def orthogonalised(stack: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """U V^T of each matrix U S V^T, about: singular values lie in 0.7 to 1.2 and not all at 1.

    Shapes: [n, rows, columns] -> the same, in float32.
    """
    is_tall = stack.shape[1] > stack.shape[2]
    x = stack.mT if is_tall else stack
    x = x / (torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) + _SMALL)
    on_square = x.device.type == "cpu" and x.shape[2] >= _ELONGATED * x.shape[1]
    x = _by_square(x) if on_square else _plain(x.to(precision))
    return (x.mT if is_tall else x).float()


def _plain(x: Tensor) -> Tensor:
    """[n, small, large] -> the same; three batched products an iteration."""
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x


def _by_square(x: Tensor) -> Tensor:
    """The same by polynomials of x x^T, which commute: two products with the large side in all.

    In float32, for the square has the squares of the singular values. One thread, two of 256×3136: 48 ms, not
    198. A GPU does the three large products sooner than the many small ones.
    """
    a, b, c = COEFFICIENTS
    square = x @ x.mT
    eye = torch.eye(len(square[0]), dtype=x.dtype, device=x.device)
    product = eye.expand_as(square)
    for _ in range(ITERATIONS):
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c).add_(eye, alpha=a)
        product = polynomial @ product
        square = polynomial @ square @ polynomial
    return product @ x
