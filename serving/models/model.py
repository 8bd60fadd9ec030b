"""A model in service: its verified bundle, its graphs and the queues in front of them."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.batching.batch import Outputs
from serving.batching.batcher import Batcher
from serving.batching.executors import Executors
from serving.batching.graph_trace import GraphTrace
from serving.batching.queue import Expected
from serving.bundle import UnreadableBundle
from serving.host.abandonable import abandonable
from serving.latent.drift import DriftMonitor
from serving.metrics.registry import GraphMetrics, Metrics
from serving.metrics.version_metrics import VersionMetrics
from serving.models.loading import Loaded, load, read_version
from serving.models.scoring import Scorer
from serving.models.trial import Bounds, try_out, within
from serving.runtime.providers import Provider
from serving.tracing.call_trace import Graph

Rows = NDArray[np.float32]
Decoded = NDArray[np.float32] | NDArray[np.uint8]

log = logging.getLogger(__name__)

_HEADER_BYTES = 4096
"""What a message carries beside its rows: names of at most 128 letters, numbers, shapes."""


@dataclass(frozen=True)
class Limits:
    """What one model may use."""

    max_batch_rows: int
    max_queue_rows: int
    max_rows: int
    max_message_bytes: int
    loading: Bounds


class Model:
    """Encodes and decodes rows; batches them with those of other requests.

    ``continues`` says that the request was admitted by an earlier step of it: see ``Batcher.submit``.
    """

    def __init__(
        self,
        loaded: Loaded,
        provider: Provider,
        limits: Limits,
        executors: Executors,
        metrics: Metrics,
        *,
        traced: bool = False,
    ) -> None:
        self.bundle = loaded.bundle
        self.manifest = loaded.bundle.manifest
        self.digest = loaded.bundle.digest
        self.name, self.version = self.manifest.name, self.manifest.version
        self.provider = provider
        self.memory_bytes = loaded.memory_bytes
        """That it took as it was loaded."""
        self.answers = VersionMetrics(metrics, self.name, self.version)
        self.latents = math.prod(self.manifest.latent_shape)
        """Z, the number of latents of a row."""
        self.pools = loaded.pools
        self.projection = loaded.projection
        """The map of its latent space; None for a bundle without one."""
        self.modality = loaded.modality
        most_bytes = self.modality.most_bytes or limits.max_message_bytes
        room = min(most_bytes, limits.max_message_bytes) - _HEADER_BYTES
        self.row_bytes = max(self.modality.row_bytes, 2 * 4 * self.latents)
        """The largest row that a message of this model carries."""
        self.max_rows = min(limits.max_rows, max(1, room // self.row_bytes))
        self._scale, self._shift = self.manifest.latent_scale, self.manifest.latent_shift
        learned = "prior" in loaded.graphs
        reference = loaded.reference
        self.drift = DriftMonitor(reference, learned_prior=learned) if reference else None
        """None for a bundle that does not say what its training set looks like."""
        self._limits, self._executors, self._metrics, self._traced = limits, executors, metrics, traced
        self._queues = {name: self._queue(name, loaded) for name in loaded.graphs}
        self._sessions = {graph.session for graph in loaded.graphs.values()}
        self._encoder, self._decoder = self._queues["encoder"], self._queues["decoder"]
        self._prior, self._pixels = self._queues.get("prior"), self._queues.get("pixels")
        self.scorer = self._scorer(loaded) if "score" in self._queues else None
        """None for a bundle without a score graph."""
        self.is_ending = False
        """Whether calls that have no end of their own, streams, must come to one."""
        self._leases = 0
        self._unused = asyncio.Event()
        """Only ``aclose`` clears it, so that a request does not pay for it."""

    def __enter__(self) -> "Model":
        """Lease the model to one request: it is not closed before the request is done with it."""
        self._leases += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._leases -= 1
        if not self._leases:
            self._unused.set()

    def show(self) -> None:
        """In the metrics, while it is in service."""
        self.answers.show(
            memory_bytes=self.memory_bytes,
            digest=self.digest,
            provider=self.provider.name,
            provider_reason=self.provider.reason,
        )

    def expect(self, graph: str, rows: int, timeout_s: float | None, *, as_pixels: bool = False) -> Expected:
        """See ``Batcher.expect``; for the decoder, and ``as_pixels``, see ``decode``."""
        queue = self._pixels if graph == "decoder" and as_pixels else None
        return (queue or self._queues[graph]).expect(rows, timeout_s)

    async def encode(
        self, rows: Rows, timeout_s: float | None, *, continues: bool = False
    ) -> tuple[Rows, Rows]:
        """[rows, *modality.takes.shape] → mean and log-variance of the posterior, [rows, *latent_shape]."""
        mean, log_var = await self._encoder.submit(rows, timeout_s=timeout_s, continues=continues)
        if (self._scale, self._shift) != (1.0, 0.0):
            log_var = log_var + np.float32(2.0 * math.log(abs(self._scale)))
        return self._shown(mean), log_var

    @property
    def has_learned_prior(self) -> bool:
        return self._prior is not None

    async def prior_latents(self, noise: Rows, timeout_s: float | None, *, continues: bool = False) -> Rows:
        """From N(0, I) to latents of the prior, both [rows, *latent_shape]; the same unless it is learned."""
        if self._prior is None:
            return noise
        (latents,) = await self._prior.submit(noise, timeout_s=timeout_s, continues=continues)
        return self._shown(latents)

    def _shown(self, latents: Rows) -> Rows:
        """As callers see them: (z - shift)·scale, the convention of latent diffusion."""
        if (self._scale, self._shift) == (1.0, 0.0):
            return latents
        return (latents - np.float32(self._shift)) * np.float32(self._scale)

    async def decode(
        self,
        latents: Rows,
        timeout_s: float | None,
        *,
        as_pixels: bool = False,
        continues: bool = False,
    ) -> Decoded:
        """[rows, *latent_shape] → what p(x|z) is told by, [rows, *modality.gives.shape]: an image's mean.

        ``as_pixels`` says that the caller wants bytes, as ``wire.images.to_uint8`` makes them. Where they are
        to be had from the graph, on a GPU, these come instead.
        """
        if (self._scale, self._shift) != (1.0, 0.0):
            latents = latents / np.float32(self._scale) + np.float32(self._shift)
        if as_pixels and self._pixels:
            pixels, _ = await self._pixels.submit(latents, timeout_s=timeout_s, continues=continues)
            return pixels
        (decoded,) = await self._decoder.submit(latents, timeout_s=timeout_s, continues=continues)
        return decoded

    async def aclose(self) -> None:
        """Wait for the requests that lease the model, then let go of the graphs."""
        if self._leases:
            self._unused.clear()
            await self._unused.wait()
        await asyncio.gather(*(queue.aclose() for queue in self._queues.values()))
        for session in self._sessions if self.provider.binds else ():
            await abandonable(session.close)

    def _queue(self, name: str, loaded: Loaded) -> Batcher:
        graph = loaded.graphs[name]
        batch_rows = graph.max_rows
        queue_rows = max(self._limits.max_queue_rows // graph.weight, batch_rows)
        self._metrics.queue_limit_rows.labels(self.name, name).set(queue_rows)
        seconds = self._metrics.gpu_seconds
        if self.provider.binds:
            graph.session.count_seconds(
                copying=seconds.labels(self.name, name, "copying"),
                computing=seconds.labels(self.name, name, "computing"),
            )
        return Batcher(
            graph.session.run,
            graph.session.inputs,
            max_batch_rows=batch_rows,
            max_queue_rows=queue_rows,
            executors=self._executors,
            most_executors=self._executors.count,
            metrics=GraphMetrics(self._metrics, self.name, name),
            measured=graph.measured,
            padding=graph.session.padding,
            on_loop=not self.provider.on_gpu,  # it would wait there for the batches of all models
            watch=self._watch if name == "encoder" and self.drift else None,
            trace=GraphTrace(Graph(self.name, self.version, name, self.provider.name))
            if self._traced
            else None,
        )

    def _watch(self, posteriors: Outputs) -> None:
        assert self.drift
        self.drift.update(*posteriors)

    def _scorer(self, loaded: Loaded) -> Scorer:
        quantiles = loaded.reference.score_quantiles if loaded.reference else None
        shape = self.manifest.latent_shape
        return Scorer(self.modality, shape, self._queues["score"], self._queues["score_single"], quantiles)


async def load_model(
    path: Path,
    provider: Provider,
    limits: Limits,
    executors: Executors,
    metrics: Metrics,
    admit: Callable[[int], None],
    *,
    nothing_to_lose: bool,
    traced: bool = False,
) -> Model:
    """The model of a version's folder. Only when every graph is proven and warm does it exist.

    ``admit`` is told the bytes that it takes, and raises NoRoom: before it is here, if that can be known.

    Raises:
        BundleError: the bundle must not be served.
        StartupError: the provider cannot run it.
    """
    started = time.perf_counter()

    def work(tried: str | None = None) -> Loaded:
        found = read_version(path, limits.loading.memory_bytes)
        if tried not in (None, found.digest):  # before any of it is run
            raise UnreadableBundle(f"{path}: its files change while it is loaded")
        return load(found, provider, limits.max_batch_rows, executors.call)

    if nothing_to_lose:
        loaded = await within(limits.loading, work)
    else:
        tried = await try_out(path, provider, limits.max_batch_rows, limits.loading)
        if not provider.on_gpu:  # where a process of its own takes more
            admit(tried.memory_bytes)
        loaded = await abandonable(partial(work, tried.digest))
        if not provider.on_gpu:  # what this process takes besides, for requests, is no part of it
            loaded = replace(loaded, memory_bytes=tried.memory_bytes)
    model = Model(loaded, provider, limits, executors, metrics, traced=traced)
    try:
        admit(model.memory_bytes)
    except Exception:
        await model.aclose()
        raise
    seconds = time.perf_counter() - started
    metrics.model_load.labels(model.name).set(seconds)
    log.info(
        "model %s version %d ready in %.2f s: digest %s, provider %s (%s)",
        model.name, model.version, seconds, model.digest, provider.name, provider.reason,
    )  # fmt: skip
    return model
