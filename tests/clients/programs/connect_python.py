"""PyPI's connectrpc: connect_python.py PROTOCOL HTTP_VERSION async|sync, run by the Python that has it.

The task comes as a line on stdin, what was seen goes as a line to stdout; then it lives on until stdin ends.
"""

import asyncio
import base64
import inspect
import json
import sys
import traceback

from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from protobuf import Oneof
from pyqwest import Client, HTTPTransport, HTTPVersion, SyncClient, SyncHTTPTransport
from vae.v1.models_pb import ModelRef
from vae.v1.tensors_pb import DataType, Images, Tensor
from vae.v1.vae_service_connect import VaeServiceClient, VaeServiceClientSync
from vae.v1.vae_service_pb import (
    DecodeRequest,
    EncodeRequest,
    ListModelsRequest,
    SampleRequest,
    SampleStreamRequest,
)


def client_for(address, protocol, version, is_async):
    options = {"protocol": ProtocolType[protocol], "send_compression": None}
    http = HTTPVersion.HTTP2 if version == "2" else HTTPVersion.HTTP1
    if is_async:
        transport = HTTPTransport(http_version=http)
        return VaeServiceClient(address, http_client=Client(transport), **options)
    transport = SyncHTTPTransport(http_version=http)
    return VaeServiceClientSync(address, http_client=SyncClient(transport), **options)


async def given(answer):
    """By either client."""
    return await answer if inspect.isawaitable(answer) else answer


async def read(stream, most=None):
    """The messages of a stream, which is left after so many."""
    parts = []
    if hasattr(stream, "__aiter__"):
        async for part in stream:
            parts.append(part)
            if len(parts) == most:
                await stream.aclose()
    else:
        for part in stream:
            parts.append(part)
            if len(parts) == most:
                stream.close()
    return parts


async def error_of(call):
    try:
        await call()
    except ConnectError as error:
        details = [[detail.type_name, text(detail.message_bytes)] for detail in error.details]
        return {"code": error.code.value, "message": error.message, "details": details}
    return {"code": "none"}


def text(raw):
    return base64.b64encode(raw).decode()


def tensor(encoded, shape):
    return Tensor(dtype=DataType.FLOAT32, shape=shape, data=base64.b64decode(encoded))


async def calls(client, task):
    async def names():
        listed = await given(client.list_models(ListModelsRequest()))
        return [model.model.name for model in listed.models]

    def sample_of(**fields):
        return client.sample(SampleRequest(**fields))

    count, seed = task["count"], int(task["seed"])
    endless = SampleStreamRequest(sample=SampleRequest(count=task["endlessRows"], seed=seed))
    ten = SampleStreamRequest(
        sample=SampleRequest(count=task["streamRows"], seed=seed), rows_per_response=task["rowsPerResponse"]
    )
    images = Images(content=Oneof("tensor", tensor(task["images"], task["imageShape"])))

    models = await names()
    sample = await given(sample_of(count=count, seed=seed))
    encoded = await given(client.encode(EncodeRequest(images=images)))
    latents = tensor(task["latents"], task["latentShape"])
    decoded = await given(client.decode(DecodeRequest(latents=latents)))
    parts = await read(client.sample_stream(ten))
    nobody = ModelRef(name=task["nobody"])
    missing = await error_of(lambda: given(sample_of(model=nobody, count=count, seed=seed)))
    wrong = await error_of(lambda: given(sample_of(count=0)))
    late = await error_of(lambda: read(client.sample_stream(endless, timeout_ms=task["deadlineMs"])))
    left = await read(client.sample_stream(endless), most=1)
    return {
        "models": models,
        "digest": sample.model.digest,
        "seed": str(sample.seed),
        "images": text(sample.images.content.value.data),
        "mean": text(encoded.mean.data),
        "logVar": text(encoded.log_var.data),
        "decoded": text(decoded.images.content.value.data),
        "firstRows": [part.first_row for part in parts],
        "streamed": [text(part.images.content.value.data) for part in parts],
        "missing": missing,
        "wrong": wrong,
        "late": late,
        "left": {"code": "none", "messages": len(left)},
        "afterwards": await names(),
    }


async def main(protocol, version, kind):
    task = json.loads(sys.stdin.readline())
    try:
        seen = await calls(client_for(task["address"], protocol, version, kind == "async"), task)
    except Exception:
        seen = {"failed": traceback.format_exc()}
    print(json.dumps(seen), flush=True)
    sys.stdin.read()


asyncio.run(main(*sys.argv[1:]))
