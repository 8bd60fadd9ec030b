"""Traces of real calls, as a real collector hears of them."""

import asyncio
import contextlib
import threading
import time
from functools import partial

import grpc
import httpx
import numpy as np
import onnxruntime
import pytest

from serving.oip.schema import message
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from serving.server import running
from serving.wire.tensors import from_array
from tests.support import http_calls, patience, toy
from tests.support.collector import calls, children

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
SAMPLE = pb.SampleRequest(count=3, seed=1).SerializeToString()
TOO_MANY = pb.SampleRequest(count=100_000).SerializeToString()
DECODE = pb.DecodeRequest(latents=from_array(np.zeros((3, toy.LATENTS), np.float32))).SerializeToString()


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"tracing": "on"})


async def by_grpc(server, method, request, *, within_s=None, **headers):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary(f"/vae.v1.VaeService/{method}")
        return await call(request, timeout=within_s, metadata=tuple(headers.items()))


async def by_connect(server, method, request, **headers):
    async with httpx.AsyncClient(base_url=http_calls.address(server)) as client:
        return await http_calls.connect(client, method, request, **headers)


async def by_json(server, method, request, **headers):
    async with httpx.AsyncClient(base_url=http_calls.address(server)) as client:
        return await http_calls.connect_json(client, method, {"count": 3}, **headers)


async def by_grpc_web(server, method, request, **headers):
    async with httpx.AsyncClient(base_url=http_calls.address(server)) as client:
        return await http_calls.grpc_web(client, method, request, **headers)


@pytest.mark.parametrize(
    ("ask", "system"),
    [(by_grpc, "grpc"), (by_connect, "connectrpc"), (by_json, "connectrpc"), (by_grpc_web, "grpc")],
)
async def test_a_call_its_wait_and_its_batch_are_one_trace(settings, heard, ask, system):
    """Below the caller's span that of the call, below it queue and graph, one after the other, by every protocol."""
    async with running(settings) as server:
        await ask(server, "Sample", SAMPLE, **SAMPLED, tracestate="vendor=1")
        spans = await heard.served()
    (call,) = calls(spans)
    (queue,), (graph,) = children(spans, call, "queue"), children(spans, call, "graph")
    assert len(spans) == 3
    assert (call.name, call.trace_id, call.parent_id) == ("vae.v1.VaeService/Sample", TRACE, CALLER)
    assert call.attributes == {
        "rpc.system.name": system,
        "rpc.method": "vae.v1.VaeService/Sample",
        "vae.model": "toy",
        "vae.version": 1,
        "vae.rows": 3,
        "vae.batches": 1,
        **({"rpc.status_code": "OK"} if system == "grpc" else {}),
    }
    assert queue.attributes == {"vae.graph": "decoder", "vae.rows": 3}
    batch = {"vae.batch.rows": 3, "vae.batch.requests": 1}
    assert graph.attributes == {"vae.graph": "decoder", "vae.provider": "cpu", "vae.rows": 3, **batch}
    moments = [call.start_ns, queue.start_ns, queue.end_ns, graph.start_ns, graph.end_ns, call.end_ns]
    assert moments == sorted(moments)
    assert abs(call.start_ns - time.time_ns()) < patience.SECONDS * 1e9
    assert {span.state for span in spans} == {"vendor=1"}
    assert not any(span.is_error or span.links for span in spans)
    assert call.resource["service.name"] == "vaeserve"


@pytest.mark.parametrize(
    ("sampler", "flags", "recorded"),
    [
        (None, "01", True),
        (None, "00", False),
        (None, None, True),
        ("parentbased_always_off", "01", True),
        ("parentbased_always_off", None, False),
        ("always_on", "00", True),
        ("always_off", "01", False),
        ("parentbased_traceidratio", "00", False),
    ],
)
async def test_the_sampler_and_the_caller_say_what_is_recorded(
    settings, heard, monkeypatch, sampler, flags, recorded
):
    """Unless the sampler leaves the caller's choice out of account, it holds, on both doors."""
    if sampler:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-{flags}"} if flags else {}
    async with running(settings) as server:
        await by_grpc(server, "Sample", SAMPLE, **headers)
        await by_connect(server, "Sample", SAMPLE, **headers)
    assert len(calls(heard.spans)) == (2 if recorded else 0)  # what waits is sent at the end


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{CALLER}",
        f"00-{'0' * 32}-{CALLER}-01",
        f"ff-{TRACE}-{CALLER}-01",
        "0" * 5000,
    ],
)
@pytest.mark.parametrize("ask", [by_grpc, by_connect])
async def test_who_names_no_trace_begins_one(settings, heard, ask, header):
    """A malformed traceparent is as good as none, and the tracestate beside it is not looked at."""
    async with running(settings) as server:
        await ask(server, "Sample", SAMPLE, traceparent=header, tracestate="vendor=1")
    (call,) = calls(heard.spans)
    assert (call.parent_id, call.state) == ("", "")
    assert call.trace_id not in (TRACE, "0" * 32)


