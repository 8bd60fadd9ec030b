"""Tables behind both doors, and as Open Inference Protocol sees them."""

import json
import re
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from serving.bundle.tables import to_features
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from tests.integration.test_both_doors import by_grpc, error_of, plain
from tests.integration.test_open_inference import arrays, ask, count, raw_request, refusal
from tests.support import http_calls, toy, toy_table
from tests.support.http_calls import SERVICE

ROWS = toy_table.ROWS
HOLES = [{"id": 7, "age": 30}, {"age": 64, "work": None}]
FEATURES = to_features(toy_table.SCHEMA, toy_table.cells(ROWS))
COLUMNS = "RECORD_FORMAT_COLUMNS"
CALLS = {
    "sample": ("Sample", {"count": 5, "seed": "3"}),
    "sample columns": ("Sample", {"count": 5, "seed": "3", "recordFormat": COLUMNS}),
    "sample given": (
        "Sample",
        {"count": 5, "seed": "3", "given": {"rows": [{"age": 39, "work": "Private"}]}},
    ),
    "encode": ("Encode", {"records": {"rows": ROWS}}),
    "reconstruct": ("Reconstruct", {"records": {"rows": ROWS}}),
    "score": ("Score", {"records": {"rows": ROWS}, "seed": "1"}),
    "impute": ("Impute", {"records": {"rows": HOLES}, "seed": "1", "draws": "3"}),
    "interpolate": ("Interpolate", {"records": {"rows": ROWS}, "steps": "3"}),
    "get": ("GetModel", {}),
    "a list in a cell": ("Encode", {"records": {"rows": [{"age": [1]}]}}),
    "a text in a number": ("Score", {"records": {"rows": [*ROWS, {**ROWS[0], "age": "é" * 300}]}}),
    "no such column": ("Encode", {"records": {"rows": [{f"c{n}" * 20: n} for n in range(3)]}}),
    "10,000 columns": ("Encode", {"records": {"rows": [{f"c{n}": n for n in range(10_000)}]}}),
    "no rows": ("Encode", {"records": {}}),
    "images": ("Encode", {"images": {"png": {"files": []}}}),
    "given to nothing": ("Sample", {"count": 1, "given": {}}),
}


@pytest.fixture
def repository(tmp_path):
    toy_table.make_bundle(tmp_path)
    return tmp_path


@pytest.fixture
async def client(server):
    async with http_calls.client(server) as made:
        yield made


@pytest.mark.parametrize(("method", "asked"), CALLS.values(), ids=CALLS)
async def test_both_doors_give_the_same(server, client, method, asked):
    """The same bytes by gRPC and Connect, and the same message by JSON, rows as people write them; errors too, in
    one line."""
    message = json_format.ParseDict(asked | {"model": {"name": "people"}}, getattr(pb, f"{method}Request")())
    wanted, status = await by_grpc(server, message)
    answer = await http_calls.connect(client, method, message.SerializeToString())
    text = await http_calls.connect_json(client, method, asked | {"model": {"name": "people"}})
    if status is None:
        assert answer.content == wanted
        parsed = getattr(pb, f"{method}Response")()
        json_format.Parse(text.text, parsed)
        assert parsed == type(parsed).FromString(wanted)
        return
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "\n" not in status.message
    for failed in (answer, text):
        assert plain(failed.json()) == error_of(status)


async def test_the_line_that_readers_are_given(client):
    """What docs/calling.md tells to send is taken as it is printed."""
    page = (Path(__file__).parents[2] / "docs" / "calling.md").read_text()
    (body,) = re.findall(r"VaeService/Score --json '(\{.*?\})'$", page, re.DOTALL | re.MULTILINE)
    answer = await http_calls.connect_json(client, "Score", json.loads(body))
    assert answer.status_code == 200
    assert answer.json()["columns"][:2] == ["age", "work"]


async def test_json_is_what_people_write(client):
    """Columns in the order of the table, whole numbers without a point, and null where a cell is missing."""
    sampled = await http_calls.connect_json(client, "Sample", {"count": 40, "seed": "5"})
    rows = sampled.json()["records"]["rows"]
    assert [list(row) for row in rows] == [[column.name for column in toy_table.SCHEMA.columns]] * 40
    assert '"id": 101, "age": ' in sampled.text
    assert {type(row["age"]) for row in rows} == {int}
    assert None in {row["work"] for row in rows}
    scored = await http_calls.connect_json(client, "Score", {"records": {"rows": rows}})
    assert scored.json()["columnDistortion"]["shape"] == ["40", "6"]


