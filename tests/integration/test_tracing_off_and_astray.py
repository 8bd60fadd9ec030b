"""Traces that are not wanted, cannot be had, or do not arrive; and what refers to those that do."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
import urllib.request

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from serving.server import running
from tests.support import collector, patience, process
from tests.support.collector import calls

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"tracing": "on"})


async def sample(server, count=1):
    await sample_at(server.grpc_address, count)


async def sample_at(address, count=1):
    async with grpc.aio.insecure_channel(address) as channel:
        for _ in range(count):
            await VaeServiceStub(channel).Sample(pb.SampleRequest(count=2), timeout=patience.SECONDS)


def outcome(server, name):
    return server.metrics.registry.get_sample_value("vae_trace_spans_total", {"outcome": name})


def refuse(handler):
    handler.send_error(400, "no such tenant")


def redirect(handler):
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:1/login")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def endless(handler):
    """Until the other end goes."""
    handler.send_response(500)
    handler.send_header("Content-Length", str(1 << 40))
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(1 << 16))


@pytest.mark.parametrize(
    ("behave", "reason"),
    [(refuse, "no such tenant"), (redirect, "it answers 302"), (endless, "Internal Server Error")],
)
async def test_what_a_collector_does_not_take_is_counted(settings, monkeypatch, caplog, behave, reason):
    """And told of once, with what the collector said of it; calls are answered as ever."""
    with collector.collecting(behave) as bad:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", bad.address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "5")
        async with running(settings) as server:
            for number in range(1, 4):
                await sample(server)
                await patience.until(lambda wanted=3 * number: outcome(server, "failed") == wanted)
    told = [
        record for record in caplog.records if record.name.startswith(("serving.tracing", "opentelemetry"))
    ]
    assert ["are lost" in record.getMessage() for record in told] == [True]
    assert reason in told[0].getMessage()


async def test_a_collector_that_is_not_there_holds_up_nobody(settings, monkeypatch, caplog):
    """Not the calls, and the end of the server no longer than a moment; a refused port, with its tries again."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(2 * patience.SECONDS))
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "5")
    async with asyncio.timeout(patience.SECONDS):
        async with running(settings) as server:
            await sample(server, 3)
    assert outcome(server, "sent") == 0
    assert "reach the collector" in caplog.text


async def test_a_silent_collector_holds_up_nobody(settings, monkeypatch, caplog):
    """It takes spans and never answers: what comes meanwhile is dropped, counted and told of once; the server ends
    while the collector still thinks."""
    answers = threading.Event()
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "5")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "6")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(2 * patience.SECONDS))
    with collector.collecting(lambda handler: answers.wait(2 * patience.SECONDS)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", silent.address)
        try:
            async with asyncio.timeout(patience.SECONDS):
                async with running(settings) as server:
                    await sample(server)
                    await silent.served()
                    await sample(server, 7)
                    assert (outcome(server, "sent"), outcome(server, "dropped")) == (0, 15)
            assert not answers.is_set()
        finally:
            answers.set()
    assert caplog.text.count("more are dropped") == 1
    assert "9 spans did not reach the collector" in caplog.text


async def test_spans_go_on_when_the_collector_is_back(settings, monkeypatch, caplog):
    """One line says that they are lost, and one that they arrive again."""
    works = threading.Event()
    caplog.set_level(logging.INFO)

    def behave(handler):
        answer = collector.accept if works.is_set() else refuse
        answer(handler)

    with collector.collecting(behave) as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "5")
        async with running(settings) as server:
            await sample(server)
            await patience.until(lambda: outcome(server, "failed") == 3)
            works.set()
            await sample(server)
            await patience.until(lambda: outcome(server, "sent") == 3)
    assert [caplog.text.count(words) for words in ("are lost", "reach the collector again; 3 were lost")] == [
        1,
        1,
    ]


@pytest.mark.parametrize("name", ["faces", ""])
async def test_the_variables_reach_the_collector(settings, heard, monkeypatch, name):
    """Headers, compression, the service's name and attributes are those of OpenTelemetry's own variables."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue,authorization=Basic%20abc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.version=9")
    async with running(settings) as server:
        await sample(server)
    assert {heard.headers[0][name] for name in ("x-tenant", "authorization")} == {"blue", "Basic abc"}
    assert heard.headers[0]["content-encoding"] == "gzip"
    resource = calls(heard.spans)[0].resource
    assert (resource["service.name"], resource["service.version"]) == (name or "vaeserve", "9")
    assert resource["deployment.environment.name"] == "test"


async def test_exemplars_are_there_for_who_asks_for_openmetrics(settings, heard):
    """Each names a sampled call that took as long as its bucket says; the page is valid, and plain text has none."""
    async with running(settings) as server:
        await sample(server, 5)
        page = await asyncio.to_thread(scraped, server, OPENMETRICS)
        plain = await asyncio.to_thread(scraped, server, "text/plain")
    exemplars = examples(page)
    assert exemplars
    traces = {(call.trace_id, call.span_id) for call in calls(heard.spans)}
    assert set(exemplars) <= traces
    assert "trace_id" not in plain


async def test_unsampled_calls_are_no_exemplars(settings, heard, monkeypatch):
    """Their traces are nowhere to be found."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    async with running(settings) as server:
        await sample(server, 5)
        assert not examples(await asyncio.to_thread(scraped, server, OPENMETRICS))


