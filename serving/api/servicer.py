"""``vae.v1.VaeService``: translate, compute, translate. Errors, metrics and logs are ``serving.api.frame``'s.

Every method gives its response serialised: those with tensors are written by ``serving.wire.replies``.
"""

from collections.abc import AsyncGenerator, Awaitable

import numpy as np
from numpy.typing import NDArray

from serving.api import pictures, sampling
from serving.api.description import describe, describe_version, latent_map
from serving.api.frame import Call
from serving.api.leases import Lease
from serving.errors import InvalidInput, ShuttingDown
from serving.host.background import Background
from serving.metrics.registry import Metrics
from serving.models.model import Model, row_bytes
from serving.models.repository import Repository
from serving.models.scoring import scorer_of
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import replies, tensors

Rows = NDArray[np.float32]

_STREAM_ROWS = 256
"""Rows of a streamed response when the caller does not say."""
_STREAM_BYTES = 3 << 20
"""Of such a response at most: gRPC's clients take 4 MiB unless told otherwise."""


class VaeService:
    """The RPCs. What takes long besides the graphs is done in the ``background`` of the event loop."""

    def __init__(self, repository: Repository, metrics: Metrics, background: Background) -> None:
        self._repository = repository
        self._metrics = metrics
        self._background = background

    async def Sample(self, request: pb.SampleRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            wanted = tensors.image_format(request.image_format, model.manifest.image)
            count = tensors.row_count(request.count, model.max_rows)
            source = await sampling.open_source(request, model, call.time_remaining(), self._background)
            fields = await self._sampled(request, source, request.first_row, count, wanted, call)
            return replies.join(*fields)

    async def SampleStream(self, request: pb.SampleStreamRequest, call: Call) -> AsyncGenerator[bytes, None]:
        sample = request.sample
        with self._resolve(sample.model, call) as model:
            wanted = tensors.image_format(sample.image_format, model.manifest.image)
            count = tensors.row_count(sample.count, sampling.MAX_STREAM_ROWS, "sample.count")
            a_row = row_bytes(model.manifest) * (2 if sample.include_latents else 1)
            fitting = max(1, _STREAM_BYTES // a_row)
            portion = min(_STREAM_ROWS, fitting, model.max_rows)
            if request.rows_per_response:
                portion = tensors.row_count(request.rows_per_response, model.max_rows, "rows_per_response")
            source = await sampling.open_source(sample, model, call.time_remaining(), self._background)
            end = sample.first_row + count
            for first in range(sample.first_row, end, portion):
                if model.is_ending:
                    raise ShuttingDown(f"version {model.version} was replaced; go on from first_row {first}")
                rows = min(portion, end - first)
                begun = first > sample.first_row
                fields = await self._sampled(sample, source, first, rows, wanted, call, continues=begun)
                yield replies.join(
                    *fields, replies.number(pb.SampleStreamResponse.FIRST_ROW_FIELD_NUMBER, first)
                )

    async def Encode(self, request: pb.EncodeRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            first_row = sampling.first_row_of(request)
            images = await self._admitted(request.images, model, call)
            mean, log_var = await model.encode(images, call.time_remaining(), continues=True)
            fields = [
                _served(model),
                replies.tensor(pb.EncodeResponse.MEAN_FIELD_NUMBER, mean),
                replies.tensor(pb.EncodeResponse.LOG_VAR_FIELD_NUMBER, log_var),
            ]
            if request.include_latents:
                seed = sampling.seed_of(request)
                drawn = await sampling.posterior(mean, log_var, seed, first_row, self._background)
                fields.append(replies.tensor(pb.EncodeResponse.LATENTS_FIELD_NUMBER, drawn))
                fields.append(replies.number(pb.EncodeResponse.SEED_FIELD_NUMBER, seed))
            if request.include_pool_probabilities and model.pools and model.pools.kinds:
                likely = await sampling.pool_probabilities(mean, model.pools, self._background)
                fields.append(replies.tensor(pb.EncodeResponse.POOL_PROBABILITIES_FIELD_NUMBER, likely))
                fields.append((pb.EncodeResponse(pools=model.pools.kinds).SerializeToString(),))
            return replies.join(*fields)

    async def Decode(self, request: pb.DecodeRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            wanted = tensors.image_format(request.image_format, model.manifest.image)
            latents = tensors.to_latents(
                request.latents, "latents", model.manifest.latent_shape, model.max_rows
            )
            as_pixels = pictures.are_bytes(wanted)
            images = await model.decode(latents, call.time_remaining(), as_pixels=as_pixels)
            written = await self._images(pb.DecodeResponse.IMAGES_FIELD_NUMBER, images, wanted, model)
            return replies.join(_served(model), written)

    async def Reconstruct(self, request: pb.ReconstructRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            wanted = tensors.image_format(request.image_format, model.manifest.image)
            rows, as_pixels = tensors.rows_said(request.images, model.max_rows), pictures.are_bytes(wanted)
            with model.expect("decoder", rows, call.time_remaining(), as_pixels=as_pixels):
                images = await self._admitted(request.images, model, call)
                mean, _ = await model.encode(images, call.time_remaining(), continues=True)
            time_left = call.time_remaining()
            decoded = await model.decode(mean, time_left, as_pixels=as_pixels, continues=True)
            return replies.join(
                _served(model),
                await self._images(pb.ReconstructResponse.IMAGES_FIELD_NUMBER, decoded, wanted, model),
                replies.tensor(pb.ReconstructResponse.LATENTS_FIELD_NUMBER, mean)
                if request.include_latents
                else (),
            )

    async def Score(self, request: pb.ScoreRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            scorer = scorer_of(model.scorer, model.name)
            samples = sampling.samples_of(request)
            first_row, seed = sampling.first_row_of(request), sampling.seed_of(request)
            scores = await scorer.score(
                lambda: self._read(request.images, model),
                tensors.rows_said(request.images, model.max_rows),
                samples=samples,
                seed=seed,
                first_row=first_row,
                time_remaining=call.time_remaining,
                background=self._background,
            )
            columns = {
                pb.ScoreResponse.NELBO_FIELD_NUMBER: scores.nelbo,
                pb.ScoreResponse.DISTORTION_FIELD_NUMBER: scores.distortion,
                pb.ScoreResponse.RATE_FIELD_NUMBER: scores.rate,
                pb.ScoreResponse.NLL_FIELD_NUMBER: scores.nll,
                pb.ScoreResponse.QUANTILE_FIELD_NUMBER: scorer.quantile(scores.nelbo),
            }
            return replies.join(
                _served(model),
                replies.number(pb.ScoreResponse.SEED_FIELD_NUMBER, seed),
                replies.number(pb.ScoreResponse.SAMPLES_FIELD_NUMBER, samples),
                *(
                    replies.tensor(field, column.astype(np.float32))
                    for field, column in columns.items()
                    if column is not None
                ),
            )

    async def Interpolate(self, request: pb.InterpolateRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            wanted = tensors.image_format(request.image_format, model.manifest.image)
            spherical = _is_spherical(request.path)
            legs = _points_said(request, model.max_rows) - 1
            rows = max(0, min(1 + request.steps * legs, model.max_rows))
            as_pixels = pictures.are_bytes(wanted)
            with model.expect("decoder", rows, call.time_remaining(), as_pixels=as_pixels):
                points = await self._points(request, model, call)
                longest = (model.max_rows - 1) // (len(points) - 1)
                if not 1 <= request.steps <= longest:
                    raise InvalidInput(
                        "steps", f"want 1 to {longest} between {len(points)} points, came {request.steps}"
                    )
                latents = await sampling.walk(
                    points, request.steps, spherical=spherical, background=self._background
                )
            time_left = call.time_remaining()
            images = await model.decode(latents, time_left, as_pixels=as_pixels, continues=True)
            return replies.join(
                _served(model),
                await self._images(pb.InterpolateResponse.IMAGES_FIELD_NUMBER, images, wanted, model),
                replies.tensor(pb.InterpolateResponse.LATENTS_FIELD_NUMBER, latents)
                if request.include_latents
                else (),
            )

    async def ListModels(self, request: pb.ListModelsRequest, call: Call) -> bytes:
        models = [describe(model) for model in self._repository.models]
        versions = [describe_version(state) for state in self._repository.versions()]
        return pb.ListModelsResponse(models=models, versions=versions).SerializeToString()

    async def GetModel(self, request: pb.GetModelRequest, call: Call) -> bytes:
        model = self._repository.resolve(request.model.name, request.model.version)
        versions = [describe_version(state) for state in self._repository.versions(model.name)]
        return pb.GetModelResponse(model=describe(model), versions=versions).SerializeToString()

    async def GetLatentMap(self, request: pb.GetLatentMapRequest, call: Call) -> bytes:
        return latent_map(self._repository.resolve(request.model.name, request.model.version))

    async def _sampled(
        self,
        request: pb.SampleRequest,
        source: sampling.Source,
        first: int,
        rows: int,
        wanted: int,
        call: Call,
        *,
        continues: bool = False,
    ) -> list[tuple[replies.Part, ...]]:
        """The fields that SampleResponse and SampleStreamResponse share, under the same numbers."""
        model = source.model
        as_pixels = pictures.are_bytes(wanted)
        drawn = await sampling.draw(
            source, first, rows, call.time_remaining, as_pixels=as_pixels, continues=continues
        )
        sampling.count(self._metrics, request, rows, model)
        fields = [
            _served(model),
            replies.number(pb.SampleResponse.SEED_FIELD_NUMBER, source.seed),
            await self._images(pb.SampleResponse.IMAGES_FIELD_NUMBER, drawn.images, wanted, model),
        ]
        if request.include_latents:
            fields.append(replies.tensor(pb.SampleResponse.LATENTS_FIELD_NUMBER, drawn.latents))
        return fields

    async def _points(self, request: pb.InterpolateRequest, model: Model, call: Call) -> Rows:
        """The latents that a way passes through, at least two."""
        form = request.WhichOneof("points")
        if form == "images":
            images = await self._admitted(request.images, model, call)
            _at_least_two(len(images), "images")
            points, _ = await model.encode(images, call.time_remaining(), continues=True)
            return points
        if form == "latents":
            shape = model.manifest.latent_shape
            points = tensors.to_latents(request.latents, "latents", shape, model.max_rows)
            _at_least_two(len(points), "latents")
            return points
        raise InvalidInput("points", "want images or latents, came nothing")

    def _resolve(self, ref: models_pb2.ModelRef, call: Call) -> Lease:
        return Lease(self._repository.resolve(ref.name, ref.version), call)

    async def _admitted(self, message: tensors_pb2.Images, model: Model, call: Call) -> Rows:
        """Images for the encoder, which are not read before there is a place for them."""
        with model.expect("encoder", tensors.rows_said(message, model.max_rows), call.time_remaining()):
            return await self._read(message, model)

    def _read(self, message: tensors_pb2.Images, model: Model) -> Awaitable[Rows]:
        spec = model.manifest.image
        return pictures.read(message, "images", spec, model.max_rows, self._background)

    def _images(
        self, field: int, rows: pictures.Images, wanted: int, model: Model
    ) -> Awaitable[tuple[replies.Part, ...]]:
        return pictures.written(field, rows, wanted, model.manifest.image, self._background)


def _points_said(request: pb.InterpolateRequest, max_rows: int) -> int:
    """See ``tensors.rows_said``."""
    if request.WhichOneof("points") == "images":
        return tensors.rows_said(request.images, max_rows)
    return request.latents.shape[0] if request.latents.shape else 0


def _at_least_two(points: int, field: str) -> None:
    if points < 2:
        raise InvalidInput(field, f"want at least 2 points, came {points}")


def _served(model: Model) -> tuple[replies.Part, ...]:
    return replies.served_model(model.name, model.version, model.digest)


def _is_spherical(path: int) -> bool:
    """Unspecified means linear."""
    if path not in pb.InterpolationPath.values():
        raise InvalidInput("path", f"want one of {', '.join(pb.InterpolationPath.keys())}, came {path}")
    return path == pb.INTERPOLATION_PATH_SPHERICAL
