"""``vae.v1.VaeService``: translate, call, translate. Errors, metrics and logs are the interceptor's."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from serving import sampling, tensors
from serving.metrics import Metrics
from serving.model import Model
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceServicer
from serving.repository import Repository

Rows = NDArray[np.float32]
T = TypeVar("T")
Context = Any  # grpc.aio.ServicerContext, which has no types


class VaeService(VaeServiceServicer):
    """The RPCs. ``image_threads`` write PNG files, so that the event loop does not."""

    def __init__(self, repository: Repository, metrics: Metrics, image_threads: ThreadPoolExecutor) -> None:
        self._repository = repository
        self._metrics = metrics
        self._image_threads = image_threads

    async def Sample(self, request: pb.SampleRequest, context: Context) -> pb.SampleResponse:
        with self._resolve(request.model) as model:
            wanted = tensors.image_format(request.image_format, model.manifest.image)
            seed = sampling.seed_of(request)
            latents = await sampling.draw(request, seed, model, context.time_remaining())
            images = await model.decode(latents, context.time_remaining())
            response = pb.SampleResponse(model=_served(model), seed=seed)
            response.images.CopyFrom(await self._write(images, wanted, model))
            if request.include_latents:
                response.latents.CopyFrom(tensors.from_array(latents))
            self._metrics.samples.labels(model.name, sampling.source_of(request)).inc(len(latents))
            return response

    async def Encode(self, request: pb.EncodeRequest, context: Context) -> pb.EncodeResponse:
        with self._resolve(request.model) as model:
            images = await self._read(request.images, model)
            mean, log_var = await model.encode(images, context.time_remaining())
            response = pb.EncodeResponse(
                model=_served(model), mean=tensors.from_array(mean), log_var=tensors.from_array(log_var)
            )
            if request.include_latents:
                response.seed = sampling.seed_of(request)
                drawn = sampling.posterior(mean, log_var, response.seed, model)
                response.latents.CopyFrom(tensors.from_array(drawn))
            if request.include_pool_probabilities and model.pools and model.pools.kinds:
                points = mean.reshape(len(mean), -1).astype(np.float64)
                response.pool_probabilities.CopyFrom(tensors.from_array(model.pools.probabilities(points)))
                response.pools.extend(model.pools.kinds)
            return response

    async def Decode(self, request: pb.DecodeRequest, context: Context) -> pb.DecodeResponse:
        with self._resolve(request.model) as model:
            wanted = tensors.image_format(request.image_format, model.manifest.image)
            latents = tensors.to_latents(
                request.latents, "latents", model.manifest.latent_shape, model.max_rows
            )
            images = await model.decode(latents, context.time_remaining())
            return pb.DecodeResponse(model=_served(model), images=await self._write(images, wanted, model))

    async def Reconstruct(self, request: pb.ReconstructRequest, context: Context) -> pb.ReconstructResponse:
        with self._resolve(request.model) as model:
            wanted = tensors.image_format(request.image_format, model.manifest.image)
            images = await self._read(request.images, model)
            mean, _ = await model.encode(images, context.time_remaining())
            decoded = await model.decode(mean, context.time_remaining())
            response = pb.ReconstructResponse(model=_served(model))
            response.images.CopyFrom(await self._write(decoded, wanted, model))
            if request.include_latents:
                response.latents.CopyFrom(tensors.from_array(mean))
            return response

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=[describe(model) for model in self._repository.models])

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        with self._resolve(request.model) as model:
            return pb.GetModelResponse(model=describe(model))

    def _resolve(self, ref: models_pb2.ModelRef) -> Model:
        return self._repository.resolve(ref.name, ref.version)

    async def _read(self, message: tensors_pb2.Images, model: Model) -> Rows:
        def read() -> Rows:
            return tensors.to_images(message, "images", model.manifest.image, model.max_rows)

        return await self._off_loop(read) if message.HasField("png") else read()

    async def _write(self, images: Rows, wanted: int, model: Model) -> tensors_pb2.Images:
        write = tensors.image_writer(wanted, model.manifest.image)
        if wanted == tensors_pb2.IMAGE_FORMAT_PNG:
            return await self._off_loop(lambda: write(images))
        return write(images)

    async def _off_loop(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._image_threads, call)


def describe(model: Model) -> models_pb2.Model:
    """What GetModel and ListModels say of a model."""
    manifest = model.manifest
    channels, height, width = manifest.image.shape
    created = Timestamp()
    created.FromDatetime(manifest.created)
    weights = model.pools.weight if model.pools else np.empty(0)
    return models_pb2.Model(
        model=_served(model),
        ready=True,
        image=models_pb2.ImageSpec(
            channels=channels,
            height=height,
            width=width,
            value_min=manifest.image.value_range[0],
            value_max=manifest.image.value_range[1],
        ),
        latent_shape=manifest.latent_shape,
        kind=manifest.kind,
        likelihood=manifest.likelihood.name,
        prior=manifest.prior,
        pools=[
            models_pb2.Pool(name=pool.name, weight=weight, rows=pool.rows, aggregate=pool.aggregate)
            for pool, weight in zip(manifest.pools, weights, strict=True)
        ],
        metrics=[
            models_pb2.Metric(name=name, value=metric.value, standard_error=metric.standard_error)
            for name, metric in manifest.training.metrics.items()
        ],
        created=created,
        execution_provider=model.provider.name,
        max_rows=model.max_rows,
        dataset=manifest.training.dataset,
    )


def _served(model: Model) -> models_pb2.ServedModel:
    return models_pb2.ServedModel(name=model.name, version=model.version, digest=model.digest)
