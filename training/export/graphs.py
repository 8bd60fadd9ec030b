"""PyTorch modules to ONNX graphs that keep the bundle's contract.

Every graph is one float32 file with a dynamic batch on the first axis of every input and output, standard
operators only, and nothing random in it: noise is always an input, so that a seed means the same everywhere.
(``training.export.quantisation`` may lower what is computed inside.)
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import onnx
import torch
from torch import Tensor, nn

from serving.bundle import STANDARD_DOMAINS, is_random
from training.training_error import TrainingError

OPSET = 18
"""What the exporter's own operators are written in; later opsets come by conversion."""
IR_VERSION = 10
"""The newest file version that ONNX Runtime 1.20 reads."""
OPSETS = range(17, 21)


def to_onnx(
    module: nn.Module,
    examples: dict[str, Tensor],
    outputs: Sequence[str],
    *,
    label: str,
    axes: Mapping[str, tuple[str, ...]] | None = None,
) -> bytes:
    """Export ``module`` with one named input per example and the named outputs.

    Args:
        module: called with the examples in order; exported in evaluation mode.
        examples: input name to a float32 tensor [b, …] with b ≥ 2, for the exporter bakes a batch of 1 in.
        outputs: names of the tensors that ``module`` returns.
        label: what to call the graph in an error.
        axes: input name to the names of its leading axes that are dynamic; ("batch",) where it is left out.

    Raises:
        TrainingError: the module cannot be exported, or its graph breaks the contract.
    """
    dynamic = [(axes or {}).get(name, ("batch",)) for name in examples]
    sizes = {axis: torch.export.Dim(axis, min=1, max=1 << 20) for names in dynamic for axis in names}
    try:
        with _quiet_exporter(), evaluating(module), torch.no_grad():
            program = torch.onnx.export(
                module,
                tuple(examples.values()),
                dynamo=True,
                dynamic_shapes=tuple({i: sizes[axis] for i, axis in enumerate(names)} for names in dynamic),
                input_names=list(examples),
                output_names=list(outputs),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except Exception as exc:  # the exporter raises whatever the module's code makes it raise
        raise TrainingError(f"{label}: cannot be exported to ONNX: {_root_cause(exc)}") from exc
    if program is None:
        raise TrainingError(f"{label}: cannot be exported to ONNX")
    model = program.model_proto
    model.ir_version = IR_VERSION
    _strip_provenance(model.graph)
    check_graph(model, label=label)
    return bytes(model.SerializeToString(deterministic=True))


def check_graph(model: onnx.ModelProto, *, label: str) -> int:
    """The opset of a graph that keeps the contract.

    Raises:
        TrainingError: naming the graph, what was wanted and what came.
    """
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if foreign := sorted(set(opsets) - STANDARD_DOMAINS) or [f.name for f in model.functions]:
        raise TrainingError(f"{label}: want standard ONNX operators only, came {', '.join(foreign)}")
    opset = opsets.get("", opsets.get("ai.onnx"))
    if opset is None or opset not in OPSETS:
        raise TrainingError(f"{label}: want opset {OPSETS[0]}-{OPSETS[-1]}, came {opset}")
    used = {node.op_type for node in nodes(model.graph)}
    if random := sorted(op for op in used if is_random(op)):
        raise TrainingError(f"{label}: want no random operator in a graph, came {', '.join(random)}")
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise TrainingError(f"{label}: want the weights inside the file, came external data")
    for value in (*model.graph.input, *model.graph.output):
        _check_tensor(value, label=label)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        raise TrainingError(f"{label}: not a valid ONNX model: {_first_line(exc)}") from exc
    return opset


def _check_tensor(value: onnx.ValueInfoProto, *, label: str) -> None:
    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        came = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise TrainingError(f"{label}: {value.name}: want float32, came {came}")
    if not tensor.shape.dim or not tensor.shape.dim[0].dim_param:
        came = str(tensor.shape.dim[0].dim_value) if tensor.shape.dim else "a scalar"
        raise TrainingError(f"{label}: {value.name}: want a dynamic batch on axis 0, came {came}")


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those inside If, Loop and Scan included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                yield from nodes(subgraph)


def _strip_provenance(graph: onnx.GraphProto) -> None:
    """Drop the exporter's stack traces: they hold paths of this machine and make equal models differ."""
    for part in (graph, *graph.input, *graph.output, *graph.value_info, *graph.initializer, *nodes(graph)):
        part.ClearField("metadata_props")
    for node in nodes(graph):
        node.ClearField("doc_string")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """``module`` in evaluation mode, and afterwards as it was."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide what the exporter says about itself: missing torchvision, its own deprecated calls."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            # Two inputs share the batch: what is meant is the very thing it warns of.
            warnings.filterwarnings(
                "ignore", message=".*axis name: .* will not be used", category=UserWarning
            )
            yield
    finally:
        registration.setLevel(level)


def _root_cause(exc: BaseException) -> str:
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return f"{type(exc).__name__}: {_first_line(exc)}"


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or ["no message"])[0]
