"""What two foreign graphs are to each other: which outputs count, their shapes, whether they fit."""

import re
from dataclasses import dataclass

import numpy as np
import onnx

from training.import_onnx.equivalence import runner
from training.import_onnx.foreign_file import dims
from training.import_onnx.foreign_model import ForeignModel
from training.import_onnx.graph_wrapping import EncoderOutputs, Shape
from training.training_error import TrainingError

MEAN_NAMES = {"mean", "mu", "loc", "zmean", "zmu", "latentmean", "embedding"}
LOG_VAR_NAMES = {"logvar", "logvariance", "zlogvar", "latentlogvar", "logcovariance"}


@dataclass(frozen=True)
class Pairing:
    """How the two graphs go together."""

    outputs: EncoderOutputs
    image: Shape
    """C, H, W"""
    latent: Shape


def encoder_outputs(model: onnx.ModelProto, foreign: ForeignModel) -> list[str]:
    """Names of the outputs that count: one tensor, or mean and log-variance.

    Raises:
        TrainingError: an output that is not there, or several and no telling which is which.
    """
    there = [value.name for value in model.graph.output]
    for flag, name in (("--mean-output", foreign.mean_output), ("--log-var-output", foreign.log_var_output)):
        if name is not None and name not in there:
            raise TrainingError(f"{flag} {name}: want an output of the encoder, there are {', '.join(there)}")
    if foreign.mean_output:
        return [name for name in (foreign.mean_output, foreign.log_var_output) if name]
    if len(there) == 1:
        return there
    means = [name for name in there if _plain(name) in MEAN_NAMES]
    log_vars = [name for name in there if _plain(name) in LOG_VAR_NAMES]
    if foreign.log_var_output or len(means) != 1 or len(log_vars) != 1:
        raise TrainingError(
            f"encoder: want --mean-output and --log-var-output to say which is which, came {', '.join(there)}"
        )
    return [means[0], log_vars[0]]


def decoder_output(model: onnx.ModelProto) -> str:
    """The name of the image. Raises TrainingError unless it is the only output."""
    names = [value.name for value in model.graph.output]
    if len(names) != 1:
        raise TrainingError(f"decoder: want one output, the image, came {', '.join(names)}")
    return names[0]


def pair(encoder: onnx.ModelProto, decoder: onnx.ModelProto, foreign: ForeignModel) -> Pairing:
    """Run both graphs, reduced to the outputs that count, to see what they make of each other.

    Raises:
        TrainingError: naming the graph, what was wanted and what came.
    """
    image = _image_shape(encoder, foreign.image_size)
    names = [value.name for value in encoder.graph.output]
    rows = np.full((2, *image), foreign.value_range[0], np.float32)
    encoded = runner(encoder.SerializeToString(), "encoder")(rows, names)
    if encoded[0].ndim < 2 or any(part.shape != encoded[0].shape for part in encoded):
        came = " and ".join(str(list(part.shape)) for part in encoded)
        raise TrainingError(f"encoder: want mean and log-variance [batch, latents …] alike, came {came}")
    outputs, latent = _posterior(names, encoded[0].shape[1:], decoder, foreign.kind)
    _check_latents(decoder, latent)
    decoded = runner(decoder.SerializeToString(), "decoder")(np.zeros((2, *latent), np.float32), None)[0]
    if decoded.shape != (2, *image):
        raise TrainingError(
            f"decoder: want images of {shown(image)} as the encoder takes them, "
            f"came {shown(decoded.shape[1:])}"
        )
    return Pairing(outputs, image, latent)


def shown(shape: tuple[int | str, ...]) -> str:
    """3×16×24"""
    return "×".join(map(str, shape))


def _image_shape(encoder: onnx.ModelProto, size: tuple[int, int] | None) -> Shape:
    (value,) = encoder.graph.input
    axes = dims(value)
    if len(axes) != 4:
        raise TrainingError(f"encoder: {value.name}: want images [batch, C, H, W], came {list(axes)}")
    _, channels, *fixed = axes
    if not isinstance(channels, int):
        raise TrainingError(f"encoder: {value.name}: want a fixed number of channels, came {list(axes)}")
    if size is None and not all(isinstance(axis, int) for axis in fixed):
        raise TrainingError(f"--image-size: want HxW, since the encoder takes any: {list(axes)}")
    wanted = size or (fixed[0], fixed[1])
    if any(isinstance(axis, int) and axis != want for axis, want in zip(fixed, wanted, strict=True)):
        raise TrainingError(f"--image-size {shown(wanted)}: the encoder takes {shown(tuple(fixed))} alone")
    return (channels, int(wanted[0]), int(wanted[1]))


def _posterior(
    names: list[str], shape: Shape, decoder: onnx.ModelProto, kind: str
) -> tuple[EncoderOutputs, Shape]:
    """Which output is what, and the latent shape: one tensor twice as wide as the decoder's input is both."""
    width = _latent_width(decoder)
    if len(names) == 2:
        if kind == "ae":
            raise TrainingError("--kind ae: want an encoder without log-variance, came one with it; want vae")
        return EncoderOutputs(*names), shape
    (name,) = names
    if kind == "ae":
        return EncoderOutputs(name, None), shape
    if shape[0] == width:
        raise TrainingError(
            f"encoder: want mean and log-variance, came {name} with {shape[0]} channels, just what the "
            "decoder takes; a deterministic encoder wants --kind ae"
        )
    if shape[0] % 2 or (width is not None and shape[0] != 2 * width):
        wanted = f"{2 * width} channels, twice the decoder's {width}" if width else "an even number of them"
        raise TrainingError(
            f"encoder and decoder do not fit together: {name}: want mean and log-variance in {wanted}, "
            f"came {shape[0]}"
        )
    return EncoderOutputs(name, name), (shape[0] // 2, *shape[1:])


def _latent_width(decoder: onnx.ModelProto) -> int | None:
    """The length of the decoder's axis 1, where it is fixed."""
    axes = dims(decoder.graph.input[0])
    return axes[1] if len(axes) > 1 and isinstance(axes[1], int) else None


def _check_latents(decoder: onnx.ModelProto, latent: Shape) -> None:
    axes = dims(decoder.graph.input[0])[1:]
    fits = len(axes) == len(latent) and all(
        axis == length for axis, length in zip(axes, latent, strict=True) if isinstance(axis, int)
    )
    if not fits:
        raise TrainingError(
            f"encoder and decoder do not fit together: the encoder gives latents of {shown(latent)}, "
            f"the decoder takes {shown(axes)}"
        )


def _plain(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())
