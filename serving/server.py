"""The composition root: builds the parts, starts them in order and stops them in reverse."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime as ort
from grpc_health.v1 import health_pb2

from serving.api import sampling
from serving.api.frame import Frame, Method
from serving.api.inference import OpenInference
from serving.api.methods import NAMES, SERVICE, inference_methods, vae_methods
from serving.api.servicer import VaeService
from serving.api.traced_frame import TracedFrame
from serving.batching.executors import Executors
from serving.doors.both import Doors
from serving.doors.secrets import Secrets
from serving.doors.standard_services import Health
from serving.errors import GpuLost
from serving.host import event_loop
from serving.host.abandonable import abandonable
from serving.host.background import Background
from serving.host.cpus import available_cpus
from serving.host.descriptors import connections_that_fit
from serving.host.memory import limit_bytes
from serving.metrics.endpoint import metrics_server
from serving.metrics.registry import Metrics
from serving.models.memory_budget import Room
from serving.models.model import Limits, Model, load_model
from serving.models.repository import Admit, Repository
from serving.models.trial import Bounds
from serving.oip import schema
from serving.runtime import cuda_driver, providers
from serving.runtime.lost_gpu import until_lost
from serving.runtime.providers import Provider
from serving.settings import Settings
from serving.tracing.tracer import tracing
from serving.version_policy import VersionPolicy

log = logging.getLogger(__name__)

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_LOAD_MEMORY_BYTES = 2 << 30


@dataclass(frozen=True)
class Running:
    """A server that accepts work; ports are those really bound."""

    grpc_address: str
    http_address: str
    """Empty where there is none."""
    metrics_address: str
    repository: Repository
    metrics: Metrics
    lost: list[str]
    """Why the GPU cannot be used any more, if that is so."""


async def _at_once() -> None:
    """May listen."""


async def serve(
    settings: Settings,
    ready: Callable[[Running], None],
    may_listen: Callable[[], Awaitable[None]] = _at_once,
    *,
    worker: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted. Raises StartupError, GpuLost.

    ``may_listen`` is awaited once every model is warm, ``ready`` called once the ports are open as well.
    ``worker`` tells the metrics of several processes apart.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    serving = asyncio.current_task()
    serves = False

    def end() -> None:
        stop.set()
        if serving and not serves:  # a version that takes long, or for ever, to load holds up no end
            serving.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        async with running(settings, may_listen, worker=worker) as server:
            serves = True
            event_loop.spare_collector()
            ready(server)
            await stop.wait()
            log.info("stopping: finishing the requests that were accepted")
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        log.info("stopped before it served")
        return
    calls = " ".join(f"{code}={count}" for code, count in server.metrics.calls_by_code().items())
    log.info("stopped; calls since the start: %s", calls or "none")
    if server.lost:
        raise GpuLost(server.lost[0])


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    may_listen: Callable[[], Awaitable[None]] = _at_once,
    *,
    worker: int | None = None,
) -> AsyncIterator[Running]:
    """Everything started, models warm, ports bound; leaving undoes the steps in reverse order."""
    connections = connections_that_fit(settings.max_connections, doors=2 if settings.http_address else 1)
    async with contextlib.AsyncExitStack() as stack:
        metrics = Metrics(worker)
        lost: list[str] = []
        metrics.onnxruntime.info({"version": ort.__version__})
        metrics_address = stack.enter_context(metrics_server(settings.metrics_address, metrics.page()))
        threads = settings.threads or max(1, available_cpus() // settings.workers)
        background = Background(threads)
        stack.callback(background.shutdown)
        health = Health()
        provider = providers.choose(
            settings.provider,
            memory_bytes=settings.gpu_memory_mib and settings.gpu_memory_mib << 20,
            engines=settings.tensorrt_cache,
        )
        if provider.on_gpu:
            memory = cuda_driver.driver().memory_lately
            metrics.watch_gpu(memory)
            await stack.enter_async_context(_background(_end_without(memory, lost)))
        # What ONNX Runtime keeps for a GPU, recorded CUDA graphs too, belongs to the thread that made it.
        executors = Executors(1 if provider.binds else threads)
        stack.callback(executors.shutdown)
        repository = _repository(settings, provider, executors, metrics, health)
        frame = await _frame(settings, repository, metrics, stack)
        methods = _methods(settings, repository, metrics, background, frame, health)
        doors = Doors(settings, frame, methods, health, background, metrics, connections=connections)
        secrets = await abandonable(partial(Secrets, settings, doors.renew))
        if secrets.pem:
            metrics.watch_certificate(secrets.seconds_left)
        stack.push_async_callback(repository.aclose)
        await repository.start()
        await may_listen()
        grpc_address, http_address = await doors.open(secrets)
        stack.push_async_callback(_stop, doors, health, settings)
        await stack.enter_async_context(_background(secrets.watch()))
        if settings.reload_s:
            await stack.enter_async_context(_background(repository.watch(settings.reload_s)))
        yield Running(grpc_address, http_address, metrics_address, repository, metrics, lost)


async def _end_without(memory: Callable[[], object], lost: list[str]) -> None:
    """Stop the server when it has lost its GPU: whoever started it starts it anew."""
    lost.append(await until_lost(memory))
    log.critical("the GPU cannot be used any more: %s; stopping", lost[0])
    signal.raise_signal(signal.SIGTERM)


async def _stop(doors: Doors, health: Health, settings: Settings) -> None:
    """NOT_SERVING, wait for load balancers to see it, finish what was accepted, close the sockets."""
    health.enter_shutdown()
    await asyncio.sleep(settings.drain_s)
    await doors.close()


async def _frame(
    settings: Settings, repository: Repository, metrics: Metrics, stack: contextlib.AsyncExitStack
) -> Frame:
    """Of a server that traces its calls, or of one that does not. Raises StartupError."""
    limits = {"max_calls": settings.max_calls, "max_rows": settings.max_rows}
    if settings.tracing == "on":
        tracer = await stack.enter_async_context(tracing(metrics.count_spans()))
        if tracer:
            return TracedFrame(repository, metrics, **limits, tracer=tracer)
    return Frame(repository, metrics, **limits)


def _methods(
    settings: Settings,
    repository: Repository,
    metrics: Metrics,
    background: Background,
    frame: Frame,
    health: Health,
) -> list[Method]:
    """What every door offers."""
    inference = OpenInference(
        repository, metrics, background, is_ready=lambda: health.is_serving, workers=settings.workers
    )
    return [
        *vae_methods(VaeService(repository, metrics, background)),
        *inference_methods(inference, frame),
    ]


def _repository(
    settings: Settings, provider: Provider, executors: Executors, metrics: Metrics, health: Health
) -> Repository:
    limits = Limits(
        max_batch_rows=settings.max_batch_rows,
        max_queue_rows=settings.max_queue_rows,
        max_rows=settings.max_rows,
        max_message_bytes=settings.max_message_mib << 20,
        loading=Bounds(settings.load_timeout_s, _load_memory_bytes(settings)),
    )

    async def load(path: Path, admit: Admit, nothing_to_lose: bool) -> Model:
        traced = settings.tracing == "on"
        return await load_model(
            path, provider, limits, executors, metrics, admit, nothing_to_lose=nothing_to_lose, traced=traced
        )

    async def announce(name: str, models: Sequence[Model]) -> None:
        health.set(name, _SERVING if models else _NOT_SERVING)
        for service in ("", SERVICE, schema.SERVICE):
            health.set(service, _SERVING if repository.models else _NOT_SERVING)
        metrics.model_ready.labels(name).set(1 if models else 0)
        metrics.watch_latents(name, models[0].drift if models else None)
        if models:
            pools = {pool.name for model in models for pool in model.manifest.pools}
            metrics.start_model(name, methods=NAMES, sources=sampling.SOURCES, pools=sorted(pools))

    policy = VersionPolicy.parse(settings.versions)
    room = Room(settings.memory_mib and settings.memory_mib << 20)
    repository = Repository(settings.repository, policy, room, load, announce, metrics)
    return repository


def _load_memory_bytes(settings: Settings) -> int:
    if settings.load_memory_mib:
        return settings.load_memory_mib << 20
    return int(min(_LOAD_MEMORY_BYTES, limit_bytes() / 2))


@contextlib.asynccontextmanager
async def _background(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
