"""Cells that are filled, and records that are drawn of which some cells are known."""

import asyncio
from collections import Counter

import grpc
import numpy as np
import pytest

from serving.bundle.tables import Cells, impute
from serving.latent.noise import standard_normal, uniform
from serving.latent.resampling import resample
from serving.pb.vae.v1 import vae_service_pb2 as pb
from tests.integration.test_tables import (  # noqa: F401  # fixtures
    COLUMNS,
    PEOPLE,
    cells_of,
    records,
    repository,
    rows_of,
    same,
    stub,
)
from tests.support import toy, toy_table

SCHEMA = toy_table.SCHEMA
HOLES = [{"id": 7, "age": 30}, {"id": 9, "age": 64, "work": None, "member": "no"}, {"work": "State"}]


def filled(rows, seed, first, draws, samples):
    """By numpy alone, from what the service says of its seeds."""
    cells = toy_table.cells(rows, absent="unknown")
    noise = standard_normal(seed, first * samples, len(rows) * samples, toy.LATENTS).astype(np.float32)
    noise = noise.reshape(len(rows), samples, toy.LATENTS)
    _, _, weights = toy_table.score(cells, noise)
    choices = uniform(seed, first * draws, len(rows) * draws, 1, stream=2).reshape(len(rows), draws)
    chosen = resample(weights, choices)
    latents = toy_table.encode(cells)[:, None] + toy_table.DEVIATION * noise
    picked = latents[np.arange(len(rows))[:, None], chosen].reshape(-1, toy.LATENTS).astype(np.float32)
    count = len(rows) * draws
    uniforms = uniform(seed, first * draws, count, 3 * toy_table.COLUMNS).reshape(count, toy_table.COLUMNS, 3)
    known = cells.rows(np.repeat(np.arange(len(rows)), draws))
    return impute(SCHEMA, toy_table.decode(picked), uniforms, known)


async def test_holes_are_filled_by_importance_resampling(stub):  # noqa: F811
    """Every draw of every row is what the samples, weights, choices and uniforms of its seed give."""
    for draws, samples, first in ((1, 32, 0), (4, 20, 11)):
        request = pb.ImputeRequest(
            model=PEOPLE, records=records(HOLES), seed=5, draws=draws, samples=samples, first_row=first,
            record_format=COLUMNS,
        )  # fmt: skip
        answer = await stub.Impute(request)
        assert (answer.seed, answer.draws, answer.samples) == (5, draws, samples)
        same(cells_of(answer), filled(HOLES, 5, first, draws, samples))


async def test_what_was_given_stays(stub):  # noqa: F811
    """Observed cells, and identifiers where they came; no cell is missing any more."""
    rows = rows_of(await stub.Impute(pb.ImputeRequest(model=PEOPLE, records=records(HOLES), draws=2)))
    assert [row["id"] for row in rows[:4]] == [7, 7, 9, 9]
    assert [row["age"] for row in rows[:4]] == [30, 30, 64, 64]
    assert {row["member"] for row in rows[2:4]} == {False}
    assert {row["work"] for row in rows[4:]} == {"State"}
    assert all(value is not None for row in rows for name, value in row.items() if name != "id")


async def test_records_given_some_cells(stub):  # noqa: F811
    """All of them have those cells; the others follow p(x | given): the category beside is drawn as often as exact
    weights of 200,000 latents of the prior say, to five standard deviations."""
    given = {"age": 25, "member": True}
    asked = pb.SampleRequest(model=PEOPLE, count=300, seed=4, given=records([given]), samples=4096)
    rows = [row for first in range(0, 2400, 300) for row in rows_of(await stub.Sample(_at(asked, first)))]
    assert {(row["age"], row["member"]) for row in rows} == {(25, True)}
    wanted = _chances(given)
    came = Counter(row["work"] for row in rows)
    for work, chance in wanted.items():
        assert abs(came[work] / len(rows) - chance) < 5 * np.sqrt(0.25 / len(rows)) + 0.02


def _at(request, first):
    moved = pb.SampleRequest()
    moved.CopyFrom(request)
    moved.first_row = first
    return moved


def _chances(given):
    """p(work | given), work never missing, by weights of draws of the prior."""
    from serving.bundle.tables import log_prob

    latents = np.random.default_rng(0).normal(size=(200_000, toy.LATENTS)).astype(np.float32)
    parameters = toy_table.decode(latents)
    known = toy_table.cells([given], absent="unknown").rows(np.zeros(len(latents), int))
    weights = log_prob(SCHEMA, parameters, known).sum(axis=1)
    weights = np.exp(weights - weights.max())
    span = SCHEMA.spans["work"]
    logits = parameters[:, span.start + 1 : span.stop].astype(np.float64)
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    mean = (weights[:, None] * chances).sum(axis=0) / weights.sum()
    return dict(zip(["Private", "State", "(rest)"], mean, strict=True))


async def test_parts_of_a_seed_are_the_whole(stub):  # noqa: F811
    """Rows asked for in parts, at any place of the blocks that share their samples, are those of one request."""
    asked = pb.SampleRequest(
        model=PEOPLE, count=300, seed=9, first_row=200, given=records([{"work": "State"}])
    )
    whole = rows_of(await stub.Sample(asked))
    part = pb.SampleRequest(model=PEOPLE, count=30, seed=9, first_row=244, given=records([{"work": "State"}]))
    assert rows_of(await stub.Sample(part)) == whole[44:74]
    filling = pb.ImputeRequest(model=PEOPLE, records=records(HOLES), seed=3, draws=3)
    together = rows_of(await stub.Impute(filling))
    alone = pb.ImputeRequest(model=PEOPLE, records=records(HOLES[1:2]), seed=3, draws=3, first_row=1)
    assert rows_of(await stub.Impute(alone)) == together[3:6]


