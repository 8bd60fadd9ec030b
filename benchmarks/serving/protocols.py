"""How a case is put to a server, and its answer checked: our own API, Open Inference Protocol, HTTP."""

import contextlib
import http.client
import struct
from typing import Any, Protocol

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.serving import oip
from benchmarks.serving.workloads import TOLERANCE, Case, Rows, Workload, WrongAnswer, compare
from serving.pb.vae.v1 import tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import images as formats

_TIMEOUT_S = 20.0
_SEED = 2**40
_FORMATS = {
    "float32": tensors_pb2.IMAGE_FORMAT_FLOAT32,
    "uint8": tensors_pb2.IMAGE_FORMAT_UINT8,
    "png": tensors_pb2.IMAGE_FORMAT_PNG,
}
_HALF_A_LEVEL = 0.5 / 255


class Wire(Protocol):
    """A protocol; ``path`` and ``body`` are what the load generator posts."""

    http1: bool
    media_type: str | None

    def path(self, workload: Workload) -> str: ...

    def body(self, case: Case) -> bytes: ...

    def reply_bytes(self, port: int, case: Case) -> int:
        """Ask once as a real client does and check the answer; returns the size of its body.

        Raises:
            WrongAnswer: the answer is not raw ONNX Runtime's.
            OSError, grpc.RpcError: there was none.
        """


def framed(message: bytes) -> bytes:
    """A gRPC message on the wire: not compressed, its length, itself."""
    return struct.pack(">BI", 0, len(message)) + message


def grpc_call(port: int, path: str, message: bytes, timeout_s: float = _TIMEOUT_S) -> bytes:
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        grpc.channel_ready_future(channel).result(timeout_s)
        return bytes(channel.unary_unary(path)(message, timeout=timeout_s))


def http_call(port: int, path: str, body: bytes, media_type: str | None) -> bytes:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)) as connection:
        connection.request("POST", path, body, {"content-type": media_type} if media_type else {})
        response = connection.getresponse()
        reply = response.read()
    if response.status != 200:
        raise ConnectionError(f"HTTP status {response.status}: {reply[:200]!r}")
    return reply


class VaeV1:
    """``vae.v1.VaeService``. ``checked`` is off for a server that always gives the same bytes."""

    http1 = False
    media_type: str | None = "application/grpc"

    def __init__(self, checked: bool = True) -> None:
        self._checked = checked

    def path(self, workload: Workload) -> str:
        return f"/vae.v1.VaeService/{workload.method}"

    def body(self, case: Case) -> bytes:
        return framed(self.request(case).SerializeToString())

    def request(self, case: Case, include_latents: bool = False) -> Any:
        workload = case.workload
        model = {"name": workload.model}
        form = _FORMATS[workload.form]
        if workload.method == "Sample":
            return pb.SampleRequest(
                model=model,
                count=workload.rows,
                seed=_SEED,
                image_format=form,
                include_latents=include_latents,
            )
        if workload.method == "Encode":
            return pb.EncodeRequest(model=model, images={"tensor": _tensor(case.inputs)})
        return pb.DecodeRequest(model=model, latents=_tensor(case.inputs), image_format=form)

    def reply_bytes(self, port: int, case: Case) -> int:
        reply = self._call(port, case, self.request(case))
        if self._checked:
            self.check(case, self._call(port, case, self.request(case, include_latents=True)))
        return len(framed(reply))

    def _call(self, port: int, case: Case, request: Any) -> bytes:
        return grpc_call(port, self.path(case.workload), request.SerializeToString())

    def check(self, case: Case, reply: bytes) -> None:
        """Raises WrongAnswer."""
        if case.workload.method == "Encode":
            encoded = pb.EncodeResponse.FromString(reply)
            mean, log_var = case.outputs()
            compare("mean", _array(encoded.mean), mean)
            compare("log_var", _array(encoded.log_var), log_var)
        elif case.workload.method == "Sample":
            sampled = pb.SampleResponse.FromString(reply)
            latents = _array(sampled.latents).astype(np.float32)
            if latents.shape != case.inputs.shape:
                raise WrongAnswer(f"latents: want shape {case.inputs.shape}, came {latents.shape}")
            _check_images(case.workload, sampled.images, case.outputs(latents)[0])
        else:
            _check_images(case.workload, pb.DecodeResponse.FromString(reply).images, case.outputs()[0])