@pytest.mark.parametrize("state", ["=evil=", "evil", "evil=1,evil=2", "Evil=1"])
@pytest.mark.parametrize("ask", [by_grpc, by_connect])
async def test_a_malformed_tracestate_is_left_out(settings, heard, caplog, ask, state):
    """The traceparent beside it holds, and no line of the log quotes it."""
    async with running(settings) as server:
        await ask(server, "Sample", SAMPLE, **SAMPLED, tracestate=state)
    (call,) = calls(heard.spans)
    assert (call.trace_id, call.parent_id, call.state) == (TRACE, CALLER, "")
    assert "evil" not in caplog.text.lower()


@pytest.fixture
def held(monkeypatch):
    """A gate in front of every graph; open at first, and all that is behind it is slow enough to be queued for."""
    gate, run = threading.Event(), onnxruntime.InferenceSession.run
    gate.set()

    def gated(self, *arguments):
        time.sleep(0.002)
        gate.wait(patience.SECONDS)
        return run(self, *arguments)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", gated)
    yield gate
    gate.set()


async def test_calls_that_share_a_batch_are_linked(settings, heard, held):
    """Each has a span of the batch in its own trace; the first's links to all other calls, theirs to the first's."""
    settings = settings.model_copy(update={"threads": 1})
    async with running(settings) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        decode = channel.unary_unary("/vae.v1.VaeService/Decode")
        held.clear()
        first = await busy(server)
        others = [asyncio.ensure_future(decode(DECODE)) for _ in range(5)]
        await queued(server, 15)
        held.set()
        await asyncio.gather(first, *others)
        spans = await heard.served(6)
    shared = [span for span in spans if span.attributes.get("vae.batch.requests") == 5]
    assert {span.attributes["vae.batch.rows"] for span in shared} == {15}
    (hub,) = (span for span in shared if len(span.links) == 4)
    servers = {(call.trace_id, call.span_id) for call in calls(spans)}
    assert set(hub.links) == {
        (call.trace_id, call.span_id)
        for call in calls(spans)
        if call.trace_id in {span.trace_id for span in shared} - {hub.trace_id}
    }
    assert all(link in servers for link in hub.links)
    assert [span.links for span in shared if span is not hub] == [[(hub.trace_id, hub.span_id)]] * 4


async def queued(server, rows):
    """Returns once so many rows wait for the decoder."""
    labels = {"model": "toy", "graph": "decoder"}
    await patience.until(lambda: server.metrics.registry.get_sample_value("vae_queue_rows", labels) == rows)


async def busy(server):
    """A call that is at the graph, which is held."""
    calling = asyncio.create_task(by_grpc(server, "Decode", DECODE))
    labels = {"model": "toy", "method": "Decode"}
    inflight = partial(server.metrics.registry.get_sample_value, "vae_inflight_requests", labels)
    await patience.until(inflight)
    await queued(server, 0)
    return calling


async def cancelled(server, ask):
    calling = asyncio.create_task(ask(server, "Decode", DECODE))
    await queued(server, 3)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await queued(server, 0)


async def test_every_end_of_a_call_has_its_code(settings, heard, held):
    """Refused, expired and cancelled calls are told apart, on both doors; only what is the server's fault is an error.

    Of those that left the queue the time in it is known."""
    async with running(settings.model_copy(update={"threads": 1})) as server:
        with pytest.raises(grpc.aio.AioRpcError, match="INVALID_ARGUMENT"):
            await by_grpc(server, "Sample", TOO_MANY)
        assert (await by_connect(server, "Sample", TOO_MANY)).status_code == 400
        held.clear()
        calling = await busy(server)
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            await by_grpc(server, "Decode", DECODE, within_s=0.5)
        assert (
            await by_connect(server, "Decode", DECODE, **{"connect-timeout-ms": "500"})
        ).status_code == 504
        await cancelled(server, by_grpc)
        await cancelled(server, by_connect)
        held.set()
        await calling
    spans = heard.spans
    found = [
        (call.attributes["rpc.system.name"], call.attributes["rpc.status_code"]) for call in calls(spans)
    ]
    codes = ("INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "CANCELLED")
    wanted = [*(("grpc", code) for code in codes), *(("connectrpc", code.lower()) for code in codes)]
    assert sorted(found) == sorted([*wanted, ("grpc", "OK")])
    for call in calls(spans):
        code = call.attributes["rpc.status_code"].upper()
        assert call.is_error == (code == "DEADLINE_EXCEEDED")
        assert call.attributes.get("error.type") == (
            call.attributes["rpc.status_code"] if call.is_error else None
        )
        assert len(children(spans, call, "queue")) == (0 if code == "INVALID_ARGUMENT" else 1)
        assert len(children(spans, call, "graph")) == (1 if code == "OK" else 0)


async def test_a_batch_that_fails_is_an_error_of_its_calls(settings, heard, monkeypatch, caplog):
    """The spans say so and not why; the line in the log, which says why, has the ids of the trace."""

    def fail(*_):
        raise RuntimeError("secret text of the runtime")

    run = onnxruntime.InferenceSession.run
    async with running(settings) as server:
        monkeypatch.setattr(server.repository.models[0]._decoder, "_graph", fail)
        with pytest.raises(grpc.aio.AioRpcError, match="INTERNAL"):
            await by_grpc(server, "Decode", DECODE, **SAMPLED)
        monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)
    (call,) = calls(heard.spans)
    (graph,) = children(heard.spans, call, "graph")
    assert (call.is_error, graph.is_error) == (True, True)
    assert graph.start_ns < graph.end_ns
    assert call.attributes["error.type"] == "INTERNAL"
    (line,) = (record for record in caplog.records if record.exc_info)
    assert (line.trace_id, line.span_id) == (TRACE, call.span_id)
    assert "secret" not in str(heard.spans)


