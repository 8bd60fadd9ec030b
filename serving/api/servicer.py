"""``vae.v1.VaeService``: translate, compute, translate. Errors, metrics and logs are ``serving.api.frame``'s.

Every method gives its response serialised: those with tensors are written by ``serving.wire.replies``.
"""

from collections.abc import AsyncGenerator

import numpy as np
from numpy.typing import NDArray

from serving.api import conditioning, sampling
from serving.api.description import describe, describe_version, latent_map
from serving.api.frame import Call
from serving.api.leases import Lease
from serving.errors import InvalidInput, ShuttingDown
from serving.host.background import Background
from serving.metrics.registry import Metrics
from serving.modalities import on_the_wire
from serving.modalities.wire_form import Draws, GivenRows, Writer
from serving.models.model import Model
from serving.models.repository import Repository
from serving.models.scoring import scorer_of
from serving.pb.vae.v1 import models_pb2
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
            writer = on_the_wire.writer_of(request, model.modality)
            count = tensors.row_count(request.count, model.max_rows)
            source = await sampling.open_source(request, model, call.time_remaining, self._background)
            fields = await self._sampled(request, source, request.first_row, count, writer, call)
            return replies.join(*fields)

    async def SampleStream(self, request: pb.SampleStreamRequest, call: Call) -> AsyncGenerator[bytes, None]:
        sample = request.sample
        with self._resolve(sample.model, call) as model:
            writer = on_the_wire.writer_of(sample, model.modality)
            count = tensors.row_count(sample.count, sampling.MAX_STREAM_ROWS, "sample.count")
            a_row = model.row_bytes * (2 if sample.include_latents else 1)
            fitting = max(1, _STREAM_BYTES // a_row)
            portion = min(_STREAM_ROWS, fitting, model.max_rows)
            if request.rows_per_response:
                portion = tensors.row_count(request.rows_per_response, model.max_rows, "rows_per_response")
            source = await sampling.open_source(sample, model, call.time_remaining, self._background)
            end = sample.first_row + count
            for first in range(sample.first_row, end, portion):
                if model.is_ending:
                    raise ShuttingDown(f"version {model.version} was replaced; go on from first_row {first}")
                rows = min(portion, end - first)
                begun = first > sample.first_row
                fields = await self._sampled(sample, source, first, rows, writer, call, continues=begun)
                yield replies.join(
                    *fields, replies.number(pb.SampleStreamResponse.FIRST_ROW_FIELD_NUMBER, first)
                )

    async def Encode(self, request: pb.EncodeRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            first_row = sampling.first_row_of(request)
            rows = await self._admitted(on_the_wire.given(request, model.modality), model, call)
            mean, log_var = await model.encode(rows, call.time_remaining(), continues=True)
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
            writer = on_the_wire.writer_of(request, model.modality)
            latents = tensors.to_latents(
                request.latents, "latents", model.manifest.latent_shape, model.max_rows
            )
            decoded = await model.decode(latents, call.time_remaining(), as_pixels=writer.as_pixels)
            written = await writer.written(pb.DecodeResponse, decoded, self._background)
            return replies.join(_served(model), written)

    async def Reconstruct(self, request: pb.ReconstructRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            writer = on_the_wire.writer_of(request, model.modality)
            given, as_pixels = on_the_wire.given(request, model.modality), writer.as_pixels
            said = given.rows_said(model.max_rows)
            with model.expect("decoder", said, call.time_remaining(), as_pixels=as_pixels):
                rows = await self._admitted(given, model, call)
                mean, _ = await model.encode(rows, call.time_remaining(), continues=True)
            time_left = call.time_remaining()
            decoded = await model.decode(mean, time_left, as_pixels=as_pixels, continues=True)
            return replies.join(
                _served(model),
                await writer.written(pb.ReconstructResponse, decoded, self._background),
                replies.tensor(pb.ReconstructResponse.LATENTS_FIELD_NUMBER, mean)
                if request.include_latents
                else (),
            )

    async def Score(self, request: pb.ScoreRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            scorer = scorer_of(model.scorer, model.name)
            samples = sampling.samples_of(request)
            first_row, seed = sampling.first_row_of(request), sampling.seed_of(request)
            given = on_the_wire.given(request, model.modality)
            scores = await scorer.score(
                lambda: given.read(model.max_rows, self._background),
                given.rows_said(model.max_rows),
                samples=samples,
                seed=seed,
                first_row=first_row,
                time_remaining=call.time_remaining,
                background=self._background,
            )
            by_row = {
                pb.ScoreResponse.NELBO_FIELD_NUMBER: scores.nelbo,
                pb.ScoreResponse.DISTORTION_FIELD_NUMBER: scores.distortion,
                pb.ScoreResponse.RATE_FIELD_NUMBER: scores.rate,
                pb.ScoreResponse.NLL_FIELD_NUMBER: scores.nll,
                pb.ScoreResponse.QUANTILE_FIELD_NUMBER: scorer.quantile(scores.nelbo),
                pb.ScoreResponse.COLUMN_DISTORTION_FIELD_NUMBER: scores.column_distortion,
            }
            return replies.join(
                _served(model),
                replies.number(pb.ScoreResponse.SEED_FIELD_NUMBER, seed),
                replies.number(pb.ScoreResponse.SAMPLES_FIELD_NUMBER, samples),
                *(
                    replies.tensor(field, column.astype(np.float32))
                    for field, column in by_row.items()
                    if column is not None
                ),
                (pb.ScoreResponse(columns=model.modality.columns).SerializeToString(),),
            )

    async def Impute(self, request: pb.ImputeRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            conditioning.check_fills(model)
            writer = on_the_wire.writer_of(request, model.modality)
            draws = conditioning.draws_of(request, model.max_rows)
            first_row, seed = sampling.first_row_of(request), sampling.seed_of(request)
            evidence = await conditioning.evidence_of(
                on_the_wire.given(request, model.modality),
                model,
                model.max_rows // draws,
                seed=seed,
                samples=conditioning.samples_of(request, conditioning.IMPUTE_SAMPLES),
                time_remaining=call.time_remaining,
                background=self._background,
            )
            latents = await evidence.fillings(first_row, draws, call.time_remaining)
            decoded = await model.decode(latents, call.time_remaining(), continues=True)
            known = evidence.known(len(evidence.mean), draws)
            drawn = Draws(seed, first_row * draws, known)
            return replies.join(
                _served(model),
                replies.number(pb.ImputeResponse.SEED_FIELD_NUMBER, seed),
                await writer.written(pb.ImputeResponse, decoded, self._background, drawn),
                replies.number(pb.ImputeResponse.DRAWS_FIELD_NUMBER, draws),
                replies.number(pb.ImputeResponse.SAMPLES_FIELD_NUMBER, evidence.samples),
            )

    async def Interpolate(self, request: pb.InterpolateRequest, call: Call) -> bytes:
        with self._resolve(request.model, call) as model:
            writer = on_the_wire.writer_of(request, model.modality)
            spherical = _is_spherical(request.path)
            legs = _points_said(request, model) - 1
            rows = max(0, min(1 + request.steps * legs, model.max_rows))
            as_pixels = writer.as_pixels
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
            decoded = await model.decode(latents, time_left, as_pixels=as_pixels, continues=True)
            return replies.join(
                _served(model),
                await writer.written(pb.InterpolateResponse, decoded, self._background),
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
        writer: Writer,
        call: Call,
        *,
        continues: bool = False,
    ) -> list[tuple[replies.Part, ...]]:
        """The fields that SampleResponse and SampleStreamResponse share, under the same numbers."""
        model = source.model
        drawn = await sampling.draw(
            source, first, rows, call.time_remaining, as_pixels=writer.as_pixels, continues=continues
        )
        sampling.count(self._metrics, request, rows, model)
        known = source.evidence.known(rows) if source.evidence else None
        draws = Draws(source.seed, first, known)
        fields = [
            _served(model),
            replies.number(pb.SampleResponse.SEED_FIELD_NUMBER, source.seed),
            await writer.written(pb.SampleResponse, drawn.decoded, self._background, draws),
        ]
        if request.include_latents:
            fields.append(replies.tensor(pb.SampleResponse.LATENTS_FIELD_NUMBER, drawn.latents))
        return fields

    async def _points(self, request: pb.InterpolateRequest, model: Model, call: Call) -> Rows:
        """The latents that a way passes through, at least two."""
        on_the_wire.check_kind(request, model.modality)
        form = request.WhichOneof("points")
        many = on_the_wire.wire_of(model.modality).many
        if form == many:
            rows = await self._admitted(on_the_wire.given(request, model.modality), model, call)
            _at_least_two(len(rows), many)
            points, _ = await model.encode(rows, call.time_remaining(), continues=True)
            return points
        if form == "latents":
            shape = model.manifest.latent_shape
            points = tensors.to_latents(request.latents, "latents", shape, model.max_rows)
            _at_least_two(len(points), "latents")
            return points
        raise InvalidInput("points", f"want {many} or latents, came nothing")

    def _resolve(self, ref: models_pb2.ModelRef, call: Call) -> Lease:
        return Lease(self._repository.resolve(ref.name, ref.version), call)

    async def _admitted(self, given: GivenRows, model: Model, call: Call) -> Rows:
        """Rows for the encoder, which are not read before there is a place for them."""
        with model.expect("encoder", given.rows_said(model.max_rows), call.time_remaining()):
            return await given.read(model.max_rows, self._background)


def _points_said(request: pb.InterpolateRequest, model: Model) -> int:
    """See ``GivenRows.rows_said``."""
    if request.WhichOneof("points") == on_the_wire.wire_of(model.modality).many:
        return on_the_wire.given(request, model.modality).rows_said(model.max_rows)
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
