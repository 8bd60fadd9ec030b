"""The methods of every service that a door offers."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from operator import attrgetter
from typing import Any

from serving.api.frame import Behaviour, Call, Frame, Method
from serving.api.inference import OpenInference
from serving.api.servicer import VaeService
from serving.oip import schema
from serving.pb.vae.v1 import vae_service_pb2 as pb

SERVICE = "vae.v1.VaeService"
_DESCRIPTORS = {method.name: method for method in pb.DESCRIPTOR.services_by_name["VaeService"].methods}
NAMES = tuple(_DESCRIPTORS)
_MODEL_NAME: dict[str, Callable[[Any], str] | None] = {
    "SampleStream": attrgetter("sample.model.name"),
    "ListModels": None,
}
"""Where a request names its model, if not in ``model.name``."""
_STREAM = "ModelStreamInfer"
_PROBES = ("ServerLive", "ServerReady")


def vae_methods(servicer: VaeService) -> list[Method]:
    """Those of ``vae.v1.VaeService``."""
    return [
        Method(
            service=SERVICE,
            name=name,
            request_type=getattr(pb, f"{name}Request"),
            behave=_writing(getattr(servicer, name)) if streams else getattr(servicer, name),
            model_of=_MODEL_NAME.get(name, attrgetter("model.name")),
            writes=streams,
        )
        for name, streams in ((name, method.server_streaming) for name, method in _DESCRIPTORS.items())
    ]


def inference_methods(inference: OpenInference, frame: Frame) -> list[Method]:
    """Those of Open Inference Protocol; each message of its stream is answered like a call of its own."""
    found = [
        Method(
            service=schema.SERVICE,
            name=name,
            request_type=schema.request_of(name),
            behave=getattr(inference, name),
            model_of=inference.model_of(name),
            is_open=name in _PROBES,
        )
        for name in schema.METHODS
        if name != _STREAM
    ]
    infer = next(method for method in found if method.name == "ModelInfer")
    one = replace(infer, name=_STREAM)
    stream = Method(
        service=schema.SERVICE,
        name=_STREAM,
        request_type=None,
        behave=inference.stream(frame.answer(one, transport="grpc", is_part=True)),
        model_of=None,
        writes=True,
        pauses=True,
    )
    return [*found, stream]


def _writing(stream: Callable[[Any, Call], AsyncGenerator[bytes, None]]) -> Behaviour:
    """Send what a streaming method yields, each when the door's flow control lets it."""

    async def write(request: Any, call: Call) -> None:
        async with aclosing(stream(request, call)) as responses:
            async for response in responses:
                await call.write(response)

    return write
