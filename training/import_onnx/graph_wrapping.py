"""Foreign graphs in the form of the contract: names, shapes, mean apart from log-variance, range of pixels.

The foreign graph stays as it is, under a prefix; a few nodes around it do the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper, numpy_helper

from training.export.graphs import check_graph
from training.models.posterior_head import LOG_VAR_RANGE

PREFIX = "foreign/"
BATCH = "batch"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class EncoderOutputs:
    """Where mean and log-variance of the posterior are in a foreign encoder."""

    mean: str
    """Tensor name."""
    log_var: str | None
    """Tensor name; the same as ``mean`` where both are one tensor, mean first; None where there is none."""

    @property
    def names(self) -> list[str]:
        """Each tensor once."""
        return list(dict.fromkeys(name for name in (self.mean, self.log_var) if name is not None))

    @property
    def concatenated(self) -> bool:
        return self.mean == self.log_var


def wrapped_encoder(
    foreign: onnx.ModelProto,
    outputs: EncoderOutputs,
    *,
    image: Shape,
    latent: Shape,
    log_var_range: tuple[float, float] | None,
) -> bytes:
    """``image`` [batch, C, H, W] → ``mean``, ``log_var`` [batch, *latent]."""
    wrapping = _Wrapping(foreign, "image", image)
    mean, log_var = wrapping.inside(outputs.mean), wrapping.inside(outputs.log_var or "")
    if outputs.concatenated:
        wrapping.constant("halves", np.array([latent[0]] * 2, np.int64))
        wrapping.node("Split", [mean, "halves"], ["mean", "unclamped"], axis=1)
        log_var = "unclamped"
    else:
        wrapping.node("Identity", [mean], ["mean"])
    if outputs.log_var is None:  # as near to a point as the project's own autoencoders get
        wrapping.node("Shape", ["mean"], ["shape"])
        value = numpy_helper.from_array(np.array(LOG_VAR_RANGE[:1], np.float32))
        wrapping.node("ConstantOfShape", ["shape"], ["log_var"], value=value)
    elif log_var_range:
        wrapping.clip(log_var, log_var_range, "log_var")
    else:
        wrapping.node("Identity", [log_var], ["log_var"])
    return wrapping.finish({"mean": latent, "log_var": latent}, label="encoder")


def wrapped_decoder(
    foreign: onnx.ModelProto, *, image: Shape, latent: Shape, value_range: tuple[float, float], logits: bool
) -> bytes:
    """``latent`` [batch, *latent] → ``image`` [batch, C, H, W], clamped to the value range.

    Of ``logits`` it is the sigmoid.
    """
    wrapping = _Wrapping(foreign, "latent", latent)
    (output,) = foreign.graph.output
    decoded = wrapping.inside(output.name)
    if logits:
        wrapping.node("Sigmoid", [decoded], ["image"])
    else:
        wrapping.clip(decoded, value_range, "image")
    return wrapping.finish({"image": image}, label="decoder")


class _Wrapping:
    """A graph under construction around a foreign one."""

    def __init__(self, foreign: onnx.ModelProto, name: str, shape: Shape) -> None:
        self._model = compose.add_prefix(foreign, PREFIX)
        self._input = _tensor(name, shape)
        (entry,) = self._model.graph.input
        self._before = helper.make_node("Identity", [name], [entry.name])
        self._after: list[onnx.NodeProto] = []

    def inside(self, name: str) -> str:
        """The present name of a tensor of the foreign graph."""
        return PREFIX + name

    def node(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        self._after.append(helper.make_node(op, inputs, outputs, **attributes))

    def constant(self, name: str, value: NDArray[np.generic]) -> None:
        self._model.graph.initializer.append(numpy_helper.from_array(value, name))

    def clip(self, name: str, limits: tuple[float, float], output: str) -> None:
        for limit, value in zip(("least", "most"), limits, strict=True):
            self.constant(limit, np.array(value, np.float32))
        self.node("Clip", [name, "least", "most"], [output])

    def finish(self, outputs: dict[str, Shape], *, label: str) -> bytes:
        graph = self._model.graph
        whole = helper.make_graph(
            [self._before, *graph.node, *self._after],
            label,
            [self._input],
            [_tensor(name, shape) for name, shape in outputs.items()],
            graph.initializer,
            sparse_initializer=graph.sparse_initializer,
        )
        self._model.graph.CopyFrom(whole)
        check_graph(self._model, label=label)
        return bytes(self._model.SerializeToString(deterministic=True))


def _tensor(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [BATCH, *shape])
