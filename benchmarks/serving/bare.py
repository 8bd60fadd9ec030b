"""The servers that mark the limits: gRPC with a canned reply, and gRPC with ONNX Runtime, no batching.

    python -m benchmarks.serving.bare --style aio --loop uvloop --port 50051 --reply reply.bin
    python -m benchmarks.serving.bare --style sync --port 50051 --repository models

They check nothing, count nothing and know one protobuf message in and one out.
"""

import argparse
import asyncio
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.models import LATENTS
from benchmarks.serving.sessions import single_threaded
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import images as formats

Rows = NDArray[np.float32]
Handlers = dict[str, Any]
Answer = Callable[[Any], Any]

SYNC_WORKERS = 4
"""Threads of the sync servers: two a core of a small machine; more only contend for the interpreter."""
_SERVICE = "vae.v1.VaeService"
_DIGEST = "0" * 64
_REQUESTS: dict[str, Any] = {
    "Decode": pb.DecodeRequest,
    "Encode": pb.EncodeRequest,
    "Sample": pb.SampleRequest,
}
_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]


class Graphs:
    """Each call is one run of a single-threaded session on the thread that handles it."""

    def __init__(self, repository: Path) -> None:
        self._encoders = {model: single_threaded(repository / model / "1/encoder.onnx") for model in LATENTS}
        self._decoders = {model: single_threaded(repository / model / "1/decoder.onnx") for model in LATENTS}
        self.methods: dict[str, Answer] = {
            "Decode": self.decode,
            "Encode": self.encode,
            "Sample": self.sample,
        }

    def decode(self, request: pb.DecodeRequest) -> pb.DecodeResponse:
        images = self._decode(request.model.name, _array(request.latents))
        return pb.DecodeResponse(model=_served(request), images=_write(images, request.image_format))

    def encode(self, request: pb.EncodeRequest) -> pb.EncodeResponse:
        feed = {"image": _array(request.images.tensor)}
        mean, log_var = self._encoders[request.model.name].run(["mean", "log_var"], feed)
        return pb.EncodeResponse(model=_served(request), mean=_tensor(mean), log_var=_tensor(log_var))

    def sample(self, request: pb.SampleRequest) -> pb.SampleResponse:
        rng = np.random.default_rng(request.seed)
        latents = rng.standard_normal((request.count, LATENTS[request.model.name]), np.float32)
        images = self._decode(request.model.name, latents)
        return pb.SampleResponse(
            model=_served(request),
            seed=request.seed,
            images=_write(images, request.image_format),
            latents=_tensor(latents) if request.include_latents else None,
        )

    def _decode(self, model: str, latents: Rows) -> Rows:
        (images,) = self._decoders[model].run(["image"], {"latent": latents})
        return np.asarray(images, np.float32)


def canned_reply(repository: Path, method: str, request: Any) -> bytes:
    """A whole reply, for the servers that always give the same."""
    return bytes(Graphs(repository).methods[method](request).SerializeToString())


def _served(request: Any) -> models_pb2.ServedModel:
    return models_pb2.ServedModel(name=request.model.name, version=1, digest=_DIGEST)


def _array(tensor: tensors_pb2.Tensor) -> Rows:
    return np.frombuffer(tensor.data, np.float32).reshape(tuple(tensor.shape))


def _tensor(array: NDArray[np.generic]) -> tensors_pb2.Tensor:
    dtype = tensors_pb2.DATA_TYPE_UINT8 if array.dtype == np.uint8 else tensors_pb2.DATA_TYPE_FLOAT32
    return tensors_pb2.Tensor(dtype=dtype, shape=array.shape, data=array.tobytes())


def _write(images: Rows, form: int) -> tensors_pb2.Images:
    if form == tensors_pb2.IMAGE_FORMAT_FLOAT32:
        return tensors_pb2.Images(tensor=_tensor(images))
    pixels = np.rint(images * np.float32(255)).astype(np.uint8)
    if form == tensors_pb2.IMAGE_FORMAT_UINT8:
        return tensors_pb2.Images(tensor=_tensor(pixels))
    return tensors_pb2.Images(png=tensors_pb2.PngImages(files=formats.to_png(pixels)))


def _handlers(arguments: argparse.Namespace) -> Handlers:
    if arguments.reply:
        reply = arguments.reply.read_bytes()
        echo = _handler(arguments.style, lambda _: reply)
        return dict.fromkeys(_REQUESTS, echo)
    methods = Graphs(arguments.repository).methods
    return {name: _handler(arguments.style, methods[name], _REQUESTS[name].FromString) for name in methods}


def _handler(style: str, answer: Answer, parse: Any = None) -> Any:
    serialise = (lambda message: message.SerializeToString()) if parse else None

    def call(request: Any, _: Any) -> Any:
        return answer(request)

    async def call_async(request: Any, _: Any) -> Any:
        return answer(request)

    behaviour = call_async if style == "aio" else call
    return grpc.unary_unary_rpc_method_handler(behaviour, parse, serialise)


async def _serve_aio(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, _handlers(arguments)),))
    server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    await server.start()
    await stop.wait()
    await server.stop(1)


def _serve_sync(arguments: argparse.Namespace) -> None:
    server = grpc.server(ThreadPoolExecutor(SYNC_WORKERS), options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, _handlers(arguments)),))
    server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    server.start()
    signal.sigwait([signal.SIGTERM])
    server.stop(1).wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--style", choices=("aio", "sync"), required=True)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--port", type=int, required=True)
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--reply", type=Path, help="file with the reply to every call")
    given.add_argument("--repository", type=Path, help="folder of the two models")
    arguments = parser.parse_args()
    if arguments.style == "sync":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        _serve_sync(arguments)
    elif arguments.loop == "uvloop":
        import uvloop

        uvloop.run(_serve_aio(arguments))
    else:
        asyncio.run(_serve_aio(arguments))


if __name__ == "__main__":
    main()
