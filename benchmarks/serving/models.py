"""The models that are served: fixed random weights, sealed as bundles like any other.

``mlp`` costs next to nothing a row, so it shows what a server costs; ``conv`` costs a quarter of a
millisecond a row, alone or in a batch, so it shows whether the cores are kept busy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from benchmarks.serving.sessions import single_threaded
from serving import bundle

Rows = NDArray[np.float32]

IMAGE_SHAPE = (1, 28, 28)
LATENTS = {"mlp": 16, "conv": 32}
_PIXELS = math.prod(IMAGE_SHAPE)
_HIDDEN = 400
_CHANNELS = (128, 96)
"""Of the conv decoder at 7x7 and at 14x14."""
_KERNEL = 4
_OPSET, _IR = 18, 10


@dataclass
class _Graph:
    """An ONNX graph under construction; weights keep the activations near unit variance."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants[name] = value
        return name

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int) -> str:
        drawn = self.rng.normal(size=shape) * math.sqrt(2 / fan_in)
        return self.constant(name, drawn.astype(np.float32))

    def dense(self, x: str, output: str, size_in: int, size_out: int) -> str:
        bias = self.constant(f"{output}_b", np.zeros(size_out, np.float32))
        return self.node("Gemm", [x, self.weight(f"{output}_w", (size_in, size_out), size_in), bias], output)

    def convolve(self, kind: str, x: str, output: str, channels: tuple[int, int]) -> str:
        """Halve (Conv) or double (ConvTranspose) height and width."""
        size_in, size_out = channels
        shape = (size_out, size_in) if kind == "Conv" else (size_in, size_out)
        fan_in = size_in * _KERNEL**2 // (1 if kind == "Conv" else 4)
        weight = self.weight(f"{output}_w", (*shape, _KERNEL, _KERNEL), fan_in)
        bias = self.constant(f"{output}_b", np.zeros(size_out, np.float32))
        inputs = [x, weight, bias]
        return self.node(kind, inputs, output, kernel_shape=[_KERNEL] * 2, strides=[2, 2], pads=[1] * 4)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], f"{x}_relu")

    def reshape(self, x: str, output: str, shape: Sequence[int]) -> str:
        return self.node("Reshape", [x, self.constant(f"{output}_shape", np.array([-1, *shape]))], output)

    def build(self, inputs: dict[str, Sequence[int]], outputs: dict[str, Sequence[int]]) -> bytes:
        def infos(tensors: dict[str, Sequence[int]]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
                for name, shape in tensors.items()
            ]

        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, "benchmark", infos(inputs), infos(outputs), constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def decoder(model: str) -> bytes:
    """``latent`` [b, Z] → ``image`` [b, 1, 28, 28]."""
    latents = LATENTS[model]
    graph = _Graph(np.random.default_rng(1))
    if model == "mlp":
        hidden = graph.relu(graph.dense("latent", "hidden", latents, _HIDDEN))
        logits = graph.reshape(graph.dense(hidden, "flat", _HIDDEN, _PIXELS), "logits", IMAGE_SHAPE)
    else:
        first, second = _CHANNELS
        hidden = graph.relu(graph.dense("latent", "hidden", latents, first * 7 * 7))
        small = graph.reshape(hidden, "small", (first, 7, 7))
        middle = graph.relu(graph.convolve("ConvTranspose", small, "middle", (first, second)))
        logits = graph.convolve("ConvTranspose", middle, "logits", (second, 1))
    graph.node("Sigmoid", [logits], "image")
    return graph.build({"latent": (latents,)}, {"image": IMAGE_SHAPE})


