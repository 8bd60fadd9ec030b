"""Decoders of reduced precision, and what they cost: ``vae-train export --precision``.

int8 is static quantisation in the form of QuantizeLinear and DequantizeLinear pairs, weights by channel,
calibrated on latents of the posterior and of the prior, since both will be decoded. The output layer stays
in float32: its error would go straight into the pixels. Seven bits of each weight's eight are used, for
CPUs without VNNI add two products in 16 bits (ONNX Runtime's ``reduce_range``). float16 keeps the tensors
at the borders in float32; it is meant for GPUs.

Encoder, prior and score stay in float32, so latents and likelihoods are those of the model.
"""

import logging
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import Tensor

from serving.bundle import Gate, Likelihood, Precision
from training.data.binarisation import binarise
from training.export.graphs import IR_VERSION, check_graph
from training.export.parity import cpu_session
from training.training_error import TrainingError

Floats = NDArray[np.float32]

LARGEST_LOSS = 0.5
"""Nats of −ELBO per image that a reduced precision may cost."""
IMAGES = 1000
"""On which the loss is measured, with one draw of each posterior."""
CALIBRATED = 512
"""Latents of the posterior, and as many of the prior."""
BATCH = 64
TIMED_ROWS = 256
TIMED_RUNS = 7
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
SMALLEST_CHANCE = 1e-6
"""What a pixel's probability is kept away from 0 and 1 by, where a likelihood is made from it."""


@dataclass(frozen=True)
class Cost:
    """Of a reduced decoder against the float32 one, on this machine."""

    precision: Precision
    loss: float
    """Nats of −ELBO per image more; the rate is the same, so it is the distortion that differs."""
    standard_error: float
    mib: tuple[float, float]
    """Size of the file before and after."""
    microseconds: tuple[float, float]
    """For a row in a batch of 256, one thread of this CPU, before and after."""

    @property
    def gate(self) -> Gate:
        """Passed where the loss is at most half a nat."""
        return Gate(
            name=f"precision {self.precision}",
            wanted=f"at most {LARGEST_LOSS} nats of −ELBO lost",
            came=f"{self.loss:+.3f} ± {self.standard_error:.3f}",
            passed=bool(self.loss <= LARGEST_LOSS),  # not where it is not a number
            forced=False,
        )

    def describe(self) -> str:
        """A line for the terminal."""
        (before, after), (slow, fast) = self.mib, self.microseconds
        return (
            f"precision decoder in {self.precision}: {before:.2f} → {after:.2f} MiB, "
            f"{slow:.0f} → {fast:.0f} µs a row on this CPU, "
            f"−ELBO {self.loss:+.3f} ± {self.standard_error:.3f} nats"
        )


def reduced(content: bytes, precision: Precision, latents: Floats) -> bytes:
    """A decoder's file in less precision.

    Args:
        latents: [n, *latent_shape] as they will be decoded.

    Raises:
        TrainingError: the graph cannot be converted.
    """
    try:
        with _quiet_tools(), tempfile.TemporaryDirectory(prefix="vae-precision-") as folder:
            convert = _int8 if precision == "int8" else _float16
            model = convert(content, latents, Path(folder))
    except Exception as exc:  # the tools raise whatever they stumble on
        raise TrainingError(
            f"--precision {precision}: the decoder cannot be converted: {exc!s:.200}"
        ) from exc
    model.ir_version = IR_VERSION
    check_graph(model, label=f"decoder in {precision}")
    return bytes(model.SerializeToString(deterministic=True))


