"""What a client is asked to do, what it says it saw, and what is true by plain gRPC and by ONNX Runtime."""

import asyncio
import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from google.rpc import error_details_pb2, status_pb2

from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from serving.server import Running
from serving.wire.tensors import from_array
from tests.support import toy
from tests.support.patience import until

IMAGE_SHAPE = (1, 32, 32)
ROWS = 3
SEED = 2**63 + 7
"""More than a number of JavaScript holds, and than a signed one of 64 bits."""
NOBODY = "nïemand"
"""The name of no model."""
STREAM_ROWS, ROWS_PER_RESPONSE = 10, 4

Json = dict[str, Any]


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def raw(encoded: str) -> bytes:
    """Of base64, with its padding or without."""
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4))


@dataclass
class Witness:
    """Of one server."""

    server: Running
    transport: str
    """By which its calls are to be counted."""
    task: Json
    """For the client, as JSON: what to ask."""
    truth: Json
    """What it is to see."""
    tasks: set["asyncio.Task[Any]"]
    """Of the event loop, before any client came."""

    def count(self, method: str, code: str) -> float:
        """``vae_requests_total`` of the transport."""
        labels = {"model": "toy", "method": method, "transport": self.transport, "code": code}
        return self.server.metrics.registry.get_sample_value("vae_requests_total", labels) or 0.0

    async def settled(self, *, left: int = 1, late: int = 1) -> None:
        """Streams that were left are CANCELLED, nothing is in progress and no task is there of any call.

        Those whose deadline passed, ``late``, are either: the client may leave before it is told.
        """
        me = asyncio.current_task()
        in_flight = {"model": "toy", "method": "SampleStream"}
        read = self.server.metrics.registry.get_sample_value

        def has_settled() -> bool:
            cancelled, over = (
                self.count("SampleStream", code) for code in ("CANCELLED", "DEADLINE_EXCEEDED")
            )
            return (
                cancelled >= left
                and cancelled + over == left + late
                and read("vae_inflight_requests", in_flight) == 0
                and not {task for task in asyncio.all_tasks() - self.tasks if task is not me}
            )

        await until(has_settled)


async def witness(
    server: Running, stub: VaeServiceStub, bundle: Path, transport: str, address: str
) -> Witness:
    """Ask by plain gRPC, and compute with ONNX Runtime, what a client is to be told."""
    rng = np.random.default_rng(0)
    images = rng.random((ROWS, *IMAGE_SHAPE), np.float32)
    latents = rng.normal(size=(ROWS, toy.LATENTS)).astype(np.float32)
    sample = await stub.Sample(pb.SampleRequest(count=ROWS, seed=SEED))
    encoded = await stub.Encode(pb.EncodeRequest(images={"tensor": from_array(images)}))
    decoded = await stub.Decode(pb.DecodeRequest(latents=from_array(latents)))
    request = {"count": STREAM_ROWS, "seed": SEED}
    streamed = [
        part
        async for part in stub.SampleStream(
            pb.SampleStreamRequest(sample=request, rows_per_response=ROWS_PER_RESPONSE)
        )
    ]
    truth = {
        "models": ["toy"],
        "digest": sample.model.digest,
        "seed": str(SEED),
        "images": text(sample.images.tensor.data),
        "mean": text(encoded.mean.data),
        "logVar": text(encoded.log_var.data),
        "decoded": text(decoded.images.tensor.data),
        "firstRows": [int(part.first_row) for part in streamed],
        "streamed": [text(part.images.tensor.data) for part in streamed],
    }
    (mean, log_var), (decoded_again,) = (
        ort.InferenceSession(bundle / file).run(None, feed)
        for file, feed in (("encoder.onnx", {"image": images}), ("decoder.onnx", {"latent": latents}))
    )
    for name, array in (("mean", mean), ("logVar", log_var), ("decoded", decoded_again)):
        np.testing.assert_allclose(
            np.frombuffer(raw(truth[name]), np.float32), array.reshape(-1), rtol=1e-5, atol=1e-6
        )
    task = {
        "address": address,
        "nobody": NOBODY,
        "count": ROWS,
        "seed": str(SEED),
        "images": text(images.tobytes()),
        "imageShape": list(images.shape),
        "latents": text(latents.tobytes()),
        "latentShape": list(latents.shape),
        "streamRows": STREAM_ROWS,
        "rowsPerResponse": ROWS_PER_RESPONSE,
        "endlessRows": 10**7,
        "deadlineMs": 500,
    }
    return Witness(server, transport, task, truth, asyncio.all_tasks())


def check(seen: Json, truth: Json) -> None:
    """All that every client shows, as it is by gRPC."""
    for name, value in truth.items():
        assert seen.get(name) == value, name
    assert code(seen["missing"]) == "notfound"
    resource = detail(seen["missing"], error_details_pb2.ResourceInfo())
    assert (resource.resource_type, resource.resource_name) == ("model", NOBODY)
    assert seen["missing"]["message"] == resource.description
    assert code(seen["wrong"]) == "invalidargument"
    (violation,) = detail(seen["wrong"], error_details_pb2.BadRequest()).field_violations
    assert violation.field == "count"
    assert seen["wrong"]["message"] == f"count: {violation.description}"
    for error in ("missing", "wrong"):
        assert detail(seen[error], error_details_pb2.ErrorInfo()).domain == "vaeserve"
    assert code(seen["late"]) == "deadlineexceeded", seen["late"]
    assert seen["left"]["messages"] == 1
    assert code(seen["left"]) in ("canceled", "cancelled", "none")
    assert seen["afterwards"] == ["toy"]


def code(error: Json) -> str:
    """Each client spells them its own way."""
    return error["code"].replace("_", "").lower()


def detail(error: Json, into: Any) -> Any:
    """The one of this kind: the clients of Connect give them apart, those of gRPC in a status."""
    if "status" in error:
        status = status_pb2.Status.FromString(raw(error["status"]))
        found = [(packed.TypeName(), packed.value) for packed in status.details]
    else:
        found = [(kind, raw(value)) for kind, value in error["details"]]
    (value,) = [value for kind, value in found if kind == into.DESCRIPTOR.full_name]
    into.ParseFromString(value)
    return into