def encoder(model: str) -> bytes:
    """``image`` [b, 1, 28, 28] → ``mean``, ``log_var`` [b, Z]."""
    latents = LATENTS[model]
    graph = _Graph(np.random.default_rng(2))
    if model == "mlp":
        flat = graph.node("Flatten", ["image"], "flat")
        hidden = graph.relu(graph.dense(flat, "hidden", _PIXELS, _HIDDEN))
        size = _HIDDEN
    else:
        second, first = (channels // 4 for channels in _CHANNELS)
        middle = graph.relu(graph.convolve("Conv", "image", "middle", (1, first)))
        small = graph.relu(graph.convolve("Conv", middle, "small", (first, second)))
        hidden = graph.node("Flatten", [small], "flat")
        size = second * 7 * 7
    graph.dense(hidden, "mean", size, latents)
    graph.dense(hidden, "log_var", size, latents)
    return graph.build({"image": IMAGE_SHAPE}, {"mean": (latents,), "log_var": (latents,)})


def make_repository(root: Path) -> Path:
    """Seal ``mlp`` and ``conv`` under ``root``, unless they are there."""
    for model in LATENTS:
        if not (root / model / "1").exists():
            seal_version(root, model, 1)
    return root


def seal_version(root: Path, model: str, version: int) -> None:
    """Versions differ by their number alone."""
    graphs = {"encoder.onnx": encoder(model), "decoder.onnx": decoder(model)}
    files = {
        **graphs,
        "reference.safetensors": _reference(model).to_bytes(),
        "golden.safetensors": _golden(model, graphs),
    }
    body = manifest(model, IMAGE_SHAPE, (LATENTS[model],), _OPSET, _IR)
    bundle.seal(root / model / str(version), body.model_copy(update={"version": version}), files)


def _reference(model: str) -> bundle.Reference:
    """Makes the server watch for drift, as it does for any trained model."""
    latents = LATENTS[model]
    return bundle.Reference(
        mean=np.zeros(latents, np.float32),
        covariance=np.eye(latents, dtype=np.float32),
        posterior_variance=np.ones(latents, np.float32),
        kl=np.ones(latents, np.float32),
    )


def _golden(model: str, graphs: dict[str, bytes]) -> bytes:
    rng = np.random.default_rng(3)
    image = rng.random((4, *IMAGE_SHAPE), np.float32)
    latent = rng.normal(size=(4, LATENTS[model])).astype(np.float32)
    mean, log_var = single_threaded(graphs["encoder.onnx"]).run(["mean", "log_var"], {"image": image})
    (decoded,) = single_threaded(graphs["decoder.onnx"]).run(["image"], {"latent": latent})
    tensors = {"image": image, "mean": mean, "log_var": log_var, "latent": latent, "decoded": decoded}
    return bytes(save(tensors))


def manifest(
    name: str, image_shape: tuple[int, int, int], latent_shape: tuple[int, ...], opset: int, ir_version: int
) -> bundle.ManifestBody:
    """Of a bundle with random weights: an encoder and a decoder, no pools, trained on nothing."""

    def graph(file: str, source: str, *outputs: str) -> bundle.Graph:
        return bundle.Graph(
            file=file,
            inputs={source: source},
            outputs={output: output for output in outputs},
            opset=opset,
            ir_version=ir_version,
            parity={},
        )

    return bundle.ManifestBody(
        name=name,
        version=1,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        kind="vae",
        image=bundle.ImageSpec(
            shape=image_shape, value_range=(0.0, 1.0), colour="grey" if image_shape[0] == 1 else "rgb"
        ),
        latent_shape=latent_shape,
        latent_scale=1.0,
        latent_shift=0.0,
        likelihood=bundle.Likelihood(name="bernoulli", sigma=None, binarisation="dynamic"),
        prior="standard_normal",
        graphs={
            "encoder": graph("encoder.onnx", "image", "mean", "log_var"),
            "decoder": graph("decoder.onnx", "latent", "image"),
        },
        pools=(),
        training=bundle.TrainingSummary(
            dataset="none: random weights",
            dataset_sha256=None,
            objective="none",
            beta=None,
            seed=None,
            steps=None,
            git_commit=None,
            versions={},
            metrics={},
            gates=(),
        ),
    )
