"""A model in service: its verified bundle, its graphs and the queues in front of them."""

import asyncio
import logging
import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.batching import portions
from serving.batching.batch import Outputs, Run
from serving.batching.batcher import Batcher
from serving.bundle import Bundle, Manifest, Pools, Reference
from serving.latent.drift import DriftMonitor
from serving.latent.pool_set import PoolSet
from serving.metrics.registry import GraphMetrics, Metrics
from serving.models.golden import prove_parity
from serving.models.providers import Provider
from serving.models.scoring import BLOCK, Scorer
from serving.models.session import Session
from serving.pb.vae.v1 import models_pb2, vae_service_pb2
from serving.wire import replies

Rows = NDArray[np.float32]

log = logging.getLogger(__name__)

_MODEL_FIELD = vae_service_pb2.SampleResponse.MODEL_FIELD_NUMBER  # the same in every response


@dataclass(frozen=True)
class Limits:
    """What one model may use."""

    threads: int
    max_batch_rows: int
    max_queue_rows: int
    max_rows: int
    max_message_bytes: int
    linger_s: float


class Model:
    """Encodes and decodes rows; batches them with those of other requests."""

    def __init__(self, loaded: "_Loaded", provider: Provider, limits: Limits, metrics: Metrics) -> None:
        self.bundle = loaded.bundle
        self.manifest = loaded.bundle.manifest
        self.digest = loaded.bundle.digest
        self.name, self.version = self.manifest.name, self.manifest.version
        self.provider = provider
        served = models_pb2.ServedModel(name=self.name, version=self.version, digest=self.digest)
        self.served = replies.message(_MODEL_FIELD, served.SerializeToString())
        """The first field of every response: which model answered."""
        self.latents = math.prod(self.manifest.latent_shape)
        """Z, the number of latents of a row."""
        self.pools = loaded.pools
        self.max_rows = min(limits.max_rows, max(1, limits.max_message_bytes // row_bytes(self.manifest)))
        self._scale, self._shift = self.manifest.latent_scale, self.manifest.latent_shift
        learned_prior = loaded.prior is not None
        reference = loaded.reference
        drift = (
            DriftMonitor(reference, metrics, self.name, learned_prior=learned_prior) if reference else None
        )

        def batcher(run: Run, graph: str, weight: int = 1) -> Batcher:
            """``weight``: rows of the decoder that one row of the graph stands for."""
            batch_rows = max(1, limits.max_batch_rows // weight)
            queue_rows = max(limits.max_queue_rows // weight, batch_rows)
            metrics.queue_limit_rows.labels(self.name, graph).set(queue_rows)
            return Batcher(
                run,
                max_batch_rows=batch_rows,
                max_queue_rows=queue_rows,
                rows_at_once=loaded.rows_at_once.get(graph, batch_rows),
                executors=limits.threads if provider.name == "cpu" else 1,
                metrics=GraphMetrics(metrics, self.name, graph),
                linger_s=limits.linger_s,
            )

        def encode(images: Rows) -> Outputs:
            mean, log_var = loaded.encoder(images)
            if drift:
                drift.update(mean, log_var)
            return mean, log_var

        self._encoder = batcher(encode, "encoder")
        self._decoder = batcher(loaded.decoder, "decoder")
        self._prior = batcher(loaded.prior, "prior") if loaded.prior else None
        quantiles = reference.score_quantiles if reference else None
        self.scorer = Scorer(loaded.score, self.manifest, batcher, quantiles) if loaded.score else None
        """None for a bundle without a score graph."""
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

    async def encode(self, images: Rows, timeout_s: float | None) -> tuple[Rows, Rows]:
        """[rows, C, H, W] → mean and log-variance of the posterior, [rows, *latent_shape] each."""
        mean, log_var = await self._encoder.submit(images, timeout_s=timeout_s)
        if (self._scale, self._shift) != (1.0, 0.0):
            log_var = log_var + np.float32(2.0 * math.log(abs(self._scale)))
        return self._shown(mean), log_var

    async def prior_latents(self, noise: Rows, timeout_s: float | None) -> Rows:
        """From N(0, I) to latents of the prior, both [rows, *latent_shape]; the same unless it is learned."""
        if self._prior is None:
            return noise
        (latents,) = await self._prior.submit(noise, timeout_s=timeout_s)
        return self._shown(latents)

    def _shown(self, latents: Rows) -> Rows:
        """As callers see them: (z - shift)·scale, the convention of latent diffusion."""
        if (self._scale, self._shift) == (1.0, 0.0):
            return latents
        return (latents - np.float32(self._shift)) * np.float32(self._scale)

    async def decode(self, latents: Rows, timeout_s: float | None) -> Rows:
        """[rows, *latent_shape] → the mean of p(x|z), [rows, C, H, W] in the model's value range."""
        if (self._scale, self._shift) != (1.0, 0.0):
            latents = latents / np.float32(self._scale) + np.float32(self._shift)
        (images,) = await self._decoder.submit(latents, timeout_s=timeout_s)
        return images

    async def aclose(self) -> None:
        """Wait for the requests that lease the model, then let go of the graphs."""
        if self._leases:
            self._unused.clear()
            await self._unused.wait()
        parts = (self._encoder, self._decoder, self._prior, self.scorer)
        await asyncio.gather(*(part.aclose() for part in parts if part))


@dataclass(frozen=True)
class _Loaded:
    bundle: Bundle
    encoder: Session
    decoder: Session
    prior: Session | None
    score: Session | None
    pools: PoolSet | None
    reference: Reference | None
    rows_at_once: dict[str, int]
    """By graph, see ``serving.batching.portions``; a graph that is not in it is given whole batches."""


async def load_model(bundle: Bundle, provider: Provider, limits: Limits, metrics: Metrics) -> Model:
    """Load, re-prove parity with PyTorch and warm up; only then does the model exist.

    Raises:
        BundleError: the bundle must not be served.
        StartupError: the provider cannot run it.
    """
    started = time.perf_counter()
    loaded = await asyncio.to_thread(_load, bundle, provider, limits)
    model = Model(loaded, provider, limits, metrics)
    seconds = time.perf_counter() - started
    metrics.model_load.labels(model.name).set(seconds)
    log.info(
        "model %s version %d ready in %.2f s: digest %s, provider %s (%s)",
        model.name, model.version, seconds, model.digest, provider.name, provider.reason,
    )  # fmt: skip
    return model


def row_bytes(manifest: Manifest) -> int:
    """The largest float32 row that a message of this model carries."""
    return 4 * max(math.prod(manifest.image.shape), 2 * math.prod(manifest.latent_shape))


def _load(bundle: Bundle, provider: Provider, limits: Limits) -> _Loaded:
    manifest = bundle.manifest
    latents = math.prod(manifest.latent_shape)
    sessions: dict[str, Session] = {
        role: Session(bundle.content(graph.file), graph, provider, role=role)
        for role, graph in manifest.graphs.items()
    }
    prove_parity(bundle, sessions)
    _warm_up(manifest, sessions, limits.max_batch_rows)
    return _Loaded(
        bundle=bundle,
        encoder=sessions["encoder"],
        decoder=sessions["decoder"],
        prior=sessions.get("prior"),
        score=sessions.get("score"),
        pools=_pools(bundle, latents),
        reference=_reference(bundle, latents),
        rows_at_once=_rows_at_once(manifest, sessions["decoder"], limits) if provider.name == "cpu" else {},
    )


def _warm_up(manifest: Manifest, sessions: dict[str, Session], max_batch_rows: int) -> None:
    image, latent = manifest.image.shape, manifest.latent_shape
    for rows in {1, max_batch_rows}:
        images, latents = np.zeros((rows, *image), np.float32), np.zeros((rows, *latent), np.float32)
        sessions["encoder"](images)
        sessions["decoder"](latents)
        if "prior" in sessions:
            sessions["prior"](latents)
        if "score" in sessions:
            sessions["score"](images, latents[:, None])
            blocks = max(1, rows // BLOCK)
            sessions["score"](images[:blocks], np.zeros((blocks, BLOCK, *latent), np.float32))


def _rows_at_once(manifest: Manifest, decoder: Session, limits: Limits) -> dict[str, int]:
    """Of the decoder alone: each run of the encoder is followed by a look at drift, which outweighs it."""
    batch = np.zeros((limits.max_batch_rows, *manifest.latent_shape), np.float32)
    rows = portions.quickest(decoder, batch, limits.threads)
    if rows < len(batch):
        log.info("model %s: the decoder is quickest with %d rows at once", manifest.name, rows)
    return {"decoder": rows}


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
