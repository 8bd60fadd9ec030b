"""What every p(x|z) can be asked, whatever kind of data x is."""

from typing import Protocol

from torch import Tensor


class Likelihood(Protocol):
    """A module; X stands for the axes of a row of data, P for those of what the decoder says of it."""

    @property
    def name(self) -> str:
        """As the bundle's manifest has it."""

    @property
    def sigma(self) -> float | None:
        """Standard deviation shared by all values, where there is one."""

    def log_prob(self, data: Tensor, parameters: Tensor, /) -> Tensor:
        """log p(x|z) in nats: data [B, *X], parameters [..., B, *P] -> [..., B]."""

    def mean(self, parameters: Tensor, /) -> Tensor:
        """E[x|z], what is shown of an image; of a kind of data without a mean the parameters themselves."""
