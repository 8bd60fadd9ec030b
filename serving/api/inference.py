"""Open Inference Protocol: ``inference.GRPCInferenceService``, by the same models, queues and limits.

Sources: kserve/open-inference-protocol, specification/protocol/inference_grpc.md; Triton's extensions for
configuration, statistics, the repository's index and streams.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.api import sampling
from serving.api.frame import Answer, Behaviour, Call, parsed
from serving.api.leases import Lease
from serving.errors import InvalidInput, NotFound, ServingError, ShuttingDown
from serving.host.background import Background
from serving.metrics.registry import Metrics
from serving.modalities import on_the_wire
from serving.models.model import Model
from serving.models.repository import Repository
from serving.models.scoring import scorer_of
from serving.oip import contents, parameters, parts
from serving.oip.parts import Part
from serving.oip.schema import message
from serving.oip.tally import Tally
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import replies, tensors

Rows = NDArray[Any]
Outputs = tuple[dict[str, Rows], dict[str, int]]
"""Tensors and parameters of an answer."""

EXTENSIONS = ("binary_tensor_data", "parameters", "model_configuration")
_INFER_RESPONSE = message("ModelStreamInferResponse").INFER_RESPONSE_FIELD_NUMBER
_LONGEST_VERSION = 18
"""Digits."""


class OpenInference:
    """The RPCs, each giving its response serialised."""

    def __init__(
        self,
        repository: Repository,
        metrics: Metrics,
        background: Background,
        *,
        is_ready: Callable[[], bool],
        workers: int,
    ) -> None:
        """``workers``: how many processes share the port; of several nobody knows the statistics of all."""
        self._repository = repository
        self._is_ready = is_ready
        self._metadata = _bytes(
            "ServerMetadataResponse",
            name="vaeserve",
            version=metadata.version("vaeserve"),
            extensions=[*EXTENSIONS, *(["statistics"] if workers == 1 else [])],
        )
        self._tallies: defaultdict[tuple[str, int, str], Tally] = defaultdict(Tally)
        self._metrics = metrics
        self._background = background
        self._infer: dict[str, Callable[[Any, Model, Part, Call], Awaitable[Outputs]]] = {
            "encoder": self._encode,
            "decoder": self._decode,
            "sampler": self._sample,
            "scorer": self._score,
        }

    def model_of(self, method: str) -> Callable[[Any], str] | None:
        """How a request of the method names its model; None where it is about no model."""
        if method.startswith("Server") or method == "RepositoryIndex":
            return None
        if method == "ModelInfer":
            return lambda request: parts.split(request.model_name)[0]
        return lambda request: parts.split(request.name)[0]

    async def ServerLive(self, request: Any, call: Call) -> bytes:
        return _bytes("ServerLiveResponse", live=True)

    async def ServerReady(self, request: Any, call: Call) -> bytes:
        return _bytes("ServerReadyResponse", ready=self._is_ready())

    async def ServerMetadata(self, request: Any, call: Call) -> bytes:
        return self._metadata

    async def ModelReady(self, request: Any, call: Call) -> bytes:
        try:
            self._resolve(request.name, request.version)
        except NotFound:
            return _bytes("ModelReadyResponse", ready=False)
        return _bytes("ModelReadyResponse", ready=self._is_ready())

    async def ModelMetadata(self, request: Any, call: Call) -> bytes:
        model, part = self._resolve(request.name, request.version)
        versions = [one.version for one in self._repository.models if one.name == model.name]
        found: bytes = parts.metadata(model, part, sorted(versions)).SerializeToString()
        return found

    async def ModelConfig(self, request: Any, call: Call) -> bytes:
        found: bytes = parts.config(*self._resolve(request.name, request.version)).SerializeToString()
        return found

    async def ModelStatistics(self, request: Any, call: Call) -> bytes:
        """Of one part in one version or in every one, or of every part, since the server started."""
        wanted: Iterable[tuple[str, Model, Part]] = parts.every_part(self._repository.models)
        if request.name:
            model, part = self._resolve(request.name, request.version)
            wanted = [
                found
                for found in wanted
                if found[1].name == model.name and found[2].kind == part.kind
                if not request.version or found[1] is model
            ]
        response = message("ModelStatisticsResponse")()
        for name, model, part in wanted:
            one = response.model_stats.add(name=name, version=str(model.version))
            self._tallies[model.name, model.version, part.kind].tell(one)
        serialised: bytes = response.SerializeToString()
        return serialised

    async def RepositoryIndex(self, request: Any, call: Call) -> bytes:
        """Every version that is known of, in the protocol's words for its state."""
        response = message("RepositoryIndexResponse")()
        served = {(model.name, model.version): model for model in self._repository.models}
        for state in self._repository.versions():
            if request.ready and state.state != "ready":
                continue
            for name in parts.names_of(state, served.get((state.name, state.version))):
                response.models.add(
                    name=name,
                    version=str(state.version),
                    state=parts.STATES[state.state],
                    reason=state.reason,
                )
        serialised: bytes = response.SerializeToString()
        return serialised

    async def ModelInfer(self, request: Any, call: Call) -> bytes:
        name, kind = parts.split(request.model_name)
        with Lease(self._repository.resolve(name, _version(request.model_version)), call) as model:
            part = parts.part_of(model, kind)
            contents.check_inputs(request, part)
            parameters.check_parameters(request, part)
            wanted = contents.wanted_outputs(request, part)
            tally = self._tallies[model.name, model.version, kind]
            with tally.request():
                outputs, answered = await self._infer[part.kind](request, model, part, call)
            tally.rows += len(next(iter(outputs.values())))
            chosen = {name: outputs[name] for name in wanted}
            return contents.response(request, model.version, chosen, answered)

    def stream(self, infer: Answer) -> Behaviour:
        """ModelStreamInfer: each request in turn; one that fails is told of, and the stream goes on."""

        async def answer(_: Any, call: Call) -> None:
            while (raw := await call.next()) is not None:
                try:
                    response = await infer(_OfStream(call, raw))
                    assert response is not None
                    await call.write(replies.join(replies.message(_INFER_RESPONSE, response)))
                except ShuttingDown:
                    raise
                except ServingError as exc:
                    failed = {"id": _id_of(raw)}
                    await call.write(
                        _bytes("ModelStreamInferResponse", error_message=str(exc), infer_response=failed)
                    )

        return answer

    async def _encode(self, request: Any, model: Model, part: Part, call: Call) -> Outputs:
        given = contents.GivenTensor(request, part.inputs[0])
        with model.expect("encoder", tensors.rows_of(given, model.max_rows), call.time_remaining()):
            rows = await self._read(given, model)
        mean, log_var = await model.encode(rows, call.time_remaining(), continues=True)
        return {"mean": mean, "log_var": log_var}, {}

    async def _decode(self, request: Any, model: Model, part: Part, call: Call) -> Outputs:
        given = contents.GivenTensor(request, part.inputs[0])
        latents = tensors.to_latents(given, "inputs[latent]", model.manifest.latent_shape, model.max_rows)
        return {part.outputs[0].name: await model.decode(latents, call.time_remaining())}, {}

    async def _sample(self, request: Any, model: Model, part: Part, call: Call) -> Outputs:
        given = contents.GivenTensor(request, part.inputs[0])
        count = tensors.row_count(given.number(), model.max_rows, "inputs[count]")
        asked = _sample_request(request, model)
        source = await sampling.open_source(asked, model, call.time_remaining, self._background)
        drawn = await sampling.draw(source, asked.first_row, count, call.time_remaining)
        sampling.count(self._metrics, asked, count, model)
        return {part.outputs[0].name: drawn.decoded, "latent": drawn.latents}, {"seed": source.seed}

    async def _score(self, request: Any, model: Model, part: Part, call: Call) -> Outputs:
        asked = pb.ScoreRequest()
        _set(asked, "samples", parameters.integer(request, "samples", bits=31))
        _set(asked, "seed", parameters.integer(request, "seed", bits=64))
        _set(asked, "first_row", parameters.integer(request, "first_row"))
        given, seed = contents.GivenTensor(request, part.inputs[0]), sampling.seed_of(asked)
        scores = await scorer_of(model.scorer, model.name).score(
            lambda: self._read(given, model),
            tensors.rows_of(given, model.max_rows),
            samples=sampling.samples_of(asked),
            seed=seed,
            first_row=sampling.first_row_of(asked),
            time_remaining=call.time_remaining,
            background=self._background,
        )
        columns = {name: getattr(scores, name).astype(np.float32) for name in (o.name for o in part.outputs)}
        return columns, {"seed": seed}

    def _read(self, given: contents.GivenTensor, model: Model) -> Awaitable[Rows]:
        wire, field = on_the_wire.wire_of(model.modality), f"inputs[{model.modality.takes.name}]"
        return wire.read_tensor(given, field, model.max_rows, self._background)

    def _resolve(self, name: str, version: str) -> tuple[Model, Part]:
        owner, kind = parts.split(name)
        model = self._repository.resolve(owner, _version(version))
        return model, parts.part_of(model, kind)


