"""The benchmark harness: what it reads from the load generator, what it writes, what it concludes."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.serving import h2load, models, oip, records, targets
from benchmarks.serving.protocols import OpenInference, VaeV1
from benchmarks.serving.workloads import WORKLOADS, Case, WrongAnswer
from serving import bundle
from serving.pb.vae.v1 import vae_service_pb2 as pb

OUTPUT = """finished in 1.30s, 4.62 req/s, 1.2KB/s
requests: 6 total, 7 started, 6 done, 6 succeeded, 0 failed, 0 errored, 0 timeout
traffic: 1.20KB (1234) total, 96B (96) headers (space savings 91.00%), 605B (605) data
"""
LOG = (
    "1000000\t200\t400\n"  # ends at 1.0004 s
    "1000400\t200\t600\n"
    "1001000\t200\t1000\n"
    "1002000\t200\t3000\n"
    "1003000\t200\t9000\n"
    "1004000\t200\t8000\n"
    "1013000\t-1\t100\n"  # cut off when h2load stopped
)


def test_latencies_are_those_of_the_requests_that_ended_between_the_readings():
    """Requests of the warm-up and of the tail count neither as done nor in a percentile."""
    found = h2load.latencies(LOG, OUTPUT, reply_bytes=100, begin=1.0005, end=1.0100)
    assert found.tolist() == [0.6, 1.0, 3.0]


@pytest.mark.parametrize(
    ("log", "reply_bytes", "words"),
    [
        (LOG, 101, "some calls failed"),  # an error travels under status 200 without a body
        (LOG.replace("1001000\t200", "1001000\t503"), 100, "came 503"),
        ("", 100, "no reply at all"),
    ],
)
def test_failed_requests_are_never_counted(log, reply_bytes, words):
    """A reply that is short, refused or missing makes the measurement an error."""
    with pytest.raises(h2load.LoadFailed, match=words):
        h2load.latencies(log, OUTPUT, reply_bytes=reply_bytes, begin=1.0, end=1.01)


def measurement(rate: float, p99_ms: float = 2.0) -> records.Measurement:
    return records.Measurement(
        requests=int(rate * 2), seconds=2, p50_ms=1, p99_ms=p99_ms, cpu_s=1, rss_mib=90, foreign_cpus=0
    )


def test_a_record_is_the_medians_of_its_rounds(tmp_path):
    """The keys are a promise to readers of serving.json; samples are rows."""
    rounds = [measurement(100), measurement(90, p99_ms=9.0), measurement(130)]
    record = records.summarise("vaeserve", WORKLOADS["mlp_64x8"], rounds)
    records.write_json(tmp_path / "serving.json", [record])
    assert records.read_json(tmp_path / "serving.json") == [record]
    assert (record.requests_per_s, record.samples_per_s, record.p99_ms) == (100, 6400, 2.0)
    assert record.cpu_s_per_1000_samples == pytest.approx(1000 / (200 * 64))
    assert (record.rounds, record.spread) == (3, pytest.approx(0.4))
    promised = {
        "server", "workload", "requests_per_s", "samples_per_s", "p50_ms", "p99_ms",
        "cpu_s_per_1000_samples", "rss_mib", "rounds",
    }  # fmt: skip
    assert promised <= set(vars(record))


def test_the_table_has_a_row_a_server_and_says_what_was_not_run():
    """A missing cell is a dash, never a zero."""
    table = records.markdown(
        [
            records.summarise("vaeserve", WORKLOADS["mlp_1x64"], [measurement(12_345)]),
            records.summarise("raw_ort", WORKLOADS["conv_64x8"], [measurement(109.4)]),
        ]
    )
    lines = table.splitlines()
    assert lines[2:6] == [
        "| server | `mlp_1x64` | `conv_64x8` |",
        "|---|---:|---:|",
        "| `vaeserve` | 12,345 | – |",
        "| `raw_ort` | – | 109 |",
    ]


def test_targets_need_what_they_compare_and_noise_is_told():
    """A target is judged only where both sides were run; unsteady controls mark the run."""
    ours = records.summarise("vaeserve", WORKLOADS["mlp_1x64"], [measurement(15_000)])
    echo = records.summarise("echo_aio", WORKLOADS["mlp_1x64"], [measurement(20_000)])
    assert targets.verdicts([ours], []) == []
    assert [verdict.passed for verdict in targets.verdicts([ours, echo], [])] == [True, True]
    slow = replace(ours, requests_per_s=11_000.0)
    assert [verdict.passed for verdict in targets.verdicts([slow, echo], [])] == [False, False]

    assert targets.too_noisy(targets.noise([ours, echo])) is None
    shaky = records.summarise("echo_aio", WORKLOADS["mlp_1x64"], [measurement(20_000), measurement(16_000)])
    assert "mlp_1x64" in (targets.too_noisy(targets.noise([ours, shaky])) or "")
    assert targets.too_noisy(targets.noise([replace(ours, foreign_cpus=0.5)])) is not None


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Both models of the benchmarks."""
    return models.make_repository(tmp_path_factory.mktemp("models"))


def test_the_models_are_sealed_bundles_and_wrong_answers_are_found(repository):
    """What is served is a bundle like any other; an answer off by 1e-3 is not raw ONNX Runtime's."""
    assert bundle.read(repository / "mlp" / "1").manifest.latent_shape == (16,)
    case = Case(WORKLOADS["mlp_1x1"], repository)
    (images,) = case.outputs()
    for error, wrong in ((0.0, False), (1e-3, True)):
        reply = pb.DecodeResponse()
        reply.images.tensor.dtype = 1
        reply.images.tensor.shape.extend(images.shape)
        reply.images.tensor.data = (images + np.float32(error)).tobytes()
        try:
            VaeV1().check(case, reply.SerializeToString())
        except WrongAnswer:
            assert wrong
        else:
            assert not wrong


def test_open_inference_messages_carry_raw_tensors(repository):
    """The hand-made messages have the wire format of the protocol: field numbers as published."""
    case = Case(WORKLOADS["mlp_1x1"], repository)
    request = OpenInference().request(case)
    assert request.startswith(b"\x0a\x0bmlp_decoder")  # field 1: model_name
    assert b"\x3a\x40" + case.inputs.tobytes() in request  # field 7: raw_input_contents, 64 bytes
    name, datatype, shape = b"\x0a\x05image", b"\x12\x04FP32", b"\x1a\x02\x01\x02"
    tensor = name + datatype + shape
    reply = b"\x2a" + bytes([len(tensor)]) + tensor + b"\x32\x08" + np.float32([1, 2]).tobytes()
    assert oip.outputs(reply)["image"].tolist() == [[1.0, 2.0]]
