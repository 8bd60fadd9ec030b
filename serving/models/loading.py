"""From a verified bundle to graphs that are proven, warm and measured. Everything here blocks."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Bundle, BundleError, Manifest, Pools, Reference, Role
from serving.host.memory import resident_bytes
from serving.latent.pool_set import PoolSet
from serving.models.golden import prove_parity
from serving.models.providers import Provider
from serving.models.scoring import BLOCK
from serving.models.session import Session

Rows = NDArray[np.float32]


log = logging.getLogger(__name__)

_MEMORY_BYTES = 1 << 30
"""What the batches of one graph may take; larger ones are never run."""
_LONG_ENOUGH_S = 0.1
"""A batch that takes so long is as large as any needs to be: one row behind it waits for it."""
_FEWEST_ROWS = 8
"""But so many a batch may have however long they take, as the cost model has it."""


@dataclass(frozen=True)
class LoadedGraph:
    """A graph as one queue needs it."""

    session: Session
    weight: int
    """Rows of the decoder that one row stands for."""
    max_rows: int
    """Of a batch."""
    measured: list[tuple[int, float]]
    """Rows and seconds of batches that were run."""


@dataclass(frozen=True)
class Loaded:
    bundle: Bundle
    graphs: dict[str, LoadedGraph]
    """By queue: encoder, decoder and, where the bundle has them, prior, score and score_single."""
    pools: PoolSet | None
    reference: Reference | None


def load(bundle: Bundle, provider: Provider, max_batch_rows: int) -> Loaded:
    """Load every graph, warm up and re-prove parity with PyTorch.

    Raises:
        BundleError: the bundle must not be served.
        StartupError: the provider cannot run it.
    """
    manifest = bundle.manifest
    latents = math.prod(manifest.latent_shape)
    sessions: dict[Role, Session] = {
        role: Session(bundle.content(graph.file), graph, provider, role=role)
        for role, graph in manifest.graphs.items()
    }
    graphs: dict[str, LoadedGraph] = {}
    rows_at_once: dict[Role, int] = {}
    for queue, (role, weight, zeros) in _queues(manifest).items():
        if role in sessions:
            rows, measured = _warm_up(sessions[role], queue, zeros, max(1, max_batch_rows // weight))
            graphs[queue] = LoadedGraph(sessions[role], weight, rows, measured)
            rows_at_once[role] = min(rows, rows_at_once.get(role, rows))
    prove_parity(bundle, sessions, rows_at_once)
    return Loaded(bundle, graphs, _pools(bundle, latents), _reference(bundle, latents))


_Zeros = Callable[[int], tuple[Rows, ...]]
"""So many rows of input for a graph."""


def _queues(manifest: Manifest) -> dict[str, tuple[Role, int, _Zeros]]:
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


def _warm_up(
    session: Session, queue: str, zeros: _Zeros, max_rows: int
) -> tuple[int, list[tuple[int, float]]]:
    """Run batches of 1, 2, 4 … rows: how many a batch may have, and the rows and seconds of each that ran.

    Each size runs twice, because the first time ONNX Runtime plans its memory. It keeps what a batch has
    taken, so the growth so far tells what the next size would take. Where the second run grows too, it is
    the traffic beside it that does, and the size says nothing of memory.

    Raises:
        BundleError: the graph cannot run a batch.
    """
    measured: list[tuple[int, float]] = []
    grown, rows = 0, 1
    while True:
        batch, before = zeros(rows), resident_bytes()
        try:
            session(*batch)
            between = resident_bytes()
            started = time.perf_counter()
            session(*batch)
        except Exception as exc:  # ONNX Runtime's exceptions share no other base
            words = " ".join(str(exc).split())[:200]
            raise BundleError(f"the {queue} cannot run a batch of {rows} rows: {words}") from None
        measured.append((rows, time.perf_counter() - started))
        first, second = between - before, resident_bytes() - between
        grown += first if first > 0 and second < first // 4 else 0
        if rows == max_rows or (measured[-1][1] > _LONG_ENOUGH_S and rows >= _FEWEST_ROWS):
            return rows, measured
        if 2 * grown > _MEMORY_BYTES:
            log.warning("%s: batches of at most %d rows, which take %d MiB", queue, rows, grown >> 20)
            return rows, measured
        rows = min(2 * rows, max_rows)


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