def cost(
    before: bytes, after: bytes, precision: Precision, images: Tensor, latents: Tensor, likelihood: Likelihood
) -> Cost:
    """Measure both decoders.

    Args:
        images: [n, C, H, W] in [0, 1].
        latents: [n, *latent_shape], a draw of the posterior of each image.

    Raises:
        TrainingError: a Gaussian likelihood without its σ.
    """
    if likelihood.binarisation == "dynamic":
        images = binarise(images, torch.Generator().manual_seed(0))
    sessions = [cpu_session(content, threads=1) for content in (before, after)]
    name = sessions[0].get_inputs()[0].name
    fed = latents.numpy()
    lost = np.concatenate(
        [
            _distortion(x, sessions[1].run(None, {name: z})[0], likelihood)
            - _distortion(x, sessions[0].run(None, {name: z})[0], likelihood)
            for x, z in zip(_batches(images.numpy()), _batches(fed), strict=True)
        ]
    )
    batch = {name: fed[np.arange(TIMED_ROWS) % len(fed)]}
    taken: list[list[float]] = [[], []]
    for _ in range(TIMED_RUNS):  # in turns, so that a noisy moment hits both
        for session, seconds in zip(sessions, taken, strict=True):
            began = time.perf_counter()
            session.run(None, batch)
            seconds.append(time.perf_counter() - began)
    slow, fast = (1e6 * float(np.median(seconds)) / TIMED_ROWS for seconds in taken)
    return Cost(
        precision,
        loss=float(lost.mean()),
        standard_error=float(lost.std() / np.sqrt(len(lost))),
        mib=(len(before) / 2**20, len(after) / 2**20),
        microseconds=(slow, fast),
    )


def _int8(content: bytes, latents: Floats, folder: Path) -> Any:
    source, target = folder / "float32.onnx", folder / "int8.onnx"
    quant_pre_process(onnx.load_model_from_string(content), str(source), skip_optimization=True)
    model = onnx.load(source)
    quantize_static(
        str(source),
        str(target),
        _Latents(model.graph.input[0].name, latents),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        nodes_to_exclude=_output_layer(model.graph),
    )
    model = onnx.load(target)
    if not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise ValueError("it has no weights but those of the output layer, which stays float32")
    return model


def _float16(content: bytes, latents: Floats, folder: Path) -> Any:
    model = convert_float_to_float16(onnx.load_model_from_string(content), keep_io_types=True)
    _sort(model.graph)
    return model


def _sort(graph: Any) -> None:
    """Every node behind those it takes from, as the standard wants; the tool puts its casts at the end."""
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{index}"
    made_later = {output: node.name for node in graph.node for output in node.output}
    waiting = {node.name: [made_later[i] for i in node.input if i in made_later] for node in graph.node}
    nodes = {node.name: node for node in graph.node}
    order = [nodes[name] for name in TopologicalSorter(waiting).static_order()]
    del graph.node[:]
    graph.node.extend(order)


def _output_layer(graph: Any) -> list[str]:
    """Names of the nodes from the last weights to the output."""
    producers = {output: node for node in graph.node for output in node.output}
    names, wanted = [], [graph.output[0].name]
    while wanted:
        node = producers.get(wanted.pop())
        if node is None:
            continue
        names.append(node.name)
        if node.op_type not in WEIGHTED:
            wanted.extend(node.input)
    return names


class _Latents(CalibrationDataReader):
    def __init__(self, name: str, latents: Floats) -> None:
        self._name = name
        self._batches = iter(_batches(latents))

    def get_next(self) -> dict[str, Floats] | None:
        """ONNX Runtime's tool asks until there is none."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def _batches(rows: Floats) -> list[Floats]:
    return np.split(rows, range(BATCH, len(rows), BATCH))


def _distortion(images: Floats, mean: Floats, likelihood: Likelihood) -> NDArray[np.float64]:
    """-log p(x|z) of each image, up to what does not depend on the decoder, from the mean of p(x|z)."""
    x, p = images.astype(np.float64), mean.astype(np.float64)
    if likelihood.name == "bernoulli":
        p = p.clip(SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
        terms = -(x * np.log(p) + (1 - x) * np.log1p(-p))
    elif likelihood.sigma is None:
        raise TrainingError("--precision: want the σ of the Gaussian likelihood, to tell what is lost")
    else:
        terms = 0.5 * np.square((x - p) / likelihood.sigma)
    return np.asarray(terms.reshape(len(x), -1).sum(axis=1))


@contextmanager
def _quiet_tools() -> Iterator[None]:
    """They speak through the root logger, and of their own deprecated calls."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(level)
