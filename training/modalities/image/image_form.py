"""Images in a bundle."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from serving.bundle import ImageSpec
from training.training_error import TrainingError

COLOURS: dict[int, Literal["grey", "rgb", "other"]] = {1: "grey", 3: "rgb"}
SLACK = 1e-3
"""How far a pixel may lie beyond [0, 1], as the server allows it too."""


class ImageForm:
    """See ``training.modalities.data_form.DataForm``."""

    data = "image"
    decoded = "image"
    scores = ("distortion", "rate", "log_weight")

    def check_data(self, label: str, rows: Tensor) -> None:
        """Raises TrainingError unless they are [N, C, H, W] in uint8, or float32 within [0, 1]."""
        if rows.ndim != 4:
            raise TrainingError(f"{label}: want at least 2, [N, C, H, W], came {list(rows.shape)}")
        if rows.dtype not in (torch.uint8, torch.float32):
            raise TrainingError(f"{label}: want uint8 or float32, came {rows.dtype}")
        if rows.dtype == torch.float32 and len(rows):
            _check_range(label, rows, "scale them, and wrap the modules if they want another range")

    def check_decoded(self, rows: Tensor, decoded: Tensor) -> None:
        """Raises TrainingError for another shape, or pixels beyond [0, 1]: clients that encode a sample again
        would be refused."""
        if decoded.shape[1:] != rows.shape[1:]:
            wanted, came = ("×".join(map(str, tensor.shape[1:])) for tensor in (rows, decoded))
            raise TrainingError(f"decoder: want images of {wanted}, came {came}")
        _check_range("decoder: pixels", decoded, "end it with a sigmoid or a clamp")

    def manifest(self, rows: Tensor) -> Mapping[str, Any]:
        channels, height, width = rows.shape[1:]
        colour = COLOURS.get(channels, "other")
        return {"image": ImageSpec(shape=(channels, height, width), value_range=(0.0, 1.0), colour=colour)}

    def files(self) -> Mapping[str, bytes]:
        return {}


IMAGES = ImageForm()


def _check_range(label: str, values: Tensor, advice: str) -> None:
    low, high = float(values.min()), float(values.max())
    if not (low >= -SLACK and high <= 1 + SLACK):  # written so that NaN is refused
        raise TrainingError(f"{label}: want values in [0, 1], came {low:.3g} to {high:.3g}; {advice}")