def test_workers_show_their_exemplars_on_one_page(repository, heard):
    """The joined page is valid, exemplars and all."""
    with process.serving(repository, "--workers", "2", "--tracing", "on") as server:
        asyncio.run(sample(server, 3))
        assert examples(scraped(server, OPENMETRICS))
        assert server.terminate() == 0
    assert len(calls(heard.spans)) == 3


def scraped(server, accept):
    request = urllib.request.Request(f"http://{server.metrics_address}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def examples(page):
    """Trace and span of the exemplars of how long requests took, each in the bucket that it is in."""
    assert page.endswith("# EOF\n")
    found, below = [], 0.0
    for family in text_string_to_metric_families(page):
        for one in family.samples:
            if one.name == "vae_request_duration_seconds_bucket":
                bound = float(one.labels["le"])
                if one.exemplar:
                    assert (below if below < bound else 0.0) < one.exemplar.value <= bound
                    found.append((one.exemplar.labels["trace_id"], one.exemplar.labels["span_id"]))
                below = bound
            else:
                assert not one.exemplar
    return found


def test_lines_of_a_call_name_its_trace(repository, heard, tmp_path):
    """In JSON as fields of their own, in text at the end of the line, before a traceback; other lines have none. A call
    that is not recorded is told of with the ids of its caller, if it named any."""
    code = (
        "import sys\n"
        "from serving import __main__\n"
        "from serving.api.servicer import VaeService\n"
        "async def fail(self, request, call): raise RuntimeError('odd')\n"
        "VaeService.Encode = fail\n"
        "sys.exit(__main__.main(sys.argv[1:]))\n"
    )
    for form in ("json", "text"):
        log = tmp_path / form
        flags = process.command(repository, "--tracing", "on", "--log-format", form)[3:]
        command = [sys.executable, "-c", code, *flags]
        with (
            log.open("w") as stderr,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as server,
        ):
            address = process.READY.search(server.stdout.readline())[1]
            asyncio.run(failing(address))
            server.terminate()
    first, second = calls(heard.spans)
    lines = [json.loads(line) for line in (tmp_path / "json").read_text().splitlines()]
    recorded, unrecorded = (line for line in lines if "trace_id" in line)
    assert "RuntimeError: odd" in recorded["exception"]
    assert (recorded["message"], recorded["trace_id"]) == ("Encode failed", first.trace_id)
    assert recorded["span_id"] == first.span_id
    assert (unrecorded["trace_id"], unrecorded["span_id"]) == ("a" * 32, "b" * 16)
    text = (tmp_path / "text").read_text()
    for trace_id, span_id in ((second.trace_id, second.span_id), ("a" * 32, "b" * 16)):
        assert f"Encode failed trace_id={trace_id} span_id={span_id}\nTraceback" in text


async def failing(address):
    """Two calls, of the second of which its caller wants no record."""
    async with grpc.aio.insecure_channel(address) as channel:
        for header in ((), (("traceparent", f"00-{'a' * 32}-{'b' * 16}-00"),)):
            with pytest.raises(grpc.aio.AioRpcError, match="INTERNAL"):
                await VaeServiceStub(channel).Encode(pb.EncodeRequest(), metadata=header)


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("opentelemetry", "requests")))
from serving.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_off_needs_no_opentelemetry(repository):
    """Without the extra a server serves; asked for traces, it ends with the command that installs what they need."""
    flags = process.command(repository)[3:]
    command = [sys.executable, "-c", WITHOUT, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as without:
        asyncio.run(sample_at(process.READY.search(without.stdout.readline())[1]))
        without.terminate()
    assert without.returncode == 0
    done = subprocess.run(
        [*command, "--tracing", "on"], capture_output=True, text=True, timeout=patience.SECONDS, check=False
    )
    wanted = "--tracing on: want OpenTelemetry installed, pip install 'vaeserve[tracing]'"
    assert (done.returncode, wanted in done.stderr) == (2, True)


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
async def test_the_variables_can_turn_it_off(settings, heard, monkeypatch, name, value):
    """As an operator of many services sets them for all of them."""
    monkeypatch.setenv(name, value)
    async with running(settings) as server:
        await sample(server)
    assert not heard.headers


def test_a_variable_that_is_wrong_ends_the_start(repository, monkeypatch):
    """With the variable, what was wanted and what came; several workers say it as one does."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratoi")
    code, line = process.refused(repository, "--tracing", "on")
    assert code == 2
    assert line.startswith("vae-serve: error: OTEL_TRACES_SAMPLER: want always_on, always_off")
    assert line.endswith("came 'parentbased_traceidratoi'")