async def test_nothing_of_a_request_is_in_its_spans(settings, heard, tmp_path):
    """Neither its token nor what it asks for: no text of a caller but the tracestate, no baggage, no seed."""
    token = tmp_path / "token"
    token.write_text("secret-token")
    request = pb.SampleRequest(count=2, seed=424_242, pool="one")
    unknown = pb.SampleRequest(count=2, model={"name": "secret-model"}, pool="secret-pool")
    headers = {"authorization": "Bearer secret-token", "baggage": "secret=baggage", "x-secret": "secret"}
    async with running(settings.model_copy(update={"auth_token_file": token})) as server:
        for ask in (by_grpc, by_connect, by_grpc_web):
            for asked in (request, unknown):
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await ask(server, "Sample", asked.SerializeToString(), **headers)
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await by_grpc(server, "Sample", SAMPLE, authorization="Bearer secret-wrong")
    assert len(calls(heard.spans)) == 7
    assert not any(word in str(heard.spans) for word in ("secret", "424242", "baggage", "one"))


async def test_a_long_stream_has_a_trace_of_bounded_size(settings, heard):
    """Some batches of it become spans; how many there were in all is with the call."""
    settings = settings.model_copy(update={"max_batch_rows": 8})
    request = pb.SampleStreamRequest(sample={"count": 800}, rows_per_response=8)
    async with running(settings) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        assert len([response async for response in VaeServiceStub(channel).SampleStream(request)]) == 100
    (call,) = calls(heard.spans)
    assert (call.attributes["vae.batches"], call.attributes["vae.rows"]) == (100, 800)
    assert len(children(heard.spans, call, "graph")) == len(children(heard.spans, call, "queue")) == 64


async def test_rest_is_traced_as_well(settings, heard):
    """By the method that it stands for; it is no protocol of remote calls that the conventions know."""
    latent = {"name": "latent", "shape": [1, toy.LATENTS], "datatype": "FP32", "data": [0.0] * toy.LATENTS}
    async with running(settings) as server, httpx.AsyncClient(headers=SAMPLED) as client:
        address = f"{http_calls.address(server)}/v2/models/toy%2Fdecoder/infer"
        answer = await client.post(address, json={"inputs": [latent]})
        assert answer.status_code == 200, answer.text
    (call,) = calls(heard.spans)
    assert (call.name, call.parent_id) == ("inference.GRPCInferenceService/ModelInfer", CALLER)
    assert (call.attributes["rpc.system.name"], call.attributes["rpc.status_code"]) == ("http", "OK")
    assert len(children(heard.spans, call, "graph")) == 1


async def test_a_stream_of_requests_is_one_call_and_probes_are_none(settings, heard):
    """The batches of each message of ModelStreamInfer are below the span of the whole."""
    infer = message("ModelInferRequest")(model_name="toy/decoder")
    infer.inputs.add(name="latent", datatype="FP32", shape=[1, toy.LATENTS])
    infer.raw_input_contents.append(np.zeros(toy.LATENTS, np.float32).tobytes())
    service = "/inference.GRPCInferenceService"
    async with running(settings) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        await channel.unary_unary(f"{service}/ServerReady")(b"")
        stream = channel.stream_stream(f"{service}/ModelStreamInfer")
        assert len([answer async for answer in stream(iter([infer.SerializeToString()] * 3))]) == 3
    (call,) = calls(heard.spans)
    assert call.name == "inference.GRPCInferenceService/ModelStreamInfer"
    assert call.attributes["vae.model"] == "toy"
    assert len(children(heard.spans, call, "graph")) == 3
