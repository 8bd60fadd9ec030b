"""A foreign ONNX file as a model of standard operators with one input and the outputs that are wanted."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, inliner, version_converter
from onnxscript import optimizer

from training.export.graphs import IR_VERSION, OPSETS, check_graph, nodes
from training.training_error import TrainingError

HALF_PRECISION = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
BATCH = "batch"


def read_model(path: Path, *, label: str) -> tuple[bytes, onnx.ModelProto]:
    """The bytes of the file and what they say.

    Raises:
        TrainingError: not there, not ONNX, weights outside the file or in half precision, or not exactly one
            input, an image or latent of known rank.
    """
    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except OSError as exc:
        raise TrainingError(f"--{label} {path}: cannot be read: {exc.strerror}") from None
    except DecodeError:
        raise TrainingError(f"--{label} {path}: want an ONNX file, came something else") from None
    if not model.graph.node or not model.graph.output:
        raise TrainingError(f"--{label} {path}: want an ONNX file with a graph in it, came none")
    _check_weights(model, label)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]  # before IR version 4 every weight was an input as well
    model.graph.input.extend(inputs)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise TrainingError(f"{label}: want one input, came {names}")
    return content, model


def reduce_to(model: onnx.ModelProto, outputs: Sequence[str], *, label: str) -> onnx.ModelProto:
    """The part of a graph that gives these outputs, in a version that a bundle may have.

    What else the graph computes is left out: an encoder that draws a sample beside mean and log-variance
    loses its random operator with it.

    Raises:
        TrainingError: what is left breaks the contract of ``check_graph``.
    """
    reduced = onnx.ModelProto()
    reduced.CopyFrom(model)
    kept = [next(value for value in model.graph.output if value.name == name) for name in outputs]
    del reduced.graph.output[:]
    reduced.graph.output.extend(kept)
    del reduced.graph.value_info[:]  # hints about shapes, often stale
    if reduced.functions:
        reduced = inliner.inline_local_functions(reduced)
    optimizer.remove_unused_nodes(reduced)
    _drop_unused_domains(reduced)
    for value in (*reduced.graph.input, *reduced.graph.output):
        _name_open_batch(value)
    reduced = _in_range(reduced, label)
    reduced.ir_version = IR_VERSION
    check_graph(reduced, label=label)
    return reduced


def dims(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """The axes of a tensor: a number where fixed, a name or "?" where open."""
    return tuple(
        axis.dim_value if axis.HasField("dim_value") else axis.dim_param or "?"
        for axis in value.type.tensor_type.shape.dim
    )


def _check_weights(model: onnx.ModelProto, label: str) -> None:
    for tensor in _tensors(model.graph):
        if external_data_helper.uses_external_data(tensor):
            raise TrainingError(
                f"{label}: want the weights inside the file, came external data; "
                "onnx.save(onnx.load(path), new_path) writes them into one file"
            )
        if tensor.data_type in HALF_PRECISION:
            came = onnx.TensorProto.DataType.Name(tensor.data_type)
            raise TrainingError(f"{label}: want float32 weights, came {came}; export it in float32")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every constant, those inside nodes and subgraphs included."""
    yield from graph.initializer
    for node in nodes(graph):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            yield from attribute.g.initializer


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    """Exporters list domains of operators that a graph does not contain."""
    used = {"", "ai.onnx"} | {node.domain for node in nodes(model.graph)}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _name_open_batch(value: onnx.ValueInfoProto) -> None:
    """Some exporters leave an open axis without a name."""
    axes = value.type.tensor_type.shape.dim
    if axes and not axes[0].HasField("dim_value") and not axes[0].dim_param:
        axes[0].dim_param = BATCH


def _in_range(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """Convert an older or newer opset; whether that kept the values is for the proof to say."""
    opset = next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), OPSETS[0])
    if opset in OPSETS:
        return model
    target = OPSETS[0] if opset < OPSETS[0] else OPSETS[-1]
    try:
        return version_converter.convert_version(model, target)
    except Exception as exc:  # the converter raises RuntimeError, ValueError and errors of its own
        reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        raise TrainingError(
            f"{label}: want opset {OPSETS[0]}-{OPSETS[-1]}, came {opset}, which cannot be converted: {reason}"
        ) from None
