"""What the user says of a foreign model, or what a folder in the layout of diffusers says of itself."""

import json
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.config import LARGEST_NUMBER
from training.training_error import TrainingError

UNIT_RANGE = (0.0, 1.0)
DIFFUSERS_VALUE_RANGE = (-1.0, 1.0)
DIFFUSERS_LOG_VAR_RANGE = (-30.0, 20.0)
"""What ``DiagonalGaussianDistribution`` of diffusers clamps log-variances to, outside its graphs."""


@dataclass(frozen=True)
class ForeignModel:
    """Two ONNX files, and what they do not say themselves."""

    encoder: Path
    decoder: Path
    kind: Literal["vae", "ae"] = "vae"
    """"ae": the encoder gives a latent without a log-variance."""
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    value_range: tuple[float, float] = UNIT_RANGE
    """Smallest and largest value of a pixel."""
    decoder_output: Literal["image", "logits"] = "image"
    """"logits": of Bernoulli pixels; the bundle's decoder ends in a sigmoid that the file lacks."""
    latent_scale: float = 1.0
    latent_shift: float = 0.0
    """Callers see (z - shift) · scale, the convention of latent diffusion; z is what the graphs know."""
    image_size: tuple[int, int] | None = None
    """Height and width, for graphs that leave them open."""
    mean_output: str | None = None
    log_var_output: str | None = None
    """Tensor names, for an encoder whose outputs do not tell by themselves."""
    log_var_range: tuple[float, float] | None = None
    """Log-variances are clamped to it, as the model's own library does outside the graph."""

    def in_range(self, unit: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pixels in [0, 1] in the value range."""
        low, high = self.value_range
        return np.asarray(np.float32(low) + unit * np.float32(high - low))

    def check(self) -> None:
        """Raises TrainingError for facts that contradict each other."""
        if self.decoder_output != "logits":
            return
        if self.value_range != UNIT_RANGE:
            came = "{:g},{:g}".format(*self.value_range)
            raise TrainingError(
                f"--decoder-output logits: a sigmoid gives pixels in 0,1; want --value-range=0,1, came {came}"
            )
        if self.likelihood != "bernoulli":
            raise TrainingError(
                "--decoder-output logits: they are of Bernoulli pixels; want --likelihood bernoulli, came "
                f"{self.likelihood}, whose decoder gives the image itself"
            )

    def pixels(self, decoded: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the form of the decoder does to what the file gives."""
        if self.decoder_output == "logits":
            return np.asarray(1 / (1 + np.exp(-decoded.astype(np.float64).clip(-700, 700))), np.float32)
        return decoded.clip(*self.value_range)

    def clamped(self, log_var: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the form of the encoder does to log-variances."""
        return log_var.clip(*self.log_var_range) if self.log_var_range else log_var


def from_diffusers(folder: Path, **given: Any) -> ForeignModel:
    """A folder with ``vae_encoder/`` and ``vae_decoder/``, each ``model.onnx`` and ``config.json``.

    It is what Hugging Face Optimum exports (``optimum-cli export onnx``, or ``export_models``).

    Args:
        given: fields of ``ForeignModel`` that replace what the folder says.

    Raises:
        TrainingError: no such file, or a config whose factors a bundle cannot express.
    """
    config = _config(folder / "vae_encoder" / "config.json")
    factors = {
        "latent_scale": ("scaling_factor", None),
        "latent_shift": ("shift_factor", 0.0),  # null or absent in most models
    }
    said = {
        field: _factor(folder, config, key, default)
        for field, (key, default) in factors.items()
        if field not in given
    }
    for key in ("latents_mean", "latents_std"):
        if config.get(key) is not None and said:
            raise TrainingError(
                f"--diffusers {folder}: config.json: {key}: want one factor for all channels, "
                "came one for each; give --latent-scale and --latent-shift, or build them into the graphs"
            )
    defaults = {"value_range": DIFFUSERS_VALUE_RANGE, "log_var_range": DIFFUSERS_LOG_VAR_RANGE}
    encoder, decoder = (folder / part / "model.onnx" for part in ("vae_encoder", "vae_decoder"))
    return ForeignModel(encoder, decoder, **{**defaults, **said, **given})


def _config(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise TrainingError(
            f"--diffusers: {path} cannot be read: {exc.strerror}; want a folder with vae_encoder/ and "
            "vae_decoder/, each with model.onnx and config.json"
        ) from None
    except ValueError as exc:
        raise TrainingError(f"--diffusers: {path}: want JSON, came something else: {exc}") from None
    if not isinstance(document, dict):
        raise TrainingError(f"--diffusers: {path}: want an object, came {type(document).__name__}")
    return document


def _factor(folder: Path, config: dict[str, Any], key: str, default: float | None) -> float:
    value = config.get(key)
    if value is None and default is not None:
        return default
    is_scale = key == "scaling_factor"
    least = 1 / LARGEST_NUMBER if is_scale else 0.0
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or not is_number or not least <= abs(value) <= LARGEST_NUMBER:
        other = " other than 0" if is_scale else ""
        flag = "--latent-scale" if is_scale else "--latent-shift"
        raise TrainingError(
            f"--diffusers {folder}: config.json: {key}: want a number{other} from {-LARGEST_NUMBER:g} to "
            f"{LARGEST_NUMBER:g}, came {reprlib.repr(value)}; or give {flag}"
        )
    return float(value)
