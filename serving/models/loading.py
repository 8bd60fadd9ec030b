"""From a verified bundle to graphs that are proven, warm and measured. Everything here blocks."""

import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.bundle import (
    ROLES_OF,
    Bundle,
    BundleError,
    Pools,
    Projection,
    Reference,
    Role,
    check_graph_file,
    read,
    read_projection,
)
from serving.latent.pool_set import PoolSet
from serving.modalities import Modality, modality_of
from serving.models.first_run import Queue, queues_of, run, try_out, try_pools
from serving.models.golden import prove_parity
from serving.models.memory_budget import MemoryBudget
from serving.runtime.bound_runs import Turn, at_once
from serving.runtime.providers import Provider
from serving.runtime.session import Session

Measured = list[tuple[int, float]]
"""Rows and seconds of batches."""

log = logging.getLogger(__name__)

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
    measured: Measured


@dataclass(frozen=True)
class Loaded:
    bundle: Bundle
    modality: Modality
    graphs: dict[str, LoadedGraph]
    """By queue: encoder, decoder, on a GPU pixels, and prior, score, score_single if the bundle has them."""
    pools: PoolSet | None
    reference: Reference | None
    projection: Projection | None
    memory_bytes: int
    """That loading it and running one batch at a time took; at least the size of the graphs' files."""


def read_version(path: Path, most_bytes: int) -> Bundle:
    """The bundle in a version's folder. Raises BundleError, also if it is another model's or version's."""
    found = read(path, most_bytes)
    name, version = path.parent.name, path.name
    if (found.manifest.name, found.manifest.version) != (name, int(version)):
        came = f"{found.manifest.name} version {found.manifest.version}"
        raise BundleError(f"{path}: want the manifest of {name} version {version}, came {came}")
    return found


def load(bundle: Bundle, provider: Provider, max_batch_rows: int, turn: Turn = at_once) -> Loaded:
    """Load every graph, warm up and re-prove parity with PyTorch. On a GPU each run takes its ``turn``.

    Raises:
        BundleError: the bundle must not be served.
        StartupError: the provider cannot run it.
    """
    budget = MemoryBudget(provider)
    sessions: dict[Role, Session] = {}
    try:
        return _loaded(bundle, provider, max_batch_rows, turn, budget, sessions)
    except BaseException as exc:
        with suppress(Exception):  # the executors may be gone
            for session in sessions.values():
                session.close()
        if isinstance(exc, MemoryError):
            raise budget.too_small("model") from None
        raise


def _loaded(
    bundle: Bundle,
    provider: Provider,
    max_batch_rows: int,
    turn: Turn,
    budget: MemoryBudget,
    sessions: dict[Role, Session],
) -> Loaded:
    """``sessions`` are filled as they are made. Raises MemoryError besides."""
    manifest = bundle.manifest
    latents = math.prod(manifest.latent_shape)
    modality = modality_of(bundle)
    for role in manifest.graphs:
        sessions[role] = _session(bundle, role, modality, provider, max_batch_rows, turn)
    graphs: dict[str, LoadedGraph] = {}
    rows_at_once: dict[Role, int] = {}
    queues = queues_of(manifest, modality)
    for name, queue in queues.items():
        role = queue.role
        session = sessions.get(role)
        if session and name == "pixels":
            session = session.pixels
        if session:
            rows, measured = _warm_up(session, queue, max(1, max_batch_rows // queue.weight), budget)
            graphs[name] = LoadedGraph(session, queue.weight, rows, measured)
            rows_at_once[role] = min(rows, rows_at_once.get(role, rows))
            try_out(session, queue, rows, is_fast=measured[-1][1] < _LONG_ENOUGH_S)
    prove_parity(bundle, sessions, rows_at_once)
    pools = _pools(bundle, latents)
    if pools:
        try_pools(pools, manifest, sessions["decoder"], queues["decoder"], rows_at_once["decoder"])
    projection = read_projection(bundle, latents=latents)
    weights = sum(manifest.files[graph.file].size for graph in manifest.graphs.values())
    taken = max(budget.taken_bytes(), weights)
    return Loaded(bundle, modality, graphs, pools, _reference(bundle, latents), projection, taken)


def _session(
    bundle: Bundle, role: Role, modality: Modality, provider: Provider, max_batch_rows: int, turn: Turn
) -> Session:
    graph = bundle.manifest.graphs[role]
    content = bundle.content(graph.file)
    check_graph_file(graph.file, content)
    pixels_of = modality.byte_form.value_range if modality.byte_form and role == "decoder" else None
    return Session(
        content,
        graph,
        provider,
        role=role,
        roles=ROLES_OF[bundle.manifest.modality],
        most_rows=max_batch_rows,
        turn=turn,
        pixels_of=pixels_of,
    )


def _warm_up(session: Session, queue: Queue, max_rows: int, budget: MemoryBudget) -> tuple[int, Measured]:
    """Run batches of 1, 2, 4 … rows: how many a batch may have, and the rows and seconds of each that ran.

    Each size runs twice, because the first time ONNX Runtime plans its memory. It keeps what a batch has
    taken, so the growth so far tells what the next size would take. Where the second run grows too, it is
    the traffic beside it that does, and the size says nothing of memory.

    Raises:
        BundleError: the graph cannot run a batch.
    """
    measured: Measured = []
    grown, rows = 0, 1
    while True:
        batch, before = queue.zeros(rows), budget.used_bytes()
        try:
            run(session, queue, batch)
        except MemoryError:
            if not measured:
                raise budget.too_small(queue.name) from None
            return _short_of_memory(queue.name, grown, measured)
        between = budget.used_bytes()
        if not measured and budget.is_exceeded():
            raise budget.too_small(queue.name)
        started = time.perf_counter()
        session(*batch)
        measured.append((rows, time.perf_counter() - started))
        first, second = between - before, budget.used_bytes() - between
        grown += first if first > 0 and second < first // 4 else 0
        if rows == max_rows or (measured[-1][1] > _LONG_ENOUGH_S and rows >= _FEWEST_ROWS):
            return rows, measured
        if not budget.may_double(grown):
            return _short_of_memory(queue.name, grown, measured)
        rows = min(2 * rows, max_rows)


def _short_of_memory(name: str, grown: int, measured: Measured) -> tuple[int, Measured]:
    rows = measured[-1][0]
    log.warning("%s: batches of at most %d rows, which take %d MiB", name, rows, grown >> 20)
    return rows, measured


def _pools(bundle: Bundle, latents: int) -> PoolSet | None:
    entries = bundle.manifest.pools
    if not entries:
        return None
    tensors = Pools.from_bytes(bundle.content("pools.safetensors"), pools=len(entries), latents=latents)
    try:
        return PoolSet(entries, tensors)
    except np.linalg.LinAlgError as exc:
        raise BundleError(f"pools.safetensors: cholesky: {exc}") from None


def _reference(bundle: Bundle, latents: int) -> Reference | None:
    if "reference.safetensors" not in bundle.manifest.files:
        return None
    return Reference.from_bytes(bundle.content("reference.safetensors"), latents=latents)
