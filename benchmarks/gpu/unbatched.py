"""gRPC with a graph run in its handler, on the event loop, and nothing else: one row alone cannot be much
quicker in Python. ONNX Runtime and gRPC measured apart, each as fast as it can, add up to less: a core that
waits for the other's part falls asleep.

    python -m benchmarks.gpu.unbatched --port 50051 --file decoder.onnx --device cuda
"""

import argparse
import asyncio
import signal
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop

from benchmarks.gpu.sessions import session
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire.tensors import from_array


async def _serve(port: int, graph: Any) -> None:
    (node,) = graph.get_inputs()

    async def decode(request: pb.DecodeRequest, _: Any) -> pb.DecodeResponse:
        latents = np.frombuffer(request.latents.data, "<f4").reshape(tuple(request.latents.shape))
        (images,) = graph.run(None, {node.name: latents})
        pixels = np.rint(images * np.float32(255)).astype(np.uint8)
        response = pb.DecodeResponse()
        response.images.tensor.CopyFrom(from_array(pixels))
        return response

    handler = grpc.unary_unary_rpc_method_handler(
        decode, pb.DecodeRequest.FromString, pb.DecodeResponse.SerializeToString
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1)])
    methods = grpc.method_handlers_generic_handler("vae.v1.VaeService", {"Decode": handler})
    server.add_generic_rpc_handlers((methods,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await stop.wait()
    await server.stop(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.unbatched")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    options = parser.parse_args()
    uvloop.run(_serve(options.port, session(options.file, options.device)))


if __name__ == "__main__":
    main()
