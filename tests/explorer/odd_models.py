"""Models that no picture fits, or that lack what others have; made by hand, not trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from safetensors.numpy import load, save

from tests.support import bundles, toy

QUANTILES = np.linspace(0, 40, 101, dtype=np.float32)
_POOLS = "pools.safetensors"
_ENCODER, _DECODER, _GOLDEN = "encoder.onnx", "decoder.onnx", "golden.safetensors"


def make(root: Path) -> Path:
    """``colour``: RGB, not square, with a score. ``two``: two channels. ``bare``: neither pools nor a score.
    ``field``: spatial latents [3, 1, 1]."""
    toy.make_bundle(root, "colour", image_shape=(3, 6, 9), with_score=True, quantiles=None)
    toy.make_bundle(root, "two", image_shape=(2, 5, 5), seed=3)
    bundles.rewrite_manifest(root / "two/1", lambda document: document["image"].update(colour="other"))
    toy.make_bundle(root, "bare", image_shape=(1, 4, 6), seed=5)
    _without_pools(root / "bare/1")
    toy.make_bundle(root, "field", image_shape=(1, 8, 8), seed=7)
    _with_spatial_latents(root / "field/1")
    return root


def _without_pools(bundle: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["pools"] = []
        del document["files"][_POOLS]

    (bundle / _POOLS).unlink()
    bundles.rewrite_manifest(bundle, change)


def _with_spatial_latents(bundle: Path) -> None:
    shape = (toy.LATENTS, 1, 1)
    bundles.reseal(bundle, _ENCODER, _changed(bundle / _ENCODER, lambda graph: _outputs_as(graph, shape)))
    bundles.reseal(bundle, _DECODER, _changed(bundle / _DECODER, lambda graph: _input_as(graph, shape)))
    golden = {
        name: rows.reshape(-1, *shape) if name in ("mean", "log_var", "latent") else rows
        for name, rows in load((bundle / _GOLDEN).read_bytes()).items()
    }
    bundles.reseal(bundle, _GOLDEN, save(golden))
    bundles.rewrite_manifest(bundle, lambda document: document.update(latent_shape=list(shape)))


def _changed(path: Path, change: Callable[[onnx.GraphProto], None]) -> bytes:
    model = onnx.load(path)
    change(model.graph)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _outputs_as(graph: onnx.GraphProto, shape: tuple[int, ...]) -> None:
    graph.initializer.append(numpy_helper.from_array(_sizes(shape), "spatial"))
    for output in graph.output:
        flat = f"{output.name}_flat"
        for node in graph.node:
            node.input[:] = [flat if name == output.name else name for name in node.input]
            node.output[:] = [flat if name == output.name else name for name in node.output]
        graph.node.append(helper.make_node("Reshape", [flat, "spatial"], [output.name]))
        _extend(output, shape)


def _input_as(graph: onnx.GraphProto, shape: tuple[int, ...]) -> None:
    (latent,) = graph.input
    for node in graph.node:
        node.input[:] = ["latent_flat" if name == latent.name else name for name in node.input]
    graph.node.insert(0, helper.make_node("Flatten", [latent.name], ["latent_flat"]))
    _extend(latent, shape)


def _sizes(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array([-1, *shape], np.int64)


def _extend(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    for size in shape[1:]:
        value.type.tensor_type.shape.dim.add().dim_value = size
