"""From a verified bundle to graphs that are proven, warm and measured. Everything here blocks."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Bundle, Manifest, Pools, Reference
from serving.latent.pool_set import PoolSet
from serving.models.golden import prove_parity
from serving.models.providers import Provider
from serving.models.scoring import BLOCK
from serving.models.session import Session

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class LoadedGraph:
    """A graph as one queue needs it."""

    session: Session
    weight: int = 1
    """Rows of the decoder that one row stands for."""
    measured: list[tuple[int, float]] = field(default_factory=list)
    """Rows and seconds of batches that were run."""


@dataclass(frozen=True)
class Loaded:
    bundle: Bundle
    graphs: dict[str, LoadedGraph]
    """By queue: encoder, decoder and, where the bundle has them, prior, score and score_single."""
    pools: PoolSet | None
    reference: Reference | None


def load(bundle: Bundle, provider: Provider, max_batch_rows: int) -> Loaded:
    """Load every graph, re-prove parity with PyTorch and warm up.

    Raises:
        BundleError: the bundle must not be served.
        StartupError: the provider cannot run it.
    """
    manifest = bundle.manifest
    latents = math.prod(manifest.latent_shape)
    sessions: dict[str, Session] = {
        role: Session(bundle.content(graph.file), graph, provider, role=role)
        for role, graph in manifest.graphs.items()
    }
    prove_parity(bundle, sessions)
    graphs: dict[str, LoadedGraph] = {}
    for queue, (role, weight, zeros) in _queues(manifest).items():
        if role in sessions:
            graphs[queue] = LoadedGraph(sessions[role], weight)
            _warm_up(graphs[queue], zeros, max(1, max_batch_rows // weight))
    return Loaded(bundle, graphs, _pools(bundle, latents), _reference(bundle, latents))


_Zeros = Callable[[int], tuple[Rows, ...]]
"""So many rows of input for a graph."""


def _queues(manifest: Manifest) -> dict[str, tuple[str, int, _Zeros]]:
    """The graph of each queue, the weight of its rows and an input for it."""
    image, latent = manifest.image.shape, manifest.latent_shape

    def zeros(*shapes: tuple[int, ...]) -> _Zeros:
        return lambda rows: tuple(np.zeros((rows, *shape), np.float32) for shape in shapes)

    return {
        "encoder": ("encoder", 1, zeros(image)),
        "decoder": ("decoder", 1, zeros(latent)),
        "prior": ("prior", 1, zeros(latent)),
        "score": ("score", BLOCK, zeros(image, (BLOCK, *latent))),
        "score_single": ("score", 1, zeros(image, (1, *latent))),
    }


def _warm_up(graph: LoadedGraph, zeros: _Zeros, max_rows: int) -> None:
    """Run one row and a full batch, each twice: the first time ONNX Runtime plans its memory."""
    for rows in sorted({1, max_rows}):
        batch = zeros(rows)
        graph.session(*batch)
        started = time.perf_counter()
        graph.session(*batch)
        graph.measured.append((rows, time.perf_counter() - started))


def _pools(bundle: Bundle, latents: int) -> PoolSet | None:
    entries = bundle.manifest.pools
    if not entries:
        return None
    tensors = Pools.from_bytes(bundle.content("pools.safetensors"), pools=len(entries), latents=latents)
    return PoolSet(entries, tensors)


def _reference(bundle: Bundle, latents: int) -> Reference | None:
    if "reference.safetensors" not in bundle.manifest.files:
        return None
    return Reference.from_bytes(bundle.content("reference.safetensors"), latents=latents)
