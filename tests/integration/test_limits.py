"""What strangers and bad neighbours may make the server do: a bounded form of each attack that it did not stand."""

import asyncio
import logging
import socket
import urllib.request

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from serving.client import AsyncClient
from serving.doors import bodies
from serving.doors.grpc import streams_for
from serving.pb.vae.v1 import tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from serving.wire.tensors import from_array
from tests.support import patience, toy
from tests.support.http2 import Connection
from tests.support.patience import until

SAMPLE = pb.SampleRequest(count=1, seed=1)
ENCODE = "/vae.v1.VaeService/Encode"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


async def never():
    """Of the messages of a request, the one that does not come."""
    await asyncio.Event().wait()
    yield b""


async def nothing():
    return
    yield b""


def reason_of(error):
    """The ErrorInfo's reason; every error of ours has one, and is short."""
    (raw,) = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    status = status_pb2.Status.FromString(raw)
    assert len(raw) < 4096
    assert status.message == error.details()
    assert len(error.details().encode()) < 1000
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return info.reason


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def is_served(address):
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary("/vae.v1.VaeService/Sample")
        return len(await call(SAMPLE.SerializeToString(), timeout=patience.SECONDS)) > 0


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_requests_are_refused(server, algorithm):
    """2 MB of gzip are 2 GiB of zeros: nothing is unpacked, whoever sends it."""
    async with grpc.aio.insecure_channel(server.grpc_address, compression=algorithm) as channel:
        error = await refused(channel.unary_unary(ENCODE)(bytes(100_000)))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_call_without_the_token_is_refused_before_its_message(settings, tmp_path):
    """What it would have sent is neither waited for nor kept; so with reflection, while health needs no token."""
    secret = tmp_path / "token"
    secret.write_text("s3cret")
    async with (
        running(settings.model_copy(update={"auth_token_file": secret})) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        error = await refused(channel.stream_unary(ENCODE)(never()))
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        error = await refused(channel.stream_stream(REFLECT)(never()).read())
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED
        assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [(never, "DEADLINE_EXCEEDED", "REQUEST_UNFINISHED"), (nothing, "INVALID_ARGUMENT", "INVALID_INPUT")],
)
async def test_a_message_that_does_not_come_is_not_waited_for(settings, messages, code, reason):
    """A call that is begun and not gone on with ends after --request-s, one without a message at once."""
    async with (
        running(settings.model_copy(update={"request_s": 0.2})) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        error = await refused(channel.stream_unary(ENCODE)(messages()))
        assert (error.code().name, reason_of(error)) == (code, reason)
        assert server.metrics.calls_by_code() == {code: 1}


async def test_messages_that_come_slowly_are_few(settings, monkeypatch):
    """Each may be as large as a message can be, so one more than fit into 1 GiB is refused, and may be sent again."""
    monkeypatch.setattr(bodies, "_PROMPT_S", 0.01)
    monkeypatch.setattr(bodies, "_LOOK_S", 0.05)
    async with (
        running(settings.model_copy(update={"max_streams": 20})) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        calls = [asyncio.create_task(refused(channel.stream_unary(ENCODE)(never()))) for _ in range(20)]
        await until(lambda: sum(call.done() for call in calls) == 4)
        errors = [call.result() for call in calls if call.done()]
        assert {(error.code().name, reason_of(error)) for error in errors} == {
            ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS")
        }
        assert await is_served(server.grpc_address)
        for call in calls:
            call.cancel()


@pytest.mark.parametrize("sent", ["x" * 4000, "é" * 1000, "\0" * 4000, "\U0001f642" * 1000])
async def test_errors_do_not_say_everything_back(stub, sent):
    """A name of any length and alphabet is refused with all details: an error has to fit into the headers."""
    calls = [
        stub.Sample(pb.SampleRequest(model={"name": sent}, count=1)),
        stub.Sample(pb.SampleRequest(pool=sent, count=1)),
        stub.GetModel(pb.GetModelRequest(model={"name": sent})),
    ]
    for call in calls:
        error = await refused(call)
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize("axes", [9, 3000, 100_000])
async def test_axes_are_counted_before_they_are_said_back(stub, axes):
    error = await refused(
        stub.Decode(pb.DecodeRequest(latents=tensors_pb2.Tensor(dtype=1, shape=[1] * axes)))
    )
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    assert error.details() == f"latents.shape: want [rows, 3], came {axes} axes"


@pytest.mark.parametrize(
    ("method", "part", "words"),
    [
        ("Encode", b"\x12\x02\x12\x00", "want at most 4396 parts"),
        ("Encode", b"\x0a\x00", "want at most 4396 parts"),
        (
            "GetModel",
            pb.GetModelRequest(model={"name": "x" * 9000}).SerializeToString(),
            "want at most 256 KiB",
        ),
    ],
)
async def test_messages_of_many_parts_are_refused_before_they_are_parsed(server, method, part, words):
    """What is empty millions of times over, or names and shapes of megabytes."""
    message = part * ((16 << 20) // len(part))
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        error = await refused(channel.unary_unary(f"/vae.v1.VaeService/{method}")(message))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert words in error.details()


@pytest.mark.parametrize(("cpus", "streams"), [(1, 8), (2, 8), (4, 16), (64, 100)])
def test_streams_of_a_connection_go_with_the_cpus(cpus, streams):
    assert streams_for(cpus) == streams


async def test_one_connection_may_have_many_callers(settings):
    """They wait on their side for a place among the calls in progress: none is reset, none refused."""
    async with (
        running(settings.model_copy(update={"max_streams": 10})) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        call = channel.unary_unary("/vae.v1.VaeService/Sample")
        answers = await asyncio.gather(*(call(SAMPLE.SerializeToString()) for _ in range(300)))
    assert len(set(answers)) == 1


async def test_calls_that_are_taken_back_at_once_cost_next_to_nothing(server):
    """20,000 in one connection (CVE-2023-44487): hardly any reaches a handler, and others are served."""

    def flood():
        with Connection(server.grpc_address) as connection:
            for _ in range(20_000):
                connection.call(b"/vae.v1.VaeService/Sample", reset=True)

    await asyncio.to_thread(flood)
    assert await is_served(server.grpc_address)
    assert sum(server.metrics.calls_by_code().values()) < 5_000


async def test_watchers_that_do_not_read_hold_up_nobody(server, repository):
    """Health changes, and models are replaced, whatever watchers do with what they were told."""
    with Connection(server.grpc_address, window=0) as connection:
        question = health_pb2.HealthCheckRequest(service="toy").SerializeToString()
        for _ in range(50):
            connection.call(b"/grpc.health.v1.Health/Watch", question)
        for version in (2, 3):
            toy.make_bundle(repository, version=version, seed=version)
            await until(lambda version=version: server.repository.models[0].version == version)
    assert await is_served(server.grpc_address)


@pytest.mark.parametrize(
    "method", ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", REFLECT, ENCODE]
)
@pytest.mark.parametrize("message", [b"\xff", b"\x0a\xff\xff", b"\x0a\x01\xff"])
async def test_bytes_that_are_no_message_are_the_callers_error(server, caplog, method, message):
    """Whatever the service; nothing of Python is told, and nothing is logged."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        error = await refused(channel.unary_stream(method)(message).read())
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_paths_that_are_no_text_are_unknown_methods(server):
    """A path of any bytes harms nobody."""
    with Connection(server.grpc_address) as connection:
        for path in (b"/\xff\xfe/\x80", b"", b"/", b"//", b"/vae.v1.VaeService/\xff"):
            connection.call(path, b"")
        assert await is_served(server.grpc_address)


@pytest.mark.parametrize(
    ("setting", "code"), [("off", "UNIMPLEMENTED"), ("on", None), ("token", "UNAUTHENTICATED")]
)
async def test_reflection_is_for_whom_it_is_meant(settings, tmp_path, setting, code):
    """--reflection: for all, for who has the token, for nobody."""
    secret = tmp_path / "token"
    secret.write_text("s3cret")
    update = {"auth_token_file": secret, "reflection": setting}
    question = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    async with (
        running(settings.model_copy(update=update)) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        call = channel.unary_stream(REFLECT)(question)
        if code:
            assert (await refused(call.read())).code().name == code
        else:
            assert b"vae.v1.VaeService" in await call.read()


async def test_questions_to_reflection_are_short(server):
    """An unknown symbol is said back, so its length is bounded."""
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="x" * 5000).SerializeToString()
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        error = await refused(channel.unary_stream(REFLECT)(asked).read())
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_silent_connections_do_not_close_the_metrics(server):
    """Whoever opens connections and says nothing makes room for those who come after."""
    host, _, port = server.metrics_address.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(60)]
    for connection in silent:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nX: ")

    def scraped():
        with urllib.request.urlopen(
            f"http://{server.metrics_address}/metrics", timeout=patience.SECONDS
        ) as page:
            return page.read()

    assert b"vae_requests_total" in await asyncio.to_thread(scraped)
    for connection in silent:
        connection.close()


async def test_what_is_refused_was_not_drawn(settings, monkeypatch):
    """Of many large requests at once those get a place that the queue has room for; for the others no noise is
    drawn."""
    drawn = []
    from serving.api import sampling

    draw = sampling.standard_normal
    monkeypatch.setattr(sampling, "standard_normal", lambda *a: drawn.append(a[2]) or draw(*a))
    monkeypatch.setattr(
        "serving.host.background._SMALL", 0
    )  # all of it beside the loop, where others come between
    update = {"max_queue_rows": 600, "max_batch_rows": 4, "reload_s": 0.0}
    async with (
        running(settings.model_copy(update=update)) as server,
        AsyncClient(server.grpc_address) as client,
    ):
        answers = await asyncio.gather(
            *(client.sample("toy", 300, seed=1) for _ in range(40)), return_exceptions=True
        )
        refusals = [answer for answer in answers if isinstance(answer, Exception)]
        assert {answer.code for answer in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert sum(drawn) == 300 * (len(answers) - len(refusals))
        rejected = server.metrics.registry.get_sample_value(
            "vae_rejected_total", {"model": "toy", "reason": "queue_full"}
        )
        assert rejected == len(refusals)


async def test_a_place_is_given_back_when_the_rows_never_come(server):
    """Images that turn out to be bad, callers that leave: the queue is as free as before."""
    async with AsyncClient(server.grpc_address) as client:
        for _ in range(3):
            bad = pb.EncodeRequest(
                images={"tensor": from_array(np.full((300, *toy.IMAGE_SHAPE), 7, np.float32))}
            )
            async with grpc.aio.insecure_channel(server.grpc_address) as channel:
                error = await refused(channel.unary_unary(ENCODE)(bad.SerializeToString()))
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        (model,) = server.repository.models
        assert [queue._queue.expected for queue in model._queues.values()] == [0, 0]
        assert len((await client.sample("toy", 300)).images) == 300


async def test_messages_that_do_not_come_hold_up_no_stop(settings):
    """Nothing was begun for them: they are told to go elsewhere, and the stop does not take the whole grace."""
    async with running(settings.model_copy(update={"grace_s": 200.0})) as server:
        channel = grpc.aio.insecure_channel(server.grpc_address)
        call = asyncio.create_task(refused(channel.stream_unary(ENCODE)(never())))
        metrics = server.metrics
        await is_served(server.grpc_address)
    error = await call
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert metrics.calls_by_code() == {"OK": 1, "UNAVAILABLE": 1}
    await channel.close()


@pytest.mark.parametrize("method", ["/grpc.health.v1.Health/Check", REFLECT])
async def test_strangers_who_are_silent_hold_up_no_callers(settings, monkeypatch, method):
    """What is slow at health or reflection takes no place of the messages of our own service."""
    monkeypatch.setattr(bodies, "_PROMPT_S", 0.01)
    monkeypatch.setattr(bodies, "_LOOK_S", 0.05)
    async with (
        running(settings.model_copy(update={"max_streams": 60})) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        silent = [channel.stream_stream(method)(never()) for _ in range(40)]
        own = [asyncio.create_task(refused(channel.stream_unary(ENCODE)(never()))) for _ in range(5)]
        await asyncio.sleep(0.5)
        assert not any(call.done() for call in own)
        for call in (*silent, *own):
            call.cancel()


async def test_callers_who_leave_before_their_message_are_cancelled(server):
    """That is what they are counted as, not as having sent nothing."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        calls = [
            channel.stream_unary(ENCODE)(never()) for _ in range(5)
        ]  # fewer than one connection may have in progress
        # On the same connection, behind them.
        await channel.unary_unary("/vae.v1.VaeService/Sample")(SAMPLE.SerializeToString())
        for call in calls:
            call.cancel()
        await until(lambda: sum(server.metrics.calls_by_code().values()) == 6)
    assert server.metrics.calls_by_code() == {"CANCELLED": 5, "OK": 1}


@pytest.mark.parametrize("form", ["latents", "images"])
async def test_walks_are_admitted_before_they_are_made(settings, form):
    """A tiny request for many rows has a place in the decoder's queue from the first, or is refused."""
    points = {
        "latents": from_array(np.zeros((2, 3), np.float32)),
        "images": tensors_pb2.Images(tensor=from_array(np.zeros((2, *toy.IMAGE_SHAPE), np.float32))),
    }[form]
    request = pb.InterpolateRequest(steps=298, **{form: points}).SerializeToString()
    update = {"max_queue_rows": 300, "max_batch_rows": 4, "reload_s": 0.0}
    async with (
        running(settings.model_copy(update=update)) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        call = channel.unary_unary("/vae.v1.VaeService/Interpolate")
        answers = await asyncio.gather(*(call(request) for _ in range(30)), return_exceptions=True)
        refusals = [answer for answer in answers if isinstance(answer, Exception)]
        assert {error.code() for error in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        rejected = {"model": "toy", "reason": "queue_full"}
        assert server.metrics.registry.get_sample_value("vae_rejected_total", rejected) == len(refusals)