class _OfStream:
    """One message of a stream, as a call."""

    def __init__(self, call: Call, message: bytes) -> None:
        self._message = message
        self.time_remaining = call.time_remaining
        self.invocation_metadata = call.invocation_metadata
        self.next, self.write = call.next, call.write

    async def read(self) -> bytes:
        return self._message


def _id_of(raw: bytes) -> str:
    """So that the caller knows which of its requests failed; empty if the message cannot be read."""
    try:
        found: str = parsed(message("ModelInferRequest"), raw).id
    except InvalidInput:
        return ""
    return found


def _sample_request(request: Any, model: Model) -> pb.SampleRequest:
    """What the parameters ask for, as our own API asks for it."""
    asked = pb.SampleRequest()
    _set(asked, "seed", parameters.integer(request, "seed", bits=64))
    _set(asked, "first_row", parameters.integer(request, "first_row"))
    _set(asked, "temperature", parameters.number(request, "temperature"))
    pool, near = parameters.text(request, "pool"), parameters.numbers(request, "near", model.latents)
    spread = parameters.number(request, "spread")
    if pool is not None and near is not None:
        raise InvalidInput("parameters", "want pool or near, came both")
    if (spread is None) != (near is None):
        raise InvalidInput("parameters", "want near and spread together, came one of them")
    if pool is not None:
        asked.pool = pool
    if near is not None:
        centre = np.array(near, np.float32).reshape(1, *model.manifest.latent_shape)
        asked.neighbourhood.latent.CopyFrom(tensors.from_array(centre))
        _set(asked.neighbourhood, "spread", spread)
    return asked


def _set(asked: Any, name: str, value: Any) -> None:
    if value is not None:
        setattr(asked, name, value)


def _version(text: str) -> int:
    """0 stands for the one in service."""
    if not text:
        return 0
    if len(text) > _LONGEST_VERSION or not (text.isascii() and text.isdigit()) or not int(text):
        raise InvalidInput("model_version", "want a positive integer, or nothing for the highest in service")
    return int(text)


def _bytes(kind: str, /, **fields: Any) -> bytes:
    serialised: bytes = message(kind)(**fields).SerializeToString()
    return serialised
