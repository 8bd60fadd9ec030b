"""What is asked of the servers, and what the right answers are.

A workload's name says rows per request x requests at once.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.models import IMAGE_SHAPE, LATENTS
from benchmarks.serving.sessions import single_threaded

Rows = NDArray[np.float32]

TOLERANCE = 1e-5
"""Largest absolute difference to raw ONNX Runtime. Batches of other sizes add in another order."""


@dataclass(frozen=True)
class Workload:
    """``form`` is how images are written in the reply."""

    name: str
    model: Literal["mlp", "conv"]
    method: Literal["Decode", "Encode", "Sample"]
    rows: int
    at_once: int
    form: Literal["float32", "uint8", "png"] = "float32"

    @property
    def tensors_only(self) -> bool:
        """Float tensors in and out: what a server that knows nothing of VAEs can do as well."""
        return self.method != "Sample" and self.form == "float32"

    @property
    def graph(self) -> str:
        return "encoder" if self.method == "Encode" else "decoder"

    @property
    def input_name(self) -> str:
        return "image" if self.method == "Encode" else "latent"

    @property
    def output_names(self) -> tuple[str, ...]:
        return ("mean", "log_var") if self.method == "Encode" else ("image",)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("mlp_1x64", "mlp", "Decode", 1, 64),
        Workload("mlp_64x8", "mlp", "Decode", 64, 8),
        Workload("mlp_1x1", "mlp", "Decode", 1, 1),
        Workload("conv_1x64", "conv", "Decode", 1, 64),
        Workload("conv_64x8", "conv", "Decode", 64, 8),
        Workload("encoder_1x64", "mlp", "Encode", 1, 64),
        Workload("mlp_uint8_64x8", "mlp", "Decode", 64, 8, "uint8"),
        Workload("mlp_png_64x8", "mlp", "Decode", 64, 8, "png"),
        Workload("sample_1x64", "mlp", "Sample", 1, 64),
    )
}


class WrongAnswer(Exception):
    """A server that does not compute what it is timed for."""


@dataclass(frozen=True)
class Case:
    """A workload with its input and the outputs of raw ONNX Runtime."""

    workload: Workload
    repository: Path

    @property
    def graph_file(self) -> Path:
        return self.repository / self.workload.model / "1" / f"{self.workload.graph}.onnx"

    @cached_property
    def inputs(self) -> Rows:
        """[rows, …] images or latents, fixed. For Sample a stand-in of the same shape."""
        rng = np.random.default_rng(7)
        if self.workload.method == "Encode":
            return rng.random((self.workload.rows, *IMAGE_SHAPE), np.float32)
        shape = (self.workload.rows, LATENTS[self.workload.model])
        return rng.normal(size=shape).astype(np.float32)

    def outputs(self, inputs: Rows | None = None) -> tuple[Rows, ...]:
        """What raw ONNX Runtime gives for ``inputs``, by default the case's own."""
        feed = {self.workload.input_name: self.inputs if inputs is None else inputs}
        return tuple(single_threaded(self.graph_file).run(self.workload.output_names, feed))


def compare(name: str, came: NDArray[np.generic], wanted: Rows, tolerance: float = TOLERANCE) -> None:
    """Raises WrongAnswer, saying which tensor, and by how much it is off."""
    if came.shape != wanted.shape:
        raise WrongAnswer(f"{name}: want shape {wanted.shape}, came {came.shape}")
    difference = float(np.abs(came.astype(np.float64) - wanted).max())
    if not difference <= tolerance:
        raise WrongAnswer(f"{name}: differs from raw ONNX Runtime by {difference:.2g}, want {tolerance:g}")
