"""W3C Trace Context and OpenTelemetry's variables, as strangers and operators may write them."""

import gc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving.errors import StartupError
from serving.tracing.call_trace import BatchRun, CallTrace, Graph
from serving.tracing.standard_variables import Sampling, read
from serving.tracing.trace_context import SAMPLED, Parent, parent_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{SPAN}-01"
LIKE_ONE = st.from_regex(
    r"[0-9a-fA-F]{1,3}-[0-9a-fg]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-.{0,5})?", fullmatch=True
)
ALMOST = st.tuples(st.integers(0, len(HEADER) - 1), st.characters(codec="latin-1")).map(
    lambda change: HEADER[: change[0]] + change[1] + HEADER[change[0] + 1 :]
)


@given(st.text(max_size=80) | LIKE_ONE | ALMOST)
@example(HEADER)
@example(HEADER + "-more")
@example("cc" + HEADER[2:] + "-more")
@example("ff" + HEADER[2:])
@example(HEADER.upper())
@example(HEADER.replace(TRACE, "0" * 32))
@example(HEADER.replace(SPAN, "0" * 16))
def test_it_is_read_as_opentelemetry_reads_it(header):
    """Any header is taken or left as OpenTelemetry's own propagator does it, and with the same ids; but for spaces
    around it, which HTTP has taken away."""
    theirs = get_current_span(
        TraceContextTextMapPropagator().extract({"traceparent": header.strip(" \t\n")}, Context())
    ).get_span_context()
    ours = parent_of([("traceparent", header.strip(" \t\n"))])
    assert (ours is not None) == theirs.is_valid
    if ours:
        assert (int(ours.trace_id, 16), int(ours.span_id, 16)) == (theirs.trace_id, theirs.span_id)
        assert bool(ours.flags & SAMPLED) == theirs.trace_flags.sampled


def test_two_are_none():
    """Whoever sends two belongs to no trace, even if they are the same."""
    assert parent_of([("traceparent", HEADER)]) == Parent(TRACE, SPAN, 1, "")
    assert parent_of([("traceparent", HEADER)] * 2) is None
    assert parent_of([("traceparent", HEADER.encode())]) is None
    assert parent_of([("tracestate", "a=1")]) is None


def test_tracestate_is_joined_and_short():
    """Several are one list; one that is longer than everybody must carry is left out, and the parent stays."""
    assert (
        parent_of([("tracestate", "a=1"), ("traceparent", HEADER), ("tracestate", "b=2")]).state == "a=1,b=2"
    )
    assert parent_of([("traceparent", HEADER), ("tracestate", "a" * 513)]) == Parent(TRACE, SPAN, 1, "")


@given(st.integers(1, (1 << 128) - 1), st.floats(0, 1))
@example(1, 0.0)
@example((1 << 128) - 1, 1.0)
def test_a_share_is_the_share_that_opentelemetry_takes(trace_id, share):
    """Services that sample the same share sample the same traces."""
    ours = read({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": repr(share)}).sampling
    theirs = TraceIdRatioBased(share).should_sample(None, trace_id, "")
    assert ours.takes(trace_id) == theirs.decision.is_sampled()


@pytest.mark.parametrize(
    ("variables", "refused"),
    [
        (
            {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
            "OTEL_TRACES_SAMPLER: want always_on, .* came 'jaeger_remote'",
        ),
        ({"OTEL_TRACES_SAMPLER": "parentbased_"}, "OTEL_TRACES_SAMPLER: .* came 'parentbased_'"),
        *(
            (
                {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": share},
                rf"OTEL_TRACES_SAMPLER_ARG: want a number from 0 to 1, came '{share}'",
            )
            for share in ("1%", "1.1", "-0.1", "nan", "inf")
        ),
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER: want otlp or none, came 'jaeger'"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "want http/protobuf, came 'grpc'"),
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}, "want none or gzip or deflate, came 'zstd'"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "want http://host:port .* came 'collector:4317'"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:b"},
            "OTEL_EXPORTER_OTLP_ENDPOINT: want .* came 'http://a:b'",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://me:secret@host"}, "want http.* came 'host'"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "secret"}, "OTEL_EXPORTER_OTLP_HEADERS: want key=value[^']*$"),
        (
            {"OTEL_EXPORTER_OTLP_TIMEOUT": "0"},
            "OTEL_EXPORTER_OTLP_TIMEOUT: want a positive number, .* came '0'",
        ),
        (
            {"OTEL_BSP_SCHEDULE_DELAY": "soon"},
            "OTEL_BSP_SCHEDULE_DELAY: want a positive number, .* came 'soon'",
        ),
        ({"OTEL_BSP_SCHEDULE_DELAY": "1e300"}, "want a positive number, at most 1e.09, came '1e300'"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "OTEL_BSP_MAX_QUEUE_SIZE: want a positive number, .* came '-1'"),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "0.5"}, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: want a positive number"),
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "200"},
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: want at most the 100 of OTEL_BSP_MAX_QUEUE_SIZE, came '200'",
        ),
    ],
)
def test_wrong_variables_are_refused_by_name(variables, refused):
    """With what was wanted and what came; secrets that may stand beside are not shown."""
    with pytest.raises(StartupError, match=refused) as told:
        read(variables)
    assert "secret" not in str(told.value)


def test_empty_variables_are_not_set():
    """As the specification has it, and env files; what is not set has its defaults."""
    names = (
        "OTEL_TRACES_SAMPLER",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_SDK_DISABLED",
    )
    assert read(dict.fromkeys(names, " ")) == read({})
    assert read({}).sampling == Sampling(bound=1 << 64, parent_based=True)
    assert read({"OTEL_BSP_MAX_QUEUE_SIZE": "10"}).most_at_once == 10


def test_calls_do_not_keep_each_other():
    """Calls share batches with calls that share batches: what is kept of one of them leads to no other."""
    graph = Graph("toy", 1, "decoder", "cpu")
    traces = [CallTrace("a/B", number, None) for number in range(1, 4)]
    for pair in (traces[:2], traces[1:]):
        run = BatchRun(graph, 0.0, 1.0, rows=2, requests=2, failed=False)
        for trace in pair:
            trace.ran(run, 1)
    assert [len(run.members) for run, _, _ in traces[1].runs] == [2, 2]
    assert not {id(trace) for trace in traces[1:]} & {id(found) for found in reached(traces[0])}


def reached(start):
    """Every object of ours that it leads to."""
    found, ahead = [], [start]
    while ahead:
        ahead = [
            other
            for one in ahead
            for other in gc.get_referents(one)
            if not isinstance(other, type) and not any(other is known for known in found)
        ]
        found += ahead
    return found