async def test_a_seed_knows_nothing_of_its_neighbours(stub):  # noqa: F811
    """Asked for among many others at once, rows are what they are alone."""
    given = records([{"age": 25}])
    requests = [
        *(pb.SampleRequest(model=PEOPLE, count=5, seed=seed, given=given, samples=40) for seed in range(6)),
        *(pb.ImputeRequest(model=PEOPLE, records=records(HOLES), seed=seed) for seed in range(6)),
        *(pb.SampleRequest(model=PEOPLE, count=50, seed=seed) for seed in range(6)),
    ]

    async def answer(request):
        return rows_of(await getattr(stub, type(request).__name__.removesuffix("Request"))(request))

    together = await asyncio.gather(*map(answer, requests))
    assert together == [await answer(request) for request in requests]


async def test_a_deadline_that_cannot_be_kept_is_refused_at_once(stub):  # noqa: F811
    """For all that the samples take, before any of it is drawn."""
    many = pb.ImputeRequest(model=PEOPLE, records=records(HOLES * 100), samples=10_000)
    await stub.Impute(pb.ImputeRequest(model=PEOPLE, records=records(HOLES)))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await stub.Impute(many, timeout=0.5)
    assert refusal.value.code().name == "DEADLINE_EXCEEDED"


BAD = {
    "of images": (pb.ImputeRequest(model={"name": "digits"}, records=records(HOLES)), "FAILED_PRECONDITION", "of images; want a model of tables"),
    "without a score": (pb.ImputeRequest(model={"name": "plain"}, records=records(HOLES)), "FAILED_PRECONDITION", "no score graph"),
    "no draws": (pb.ImputeRequest(model=PEOPLE, records=records(HOLES), draws=0), "INVALID_ARGUMENT", "draws: want 1 to 300, came 0"),
    "too many draws": (pb.ImputeRequest(model=PEOPLE, records=records(HOLES), draws=101), "INVALID_ARGUMENT", "records.rows: want 1 to 2 rows, came 3"),
    "no samples": (pb.ImputeRequest(model=PEOPLE, records=records(HOLES), samples=0), "INVALID_ARGUMENT", "samples: want 1 to 10000, came 0"),
    "an identifier that is no number": (pb.ImputeRequest(model=PEOPLE, records=records([{"age": 3, "id": float("nan")}])), "INVALID_ARGUMENT", "records: column 'id', row 0: want a finite number, came nan"),
    "no records": (pb.ImputeRequest(model=PEOPLE), "INVALID_ARGUMENT", "records: want rows or columns"),
    "two given": (pb.SampleRequest(model=PEOPLE, count=1, given=records(HOLES)), "INVALID_ARGUMENT", "given.rows: want 1 to 1 rows, came 3"),
    "given to images": (pb.SampleRequest(model={"name": "digits"}, count=1, given=records(HOLES[:1])), "FAILED_PRECONDITION", "of images; want a model of tables"),
    "given and a temperature": (pb.SampleRequest(model=PEOPLE, count=1, given=records(HOLES[:1]), temperature=1), "INVALID_ARGUMENT", "temperature: want none"),
    "a cold nothing": (pb.SampleRequest(model=PEOPLE, count=1, observation_temperature=1e-9), "INVALID_ARGUMENT", "observation_temperature: want 0, or at least 1e-06"),
    "a negative one": (pb.SampleRequest(model=PEOPLE, count=1, observation_temperature=-1), "INVALID_ARGUMENT", "observation_temperature: want a finite number"),
    "an unknown format": (pb.SampleRequest(model=PEOPLE, count=1, record_format=9), "INVALID_ARGUMENT", "record_format: want one of RECORD_FORMAT_UNSPECIFIED"),
    "images of a table": (pb.EncodeRequest(model=PEOPLE, images={"png": {}}), "INVALID_ARGUMENT", "images: this model is of tables; want records"),
    "records of images": (pb.EncodeRequest(model={"name": "digits"}, records=records(HOLES)), "INVALID_ARGUMENT", "records: this model is of images; want images"),
    "records to walk of images": (pb.InterpolateRequest(model={"name": "digits"}, records=records(HOLES), steps=2), "INVALID_ARGUMENT", "records: this model is of images"),
    "a record near images": (pb.SampleRequest(model={"name": "digits"}, count=1, neighbourhood={"record": records(HOLES), "spread": 1}), "INVALID_ARGUMENT", "neighbourhood.record: this model is of images"),
    "a format of images": (pb.DecodeRequest(model=PEOPLE, image_format=1), "INVALID_ARGUMENT", "image_format: this model is of tables; want record_format"),
    "neither": (pb.ReconstructRequest(model=PEOPLE), "INVALID_ARGUMENT", "records: want rows or columns, at least one row, came nothing"),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "code", "message"), BAD.values(), ids=BAD)
async def test_bad_requests_are_refused(stub, request_, code, message):  # noqa: F811
    """The code says whose fault it is, the message what to mend."""
    method = getattr(stub, type(request_).__name__.removesuffix("Request"))
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await method(request_)
    assert refusal.value.code().name == code
    assert message in refusal.value.details()


def test_a_missing_cell_says_something():
    """A cell that is missing as cells are in the data is known to be; it is filled all the same."""
    assert not (filled(HOLES, 1, 0, 1, 8).states != 1).any()
    missing, unknown = (
        toy_table.cells([{"age": 30, **work}], absent="unknown") for work in ({"work": None}, {})
    )
    assert isinstance(missing, Cells)
    assert (toy_table.encode(missing) != toy_table.encode(unknown)).any()
