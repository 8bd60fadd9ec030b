"""Modules of other libraries with the signatures that a bundle wants.

Libraries return their tensors in many ways: pythae and transformers in a ``ModelOutput``, others in a dict,
a named tuple or a tuple of one.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from training.modalities.data_form import DataForm
from training.modalities.image.image_form import IMAGES
from training.training_error import TrainingError

MEAN = ("mean", "mu", "loc", "embedding")
LOG_VAR = ("log_var", "logvar", "log_covariance")
"""The last of each is pythae's."""
IMAGE = ("image", "reconstruction", "sample")
"""The last two are pythae's and diffusers'."""


class EncoderAdapter(nn.Module):
    """Image → (mean, log_var), whatever container the encoder returns them in."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        output = self.encoder(image)
        if isinstance(output, Mapping):
            return _named(output, MEAN, "encoder"), _named(output, LOG_VAR, "encoder")
        if isinstance(output, tuple | list) and len(output) == 2:
            return output[0], output[1]
        raise TrainingError(f"encoder: want (mean, log_var), or a mapping with both, came {_came(output)}")


class DecoderAdapter(nn.Module):
    """Latent → image, whatever container the decoder returns it in."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Tensor) -> Tensor:
        output = self.decoder(latent)
        if isinstance(output, Mapping):
            return _named(output, IMAGE, "decoder")
        if isinstance(output, tuple | list) and len(output) == 1:
            output = output[0]
        if not isinstance(output, Tensor):
            raise TrainingError(f"decoder: want an image tensor, came {_came(output)}")
        return output


def check_given(rows: Tensor, *, form: DataForm = IMAGES, **modules: nn.Module | None) -> None:
    """What a user hands to ``export_bundle``.

    Raises:
        TrainingError: training data that are not of that form, fewer than two of them, or a module that is
            not on the CPU.
    """
    for label, module in modules.items():
        device = next((tensor.device for tensor in module.parameters()), None) if module else None
        if device is not None and device.type != "cpu":
            raise TrainingError(f"{label}: want it on the CPU, came {device}; .cpu() moves it")
    if len(rows) < 2:
        raise TrainingError(f"images: want at least 2, [N, C, H, W], came {list(rows.shape)}")
    form.check_data("images", rows)


def check_held_out(held_out: Tensor | None, rows: Tensor, form: DataForm) -> None:
    """Raises TrainingError unless they are like the training data, any number of them."""
    if held_out is None:
        return
    if held_out.shape[1:] != rows.shape[1:]:
        wanted, came = list(rows.shape[1:]), list(held_out.shape[1:])
        raise TrainingError(f"held_out: want images of {wanted}, like those of the training, came {came}")
    form.check_data("held_out", held_out)


def _named(output: Mapping[str, Any], names: tuple[str, ...], label: str) -> Tensor:
    for name in names:
        tensor = output.get(name)
        if isinstance(tensor, Tensor):
            return tensor
    wanted, there = " or ".join(names), ", ".join(map(str, output)) or "none"
    raise TrainingError(f"{label}: want a tensor called {wanted} in its output, there are {there}")


def _came(output: object) -> str:
    if isinstance(output, Tensor):
        return f"a tensor {list(output.shape)}"
    length = f" of {len(output)}" if isinstance(output, tuple | list) else ""
    return f"{type(output).__name__}{length}"
