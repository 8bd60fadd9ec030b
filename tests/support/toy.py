"""A bundle small enough to check by hand, made of ONNX nodes without torch.

Encoder: mean = x·A, log_var = 0·(x·A) - 1. Decoder: image = sigmoid(z·B). If asked for, the flow prior
z = 2·noise + 1, and the score of the Bernoulli likelihood with the prior N(0, I).
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from serving import bundle

Rows = NDArray[np.float32]

IMAGE_SHAPE = (1, 4, 6)
LATENTS = 3
POOLS = ("zero", "one")
PIXELS = 24


def weights(seed: int = 0, image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> tuple[Rows, Rows]:
    """A [pixels, latents] and B [latents, pixels]."""
    rng = np.random.default_rng(seed)
    pixels = int(np.prod(image_shape))
    a = rng.normal(size=(pixels, LATENTS)).astype(np.float32) / pixels
    return a, rng.normal(size=(LATENTS, pixels)).astype(np.float32)


def encode(images: Rows, seed: int = 0) -> tuple[Rows, Rows]:
    a, _ = weights(seed, images.shape[1:])
    mean = images.reshape(len(images), -1) @ a
    return mean, np.full_like(mean, -1.0)


def decode(latents: Rows, seed: int = 0, image_shape: tuple[int, int, int] = IMAGE_SHAPE) -> Rows:
    _, b = weights(seed, image_shape)
    return (1 / (1 + np.exp(-(latents @ b)))).reshape(-1, *image_shape).astype(np.float32)


def flow(noise: Rows) -> Rows:
    return 2 * noise + 1


def score(images: Rows, noise: Rows, seed: int = 0) -> tuple[Rows, Rows, Rows]:
    """Distortion, rate [b] and log_weight [b, k] of noise [b, k, latents], in float64."""
    a, b = (matrix.astype(np.float64) for matrix in weights(seed, images.shape[1:]))
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat @ a
    latent = mean[:, None] + np.exp(-0.5) * noise
    logits = latent @ b
    log_prob = (flat[:, None] * logits - np.logaddexp(0, logits)).sum(axis=2)
    rate = 0.5 * (mean**2 + np.exp(-1)).sum(axis=1)
    log_ratio = 0.5 * (noise**2 - latent**2 - 1).sum(axis=2)
    return -log_prob.mean(axis=1), rate, log_prob + log_ratio


def make_bundle(
    repository: Path,
    name: str = "toy",
    version: int = 1,
    *,
    seed: int = 0,
    image_shape: tuple[int, int, int] = IMAGE_SHAPE,
    golden_error: float = 0.0,
    with_score: bool = False,
    with_flow: bool = False,
    quantiles: Rows | None = None,
    projection: bundle.Projection | None = None,
) -> bundle.Bundle:
    """Seal a bundle; ``golden_error`` spoils the golden outputs by that much."""
    optional = {"score": _score, "prior": _prior}
    roles = [role for role, wanted in (("score", with_score), ("prior", with_flow)) if wanted]
    files = {
        "encoder.onnx": _encoder(seed, image_shape),
        "decoder.onnx": _decoder(seed, image_shape),
        "pools.safetensors": _pools().to_bytes(),
        "reference.safetensors": _reference(quantiles).to_bytes(),
        "golden.safetensors": _golden(seed, image_shape, golden_error),
        **{f"{role}.onnx": optional[role](seed, image_shape) for role in roles},
        **({} if projection is None else {bundle.PROJECTION: projection.to_bytes()}),
    }
    return bundle.seal(repository / name / str(version), _body(name, version, image_shape, roles), files)


def projection(count: int = 12, *, plain: bool = False) -> bundle.Projection:
    """A map of so many points; a plain one has neither labels nor pools nor scores."""
    rng = np.random.default_rng(count)
    latents = rng.normal(size=(count, LATENTS)).astype(np.float32)
    points = latents[:, :2].copy()
    if plain:
        return bundle.Projection(points, latents)
    return bundle.Projection(
        points,
        latents,
        labels=("zéro", "one"),
        label_of=np.arange(count, dtype=np.int32) % 3 - 1,
        pool_of=(latents[:, 0] < 0).astype(np.int32),
        quantile=np.linspace(0, 1, count, dtype=np.float32),
    )


def _graph(file: str, inputs: tuple[str, ...], *outputs: str) -> bundle.Graph:
    return bundle.Graph(
        file=file,
        inputs={name: name for name in inputs},
        outputs={name: name for name in outputs},
        opset=18,
        ir_version=10,
        parity={},
    )


GRAPHS = {
    "encoder": _graph("encoder.onnx", ("image",), "mean", "log_var"),
    "decoder": _graph("decoder.onnx", ("latent",), "image"),
    "prior": _graph("prior.onnx", ("noise",), "latent"),
    "score": _graph("score.onnx", ("image", "noise"), "distortion", "rate", "log_weight"),
}


def _body(
    name: str, version: int, image_shape: tuple[int, int, int], roles: list[str]
) -> bundle.ManifestBody:

    return bundle.ManifestBody(
        name=name,
        version=version,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        kind="vae",
        image=bundle.ImageSpec(
            shape=image_shape, value_range=(0.0, 1.0), colour="grey" if image_shape[0] == 1 else "rgb"
        ),
        latent_shape=(LATENTS,),
        latent_scale=1.0,
        latent_shift=0.0,
        likelihood=bundle.Likelihood(name="bernoulli", sigma=None, binarisation="dynamic"),
        prior="flow" if "prior" in roles else "standard_normal",
        graphs={role: GRAPHS[role] for role in ("encoder", "decoder", *roles)},
        pools=(
            *(bundle.PoolEntry(name=pool, rows=10, aggregate=False) for pool in POOLS),
            bundle.PoolEntry(name="aggregate", rows=20, aggregate=True),
        ),
        training=bundle.TrainingSummary(
            dataset="toy",
            dataset_sha256=None,
            objective="none",
            beta=None,
            seed=None,
            steps=None,
            git_commit=None,
            versions={},
            metrics={"nelbo": bundle.Metric(value=1.5, standard_error=0.1)},
            gates=(),
        ),
    )


def _pools() -> bundle.Pools:
    mean = np.array([[3.0, 0, 0], [-3.0, 0, 0], [0, 0, 0]], np.float32)
    factor = np.array([[0.5, 0, 0], [0.1, 0.4, 0], [0, 0.2, 0.3]], np.float32)
    return bundle.Pools(np.array([0.5, 0.5, 1.0], np.float32), mean, np.stack([factor] * 3))


def _reference(quantiles: Rows | None) -> bundle.Reference:
    return bundle.Reference(
        mean=np.zeros(LATENTS, np.float32),
        covariance=np.eye(LATENTS, dtype=np.float32),
        posterior_variance=np.full(LATENTS, np.exp(-1.0), np.float32),
        kl=np.ones(LATENTS, np.float32),
        score_quantiles=quantiles,
    )


def _golden(seed: int, image_shape: tuple[int, int, int], error: float) -> bytes:
    rng = np.random.default_rng(seed + 1)
    image = rng.random((3, *image_shape), np.float32)
    latent = rng.normal(size=(3, LATENTS)).astype(np.float32)
    mean, log_var = encode(image, seed)
    decoded = decode(latent, seed, image_shape) + np.float32(error)
    noise = rng.normal(size=(3, 2, LATENTS)).astype(np.float32)
    scores = dict(zip(("distortion", "rate", "log_weight"), score(image, noise, seed), strict=True))
    golden = {"image": image, "mean": mean, "log_var": log_var, "latent": latent, "decoded": decoded}
    golden |= {"prior_noise": latent, "prior_latent": flow(latent) + np.float32(error), "score_noise": noise}
    golden |= {name: (values * (1 + error)).astype(np.float32) for name, values in scores.items()}
    return bytes(save(golden))


def _encoder(seed: int, image_shape: tuple[int, int, int]) -> bytes:
    a, _ = weights(seed, image_shape)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "a"], ["mean"]),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Sub", ["nothing", "one"], ["log_var"]),
    ]
    constants = {"a": a, "zero": np.zeros(1, np.float32), "one": np.ones(1, np.float32)}
    outputs = {"mean": ["batch", LATENTS], "log_var": ["batch", LATENTS]}
    return _model(nodes, {"image": ["batch", *image_shape]}, outputs, constants)


def _decoder(seed: int, image_shape: tuple[int, int, int]) -> bytes:
    _, b = weights(seed, image_shape)
    nodes = [
        helper.make_node("MatMul", ["latent", "b"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["pixels"]),
        helper.make_node("Reshape", ["pixels", "shape"], ["image"]),
    ]
    constants = {"b": b, "shape": np.array([-1, *image_shape], np.int64)}
    return _model(nodes, {"latent": ["batch", LATENTS]}, {"image": ["batch", *image_shape]}, constants)


def _prior(seed: int, image_shape: tuple[int, int, int]) -> bytes:
    nodes = [
        helper.make_node("Mul", ["noise", "two"], ["twice"]),
        helper.make_node("Add", ["twice", "one"], ["latent"]),
    ]
    constants = {"two": np.full(1, 2, np.float32), "one": np.ones(1, np.float32)}
    return _model(nodes, {"noise": ["batch", LATENTS]}, {"latent": ["batch", LATENTS]}, constants)


def _score(seed: int, image_shape: tuple[int, int, int]) -> bytes:
    a, b = weights(seed, image_shape)
    node = helper.make_node
    nodes = [
        node("Flatten", ["image"], ["pixels"]),
        node("MatMul", ["pixels", "a"], ["mean"]),
        node("Unsqueeze", ["mean", "draws"], ["centre"]),
        node("Unsqueeze", ["pixels", "draws"], ["seen"]),
        node("Mul", ["noise", "deviation"], ["shift"]),
        node("Add", ["centre", "shift"], ["latent"]),
        node("MatMul", ["latent", "b"], ["logits"]),
        node("Mul", ["seen", "logits"], ["agreement"]),
        node("Softplus", ["logits"], ["normaliser"]),
        node("Sub", ["agreement", "normaliser"], ["log_probs"]),
        node("ReduceSum", ["log_probs", "last"], ["log_prob"], keepdims=0),
        node("ReduceMean", ["log_prob", "draws"], ["mean_log_prob"], keepdims=0),
        node("Neg", ["mean_log_prob"], ["distortion"]),
        node("Mul", ["mean", "mean"], ["mean_square"]),
        node("Add", ["mean_square", "variance"], ["second_moment"]),
        node("ReduceSum", ["second_moment", "draws"], ["twice_rate"], keepdims=0),
        node("Mul", ["twice_rate", "half"], ["rate"]),
        node("Mul", ["noise", "noise"], ["noise_square"]),
        node("Mul", ["latent", "latent"], ["latent_square"]),
        node("Sub", ["noise_square", "latent_square"], ["squares"]),
        node("Sub", ["squares", "one"], ["log_ratios"]),
        node("ReduceSum", ["log_ratios", "last"], ["twice_log_ratio"], keepdims=0),
        node("Mul", ["twice_log_ratio", "half"], ["log_ratio"]),
        node("Add", ["log_prob", "log_ratio"], ["log_weight"]),
    ]
    numbers = {"deviation": np.exp(-0.5), "variance": np.exp(-1.0), "half": 0.5, "one": 1.0}
    constants = {name: np.full(1, value, np.float32) for name, value in numbers.items()}
    constants |= {"a": a, "b": b, "draws": np.array([1]), "last": np.array([2])}
    inputs = {"image": ["batch", *image_shape], "noise": ["batch", "samples", LATENTS]}
    outputs = {"distortion": ["batch"], "rate": ["batch"], "log_weight": ["batch", "samples"]}
    return _model(nodes, inputs, outputs, constants)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[object]],
    outputs: dict[str, list[object]],
    constants: dict[str, NDArray[np.generic]],
) -> bytes:
    def infos(tensors: dict[str, list[object]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in tensors.items()]

    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "toy", infos(inputs), infos(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
