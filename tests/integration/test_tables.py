"""What a server does with a model of tables."""

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from serving.bundle.tables import cells_of_columns, draw, most_likely
from serving.latent.noise import standard_normal, uniform
from serving.pb.vae.v1 import tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from serving.server import running
from serving.wire.tensors import from_array
from tests.support import toy, toy_table

PEOPLE = {"name": "people"}
COLUMNS = tensors_pb2.RECORD_FORMAT_COLUMNS
CELLS = toy_table.cells(toy_table.ROWS)


def records(rows, **options):
    return json_format.ParseDict({"rows": rows, **options}, tensors_pb2.Records())


def rows_of(response):
    return [json_format.MessageToDict(row) for row in response.records.rows]


def cells_of(response):
    """Of packed columns, by the modelled ones."""
    values = {}
    for column in response.records.columns.columns:
        missing = list(column.missing) or [False] * 10_000
        match column.WhichOneof("values"):
            case "numbers":
                found = list(column.numbers.values)
            case "booleans":
                found = list(column.booleans.values)
            case "texts":
                found = [column.texts.dictionary[code] for code in column.texts.codes]
            case _:
                found = [str(np.datetime64(time, "us").astype("M8[D]")) for time in column.times.microseconds]
        values[column.name] = [None if gone else value for value, gone in zip(found, missing, strict=False)]
    return cells_of_columns(toy_table.SCHEMA, values)


def array(tensor):
    return np.frombuffer(tensor.data, np.float32).reshape(tensor.shape)


def same(one, other):
    np.testing.assert_array_equal(one.states, other.states)
    np.testing.assert_allclose(one.values, other.values, rtol=1e-12)


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "models"
    toy_table.make_bundle(root)
    toy_table.make_bundle(root, "flow", with_flow=True)
    toy_table.make_bundle(root, "plain", with_score=False)
    toy.make_bundle(root, "digits", with_score=True)
    return root


@pytest.fixture
async def stub(settings):
    async with running(settings) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        yield VaeServiceStub(channel)


async def test_a_sample_is_drawn_from_p_x_z(stub):
    """Row i of a seed is what its noise gives: the latent by the first stream, each cell by the second; of a learned
    prior behind the prior's graph. The temperatures are apart."""
    noise = standard_normal(4, 2, 40, toy.LATENTS).astype(np.float32)
    uniforms = uniform(4, 2, 40, 3 * toy_table.COLUMNS).reshape(40, toy_table.COLUMNS, 3)
    asked = {"count": 40, "seed": 4, "first_row": 2, "record_format": COLUMNS, "include_latents": True}
    for name, latents in (("people", noise), ("flow", toy.flow(noise))):
        answer = await stub.Sample(pb.SampleRequest(model={"name": name}, **asked))
        np.testing.assert_allclose(array(answer.latents), latents, atol=1e-6)
        same(cells_of(answer), draw(toy_table.SCHEMA, toy_table.decode(latents), uniforms))
    cold = await stub.Sample(pb.SampleRequest(model=PEOPLE, **asked, observation_temperature=0))
    same(cells_of(cold), most_likely(toy_table.SCHEMA, toy_table.decode(noise)))
    cool = await stub.Sample(
        pb.SampleRequest(model=PEOPLE, **asked, observation_temperature=0.5, temperature=0.5)
    )
    halved = draw(toy_table.SCHEMA, toy_table.decode(noise / 2), uniforms, 0.5)
    same(cells_of(cool), halved)


async def test_identifiers_are_made_anew(stub):
    """Each row of a seed has its own, whatever part of it is asked for; the constant is put back."""
    whole = rows_of(await stub.Sample(pb.SampleRequest(model=PEOPLE, count=9, seed=1)))
    part = rows_of(await stub.Sample(pb.SampleRequest(model=PEOPLE, count=4, seed=1, first_row=5)))
    assert [row["id"] for row in whole] == list(range(101, 110))
    assert part == whole[5:]
    assert {row["country"] for row in whole} == {"NL"}


async def test_encode_decode_and_reconstruct(stub):
    """The posterior of records, by rows or columns; what a latent decodes to, most likely; both in one call."""
    given = records(toy_table.ROWS)
    answer = await stub.Encode(pb.EncodeRequest(model=PEOPLE, records=given))
    mean = toy_table.encode(CELLS)
    np.testing.assert_allclose(array(answer.mean), mean, atol=1e-5)
    decoded = await stub.Decode(
        pb.DecodeRequest(model=PEOPLE, latents=from_array(mean), record_format=COLUMNS)
    )
    wanted = most_likely(toy_table.SCHEMA, toy_table.decode(mean))
    same(cells_of(decoded), wanted)
    again = await stub.Reconstruct(pb.ReconstructRequest(model=PEOPLE, records=given, record_format=COLUMNS))
    same(cells_of(again), wanted)