async def test_as_many_rows_as_may_be_fit_a_message(settings):
    """What the server says it takes at once it takes in every form, and no row more; a stream as well."""
    columns = {"name": "age", "numbers": {"values": [30.0]}}
    chosen = settings.model_copy(update={"max_rows": 4096})
    async with running(chosen) as server, http_calls.client(server) as client:
        described = await http_calls.connect_json(client, "GetModel", {})
        most = int(described.json()["model"]["maxRows"])
        assert most == 4096
        for rows in (most, most + 1):
            message = json.dumps({"records": {"rows": [ROWS[0]] * rows}})
            answer = await http_calls.connect_json(client, "Encode", message.encode())
            assert (answer.status_code == 200) == (rows == most), answer.text[:300]
        drawn = await http_calls.connect_json(client, "Sample", {"count": most, "seed": "1"})
        again = {"records": {"rows": drawn.json()["records"]["rows"]}}
        assert (await http_calls.connect_json(client, "Encode", again)).status_code == 200
        columns["numbers"]["values"] *= most
        packed = {"records": {"columns": {"columns": [columns]}, "absent": "ABSENT_COLUMNS_UNKNOWN"}}
        assert (await http_calls.connect_json(client, "Encode", packed)).status_code == 200


async def test_texts_of_all_rows_fit_a_message(settings):
    """A column of which every row has a text of its own, an identifier that nobody looks at, is no reason to refuse."""
    texts = [f"record number {number}" for number in range(4096)]
    columns = [
        {"name": "age", "numbers": {"values": [30.0] * 4096}},
        *(
            {"name": name, "texts": {"dictionary": texts, "codes": list(range(4096))}}
            for name in ("id", "country")
        ),
    ]
    request = {"records": {"columns": {"columns": columns}, "absent": "ABSENT_COLUMNS_UNKNOWN"}}
    message = json_format.ParseDict(request, pb.EncodeRequest())
    async with (
        running(settings.model_copy(update={"max_rows": 4096})) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        raw = await channel.unary_unary(f"{SERVICE}Encode")(message.SerializeToString())
    assert pb.EncodeResponse.FromString(raw).mean.shape == [4096, toy.LATENTS]


async def test_parts_of_open_inference_take_features(server):
    """The encoder and the scorer take the features themselves, by the names of the manifest; the decoder and the
    sampler give the parameters of p(x|z)."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        told = await ask(channel, "ModelMetadata", name="people/encoder")
        assert [(given.name, list(given.shape)) for given in told.inputs] == [("features", [-1, 18])]
        encoded = arrays(
            await ask(channel, "ModelInfer", **raw_request("people/encoder", FEATURES, "features"))
        )
        mean = toy_table.encode(toy_table.cells(ROWS))
        np.testing.assert_allclose(encoded["mean"], mean, atol=1e-5)
        decoded = arrays(await ask(channel, "ModelInfer", **raw_request("people/decoder", mean, "latent")))
        np.testing.assert_allclose(decoded["parameters"], toy_table.decode(mean), atol=1e-4)
        drawn = arrays(
            await ask(channel, "ModelInfer", **raw_request("people/sampler", count(4), "count", "INT64"))
        )
        np.testing.assert_allclose(drawn["parameters"], toy_table.decode(drawn["latent"]), atol=1e-4)
        scored = arrays(
            await ask(channel, "ModelInfer", **raw_request("people/scorer", FEATURES, "features"))
        )
        np.testing.assert_allclose(scored["column_distortion"].sum(axis=1), scored["distortion"], rtol=1e-4)


BAD_FEATURES = {
    "a state": (12, 0.5, "column 'age', row 1: want a state of 1 (observed), 0 (unknown) or"),
    "missing where none is": (12, -1.0, "column 'age', row 1: want a state"),
    "half a code": (1, 0.5, "column 'work', row 1: want a whole code from 0"),
    "a code beyond": (3, 2.0, "column 'member', row 1: want a whole code from 0"),
    "a score of a category": (7, 1.0, "column 'work', row 1: want a score of at most"),
    "too large a score": (6, 1e6, "column 'age', row 1: want a score of at most 10000"),
}


@pytest.mark.parametrize(("place", "value", "message"), BAD_FEATURES.values(), ids=BAD_FEATURES)
async def test_features_that_no_record_has_are_refused(server, place, value, message):
    """A graph looks codes up: one that is not there would fail the batch of others."""
    features = FEATURES.copy()
    features[1, place] = value
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        code, words = await refusal(channel, **raw_request("people/encoder", features, "features"))
    assert code == "INVALID_ARGUMENT"
    assert f"inputs[features]: {message}" in words