class VaeHttp(VaeV1):
    """The same by the Connect protocol over HTTP/1.1."""

    http1 = True
    media_type: str | None = "application/proto"

    def body(self, case: Case) -> bytes:
        body: bytes = self.request(case).SerializeToString()
        return body

    def reply_bytes(self, port: int, case: Case) -> int:
        return super().reply_bytes(port, case) - len(framed(b""))

    def _call(self, port: int, case: Case, request: Any) -> bytes:
        return http_call(port, self.path(case.workload), request.SerializeToString(), self.media_type)


class OpenInference:
    """``inference.GRPCInferenceService`` with raw tensors; the graphs' own tensor names."""

    http1 = False
    media_type: str | None = "application/grpc"

    def path(self, workload: Workload) -> str:
        return "/inference.GRPCInferenceService/ModelInfer"

    def body(self, case: Case) -> bytes:
        return framed(self.request(case))

    def request(self, case: Case) -> bytes:
        workload = case.workload
        return oip.infer_request(
            model_of(workload), {workload.input_name: case.inputs}, workload.output_names
        )

    def reply_bytes(self, port: int, case: Case) -> int:
        reply = grpc_call(port, self.path(case.workload), self.request(case))
        outputs = oip.outputs(reply)
        for name, wanted in zip(case.workload.output_names, case.outputs(), strict=True):
            if name not in outputs:
                raise WrongAnswer(f"no output {name}, only {', '.join(outputs) or 'none'}")
            compare(name, outputs[name], wanted)
        return len(framed(reply))


class RawHttp:
    """HTTP/1.1: the input's bytes in, the outputs' bytes one after the other out."""

    http1 = True
    media_type: str | None = None

    def path(self, workload: Workload) -> str:
        return f"/{model_of(workload)}"

    def body(self, case: Case) -> bytes:
        return case.inputs.astype("<f4").tobytes()

    def reply_bytes(self, port: int, case: Case) -> int:
        reply = http_call(port, self.path(case.workload), self.body(case), self.media_type)
        wanted = np.concatenate([output.ravel() for output in case.outputs()])
        compare("outputs", np.frombuffer(reply, "<f4"), wanted)
        return len(reply)


def model_of(workload: Workload) -> str:
    """The name under which a server that knows no VAEs serves the graph."""
    return f"{workload.model}_{workload.graph}"


def _tensor(rows: Rows) -> tensors_pb2.Tensor:
    return tensors_pb2.Tensor(
        dtype=tensors_pb2.DATA_TYPE_FLOAT32, shape=rows.shape, data=rows.astype("<f4").tobytes()
    )


def _array(tensor: tensors_pb2.Tensor) -> NDArray[np.generic]:
    dtype = "u1" if tensor.dtype == tensors_pb2.DATA_TYPE_UINT8 else "<f4"
    return np.frombuffer(tensor.data, dtype).reshape(tuple(tensor.shape))


def _check_images(workload: Workload, images: tensors_pb2.Images, wanted: Rows) -> None:
    if workload.form == "float32":
        compare("images", _array(images.tensor), wanted)
        return
    if workload.form == "png":
        pixels = formats.from_png(images.png.files, (wanted.shape[1], wanted.shape[2], wanted.shape[3]))
    else:
        pixels = _array(images.tensor).astype(np.uint8)
    compare("images", formats.to_float32(pixels, (0.0, 1.0)), wanted, _HALF_A_LEVEL + TOLERANCE)
