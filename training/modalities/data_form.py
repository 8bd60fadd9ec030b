"""What a kind of data is in a bundle: the names of its tensors, and what its manifest says of it."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor


class DataForm(Protocol):
    """Of one data set or one model; X stands for the axes of a row, Y for those of what is decoded."""

    @property
    def data(self) -> str:
        """What the encoder and the score take, [B, *X]."""

    @property
    def decoded(self) -> str:
        """What the decoder gives, [B, *Y]."""

    @property
    def scores(self) -> tuple[str, ...]:
        """What the score gives."""

    def check_data(self, label: str, rows: Tensor) -> None:
        """Raises TrainingError for rows that are none of this kind."""

    def check_decoded(self, rows: Tensor, decoded: Tensor) -> None:
        """Raises TrainingError for what cannot have been decoded from the latents of such rows."""

    def manifest(self, rows: Tensor) -> Mapping[str, Any]:
        """Keys of the manifest, of the training data."""

    def files(self) -> Mapping[str, bytes]:
        """Of the bundle, beside those that all have."""
