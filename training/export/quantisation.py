"""A decoder's file in int8 or float16.

int8 is static quantisation in the form of QuantizeLinear and DequantizeLinear pairs, weights by channel,
calibrated on latents of the posterior and of the prior, since both will be decoded. The output layer stays
in float32: its error would go straight into the pixels. Seven bits of each weight's eight are used, for
CPUs without VNNI add two products in 16 bits (ONNX Runtime's ``reduce_range``). float16 keeps the tensors
at the borders in float32; it is meant for GPUs.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from serving.bundle import Precision
from training.export.graphs import IR_VERSION, check_graph
from training.export.parity import Floats
from training.training_error import TrainingError

BATCH = 64
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def quantised(content: bytes, precision: Precision, latents: Floats) -> bytes:
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


def batches(rows: Floats) -> list[Floats]:
    """In turn, of at most ``BATCH`` rows."""
    return np.split(rows, range(BATCH, len(rows), BATCH))


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
        self._batches = iter(batches(latents))

    def get_next(self) -> dict[str, Floats] | None:
        """ONNX Runtime's tool asks until there is none."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


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