async def test_scores_tell_which_cell_is_odd(stub):
    """The distortion is the sum of those of the columns; an unknown cell has none, a missing one has. The figures are
    those of p(x|z) itself."""
    request = pb.ScoreRequest(model=PEOPLE, records=records(toy_table.ROWS), seed=8, samples=5)
    answer = await stub.Score(request)
    noise = standard_normal(8, 0, 15, toy.LATENTS).astype(np.float32).reshape(3, 5, toy.LATENTS)
    by_column, rate, log_weight = toy_table.score(CELLS, noise)
    assert list(answer.columns) == [column.name for column in toy_table.SCHEMA.modelled]
    np.testing.assert_allclose(array(answer.column_distortion), by_column, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(array(answer.distortion), by_column.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(array(answer.rate), rate, rtol=1e-5)
    nll = np.log(5) - np.logaddexp.reduce(log_weight, axis=1)
    np.testing.assert_allclose(array(answer.nll), nll, rtol=1e-5)
    unknown = records([{"age": 39, "work": None}], absent="ABSENT_COLUMNS_UNKNOWN")
    odd = array((await stub.Score(pb.ScoreRequest(model=PEOPLE, records=unknown))).column_distortion)[0]
    assert (odd[2:] == 0).all()
    assert (odd[:2] > 0).all()


async def test_images_are_scored_without_columns(stub):
    """What tables have besides, an answer about images has not."""
    images = {"tensor": from_array(np.zeros((2, *toy.IMAGE_SHAPE), np.float32))}
    answer = await stub.Score(pb.ScoreRequest(model={"name": "digits"}, images=images))
    assert not answer.HasField("column_distortion")
    assert not answer.columns


async def test_interpolate_and_neighbourhood(stub):
    """Between records by their posterior means, whose most likely records the way passes; around one of them."""
    ends = records(toy_table.ROWS[:2])
    answer = await stub.Interpolate(
        pb.InterpolateRequest(
            model=PEOPLE, records=ends, steps=4, include_latents=True, record_format=COLUMNS
        )
    )
    latents = array(answer.latents)
    np.testing.assert_allclose(latents[[0, 4]], toy_table.encode(CELLS)[:2], atol=1e-5)
    same(cells_of(answer), most_likely(toy_table.SCHEMA, toy_table.decode(latents)))
    near = {"record": records(toy_table.ROWS[:1]), "spread": 0.0}
    around = await stub.Sample(
        pb.SampleRequest(model=PEOPLE, count=2, seed=1, neighbourhood=near, include_latents=True)
    )
    np.testing.assert_allclose(array(around.latents), np.repeat(latents[:1], 2, axis=0), atol=1e-5)


async def test_a_stream_is_the_sample_in_parts(stub):
    """Whatever the number of rows of a response, with given cells as well."""
    for source in ({}, {"given": records([{"age": 30}])}):
        asked = pb.SampleRequest(model=PEOPLE, count=290, seed=6, first_row=100, **source)
        whole = rows_of(await stub.Sample(asked))
        for portion in (0, 7):
            request = pb.SampleStreamRequest(sample=asked, rows_per_response=portion)
            parts = [rows_of(part) async for part in stub.SampleStream(request)]
            assert [row for part in parts for row in part] == whole


async def test_get_model_describes_the_table(stub):
    """The columns in order, with what may be in them; of images nothing, and the other way round."""
    model = (await stub.GetModel(pb.GetModelRequest(model=PEOPLE))).model
    assert (model.modality, model.likelihood, model.HasField("image")) == ("table", "columns", False)
    columns = {column.name: column for column in model.table.columns}
    assert list(columns) == [column.name for column in toy_table.SCHEMA.columns]
    assert list(columns["work"].categories) == ["Private", "State", "(rest)"]
    assert (columns["work"].nullable, columns["work"].has_rest, columns["work"].category_count) == (
        True,
        True,
        3,
    )
    assert (columns["age"].integer, columns["age"].least, columns["age"].most) == (True, 17, 90)
    assert columns["id"].made_anew
    assert columns["country"].constant.string_value == "NL"
    assert (columns["joined"].resolution, columns["joined"].has_zone) == (86400, False)
    assert [(order.least, order.most) for order in model.table.orders] == [("joined", "left")]
    digits = (await stub.GetModel(pb.GetModelRequest(model={"name": "digits"}))).model
    assert (digits.modality, digits.HasField("table"), digits.image.height) == ("image", False, 4)
