"""Models of tables by the clients and by ``vae-client``, against a server on a real socket, by each of its doors."""

import asyncio
import csv
import json

import numpy as np
import pandas
import pyarrow
import pytest
from pyarrow import parquet

from serving.bundle.tables import to_features
from serving.client import AsyncClient, Client, VaeError
from serving.client.__main__ import main
from serving.client.table_files import table_files
from tests.support import toy, toy_table
from tests.support.process import serving

ROWS = toy_table.ROWS
SOME = {"age": [39, None, 64], "work": ["Private", "State", None], "member": [True, False, None]}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A server in a process of its own that takes 10 rows a request."""
    repository = tmp_path_factory.mktemp("models")
    toy_table.make_bundle(repository)
    toy.make_bundle(repository, with_score=True)
    with serving(repository, "--max-rows", "10") as server:
        yield {"grpc": server.grpc_address, "http": f"http://{server.http_address}"}
        assert server.terminate() == 0


@pytest.fixture(params=["grpc", "http"])
def address(request, both):
    """Each of its doors: the client behaves the same."""
    return both[request.param]


@pytest.fixture
def client(address):
    with Client(address) as connected:
        yield connected


@pytest.fixture
def run(address, monkeypatch, tmp_path, capsys):
    """``vae-client`` in an empty folder: its status and what it printed."""
    monkeypatch.setenv("VAE_ADDRESS", address)
    monkeypatch.chdir(tmp_path)

    def command(*arguments, model="people"):
        status = main([*arguments, "--model", model])
        return status, capsys.readouterr()

    return command


def test_a_model_says_what_its_columns_are(client, run, capsys):
    """In the order of the table, with types, ranges and categories; a model of images has none."""
    model = client.model("people")
    assert model.modality == "table"
    assert [column.name for column in model.table.columns] == [
        column.name for column in toy_table.SCHEMA.columns
    ]
    by_name = {column.name: column for column in model.table.columns}
    assert (by_name["age"].integer, by_name["age"].least, by_name["age"].most) == (True, 17, 90)
    assert by_name["work"].categories == ("Private", "State", "(rest)")
    assert (by_name["country"].constant, by_name["id"].made_anew, model.table.orders) == (
        "NL",
        True,
        (("joined", "left"),),
    )
    image = client.model("toy")
    assert (image.modality, image.table) == ("image", None)
    assert main(["models", "--columns"]) == 0
    shown = capsys.readouterr().out
    assert "age      integer     -        17 to 90" in shown
    assert "left     timestamp   yes      2022-01-08 to 2022-01-14" in shown
    assert "toy" not in shown
    assert main(["models", "--json"]) == 0
    told = {model["name"]: model["table"] for model in json.loads(capsys.readouterr().out)}
    assert told["toy"] is None
    assert told["people"]["columns"][1]["type"] == "numeric"


def test_records_of_a_seed(client):
    """In one call or several, streamed or not, from any row on: the same records, with identifiers of their rows."""
    drawn = client.sample_records("people", 25, seed=7, latents=True)
    assert (drawn.seed, len(drawn.records), drawn.latents.shape, len(drawn.images)) == (7, 25, (25, 3), 0)
    rows = drawn.records.rows()
    assert [row["id"] for row in rows] == list(range(101, 126))
    assert client.sample_records("people", 8, seed=7, first_row=12).records.rows() == rows[12:20]
    parts = list(client.sample_records_stream("people", 25, seed=7, rows_per_response=9))
    assert [part.first_row for part in parts] == [0, 9, 18]
    assert [row for part in parts for row in part.records.rows()] == rows
    unseeded = client.sample_records("people", 25)
    assert client.sample_records("people", 25, seed=unseeded.seed).records.rows() == unseeded.records.rows()
    assert client.sample("people", 25, seed=7).records.rows() == rows
    assert client.sample("people", 1, seed=7).records.rows() == rows[:1]  # which is sent as an object
    assert next(client.sample_stream("people", 5, seed=7)).records.rows() == rows[:5]


def test_where_records_are_drawn_from(client):
    """Around a record or a latent, given some cells, and as likely as can be."""
    latent = np.float32([[0.5, -1, 2]])
    near = client.sample_records("people", 3, near_latent=latent, spread=0, latents=True)
    np.testing.assert_array_equal(near.latents, np.tile(latent, (3, 1)))
    near = client.sample_records("people", 3, near=ROWS[0], spread=0, observation_temperature=0, latents=True)
    np.testing.assert_allclose(near.latents, client.encode("people", [ROWS[0]] * 3).mean, atol=1e-6)
    assert near.records.rows()[0] | {"id": 0} == near.records.rows()[2] | {"id": 0}
    given = client.sample_records("people", 25, given={"work": "State", "age": 40}, seed=3)
    assert {(row["work"], row["age"]) for row in given.records.rows()} == {("State", 40)}
    again = client.sample_records("people", 5, given={"work": ["State"], "age": ["40"]}, seed=3, first_row=20)
    assert again.records.rows() == given.records.rows()[20:]
    few = client.sample_records("people", 25, given={"work": "State", "age": 40}, seed=3, samples=2)
    assert few.records.rows() != given.records.rows()


def test_posteriors_reconstructions_and_walks(client):
    """Those of the model, whatever records come as; what is decoded is the most likely."""
    expected = to_features(toy_table.SCHEMA, toy_table.cells(ROWS)) @ toy_table.weights()[0]
    for records in (ROWS, pandas.DataFrame(ROWS), ROWS * 5):
        mean = client.encode("people", records).mean
        np.testing.assert_allclose(mean[:3], expected, atol=1e-5)
    rebuilt = client.reconstruct("people", ROWS, latents=True)
    np.testing.assert_allclose(rebuilt.latents, expected, atol=1e-5)
    decoded = client.decode("people", rebuilt.latents)
    assert decoded.records.rows() == rebuilt.records.rows()
    assert client.decode("people", rebuilt.latents[:1]).records.rows() == rebuilt.records.rows()[:1]
    walk = client.interpolate("people", 3, records=ROWS[:2])
    assert len(walk.records) == 4
    again = client.interpolate("people", 3, latents=rebuilt.latents[:2])
    assert again.records.rows() == walk.records.rows()


def test_scores_by_column(client):
    """Split or not the same; the sum over columns is the distortion, and what is unknown is no part of it."""
    scores = client.score("people", ROWS * 4, samples=4, seed=1)
    assert scores.columns == ("age", "work", "height", "member", "joined", "left")
    np.testing.assert_allclose(scores.column_distortion.sum(axis=1), scores.distortion, rtol=1e-4)
    part = client.score("people", (ROWS * 4)[5:], samples=4, seed=1, first_row=5)
    np.testing.assert_allclose(part.nelbo, scores.nelbo[5:], rtol=1e-4)
    partial = client.score("people", SOME, absent="unknown", samples=4, seed=1)
    assert (partial.column_distortion[:, [2, 4, 5]] == 0).all()
    assert partial.column_distortion[1, 0] == 0
    assert (partial.column_distortion[:, 1] > 0).all()


def test_cells_are_filled(client):
    """What is known stays, the rest is drawn, some draws of each row; split or not the same."""
    filled = client.impute("people", SOME, draws=3, seed=5)
    assert (filled.draws, filled.seed, len(filled.records)) == (3, 5, 9)
    rows = filled.records.rows()
    assert [row["age"] for row in rows[:3]] == [39, 39, 39]
    assert [row["work"] for row in rows[3:6]] == ["State"] * 3
    assert all(value is not None for row in rows for value in row.values())
    records = [{name: values[row] for name, values in SOME.items()} for row in (0, 1, 2)] * 5
    unseeded = client.impute("people", records, samples=3)
    again = client.impute("people", records, samples=3, seed=unseeded.seed)
    assert again.records.rows() == unseeded.records.rows()
    whole = client.impute("people", records, draws=3, seed=5, samples=3)
    part = client.impute("people", records[7:], draws=3, seed=5, samples=3, first_row=7)
    fresh = [row | {"id": 0} for row in whole.records.rows()[21:]]
    assert [row | {"id": 0} for row in part.records.rows()] == fresh


def test_asyncio_does_the_same(both):
    """Calls and streams of records, by ``AsyncClient``."""

    async def calls(address):
        async with AsyncClient(address) as client:
            drawn = await client.sample_records("people", 12, seed=7)
            streamed = [part async for part in client.sample_records_stream("people", 12, seed=7)]
            filled = await client.impute("people", SOME, seed=5)
            return (
                drawn.records.rows(),
                [row for part in streamed for row in part.records.rows()],
                filled.records.rows(),
            )

    drawn, streamed, filled = asyncio.run(calls(both["grpc"]))
    assert drawn == streamed
    with Client(both["grpc"]) as client:
        assert client.sample_records("people", 12, seed=7).records.rows() == drawn
        assert client.impute("people", SOME, seed=5).records.rows() == filled
    assert asyncio.run(calls(both["http"])) == (drawn, streamed, filled)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.score("toy", ROWS), "INVALID_ARGUMENT: records: this model is of images; want images"),
        (lambda c: c.score("people", np.zeros((1, 1, 4, 6), np.float32)), "INVALID_ARGUMENT: images: .* of tables"),
        (lambda c: c.impute("toy", ROWS), "FAILED_PRECONDITION: model toy: .* want a model of tables"),
        (lambda c: c.sample_records("people", 3, given={"wrk": 1}), "column 'wrk': want .*'work'"),
        (lambda c: c.encode("people", {"age": [3]}), "column 'work'.*: want .*, came none"),
        (lambda c: c.encode("people", ROWS * 4 + [ROWS[0] | {"age": "x"}]),
         r"column 'age', row 2: want .* came 'x' \(row 0 of this part is row 10 of all\)"),
    ],
)  # fmt: skip
def test_what_the_server_refuses(client, call, message):
    """Its one line comes as it is; of a job in parts it is said which part."""
    with pytest.raises(VaeError, match=message) as error:
        call(client)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.sample_records("people", 1, given={"age": 3}, pool="a"), "given: want no pool"),
        (lambda c: c.sample_records("people", 1, near=ROWS[0]), "near or near_latent: want one"),
        (lambda c: c.interpolate("people", 2, records=ROWS, latents=np.zeros((2, 3))), "want one of them"),
        (lambda c: c.impute("people", ROWS, draws=2**70), "draws: want"),
        (lambda c: c.impute("people", 3), "records: want a list of dictionaries"),
    ],
)
def test_what_cannot_be_sent(client, call, message):
    """It is named before anything is sent."""
    with pytest.raises(ValueError, match=message):
        call(client)


DATA = """id,age,work,height,member,joined,left
7,39,Private,1.82,yes,2022-01-08,2022-01-12
8,?,,1.50,no,2022-01-09,
9,64,State,,yes,2022-01-08,2022-01-08
"""


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(DATA)
    return path


def table_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_sample_to_files(run, both):
    """Parquet with types and CSV hold the records of the seed, and `--given` is in all of them."""
    given = ["--given", "work=State", "--given", '{"age": 40}']
    for name in ("a.parquet", "a.csv"):
        status, said = run("sample", "--out", name, "--count", "40", "--seed", "3", *given)
        assert (status, said.out) == (0, f"{name}: 40 records, seed 3 from people\n")
    with Client(both["grpc"]) as client:
        drawn = client.sample_records("people", 40, seed=3, given={"work": "State", "age": 40}).records
    assert parquet.read_table("a.parquet").equals(drawn.to_arrow())
    frame = pandas.read_csv("a.csv", keep_default_na=False)
    assert frame["id"].tolist() == [row["id"] for row in drawn.rows()]
    assert set(frame["work"]) == {"State"}
    assert set(frame["age"]) == {40}
    assert frame["left"].tolist() == ["" if row["left"] is None else str(row["left"]) for row in drawn.rows()]


def test_what_is_sampled_can_be_scored_and_filled(run):
    """The files that the client writes are files that it reads."""
    run("sample", "--out", "a.csv", "--count", "30", "--seed", "3")
    run("sample", "--out", "a.parquet", "--count", "30", "--seed", "3")
    for name in ("a.csv", "a.parquet"):
        assert run("score", name, "--out", f"{name}.csv", "--seed", "1")[0] == 0
        assert run("impute", name, "--out", f"{name}.filled.csv", "--seed", "1")[0] == 0
    assert table_of("a.csv.csv") == table_of("a.parquet.csv")
    assert "" not in {value for row in table_of("a.csv.filled.csv") for value in row.values()}


def test_scores_in_files(run, data, monkeypatch, client):
    """Beside the cells as they were, with the oddest column; in parts of the file or at once the same."""
    monkeypatch.setattr(table_files, "ROWS", 2)
    assert run("score", "data.csv", "--out", "a.csv", "--seed", "1", "--by-column")[0] == 0
    rows = table_of("a.csv")
    assert [row["height"] for row in rows] == ["1.82", "1.50", ""]
    cells = [{name: row[name] or None for name in ROWS[0]} for row in rows]
    scores = client.score("people", cells, seed=1)
    np.testing.assert_allclose([float(row["nelbo"]) for row in rows], scores.nelbo, rtol=1e-5)
    by_column = [[float(row[f"distortion of {name}"]) for name in scores.columns] for row in rows]
    np.testing.assert_allclose(by_column, scores.column_distortion, rtol=1e-5)
    own = client.sample_records("people", 256, seed=0).records
    usual = client.score("people", own, samples=1, seed=0).column_distortion.mean(axis=0)
    places = np.argmax(scores.column_distortion - usual, axis=1)
    assert [row["oddest"] for row in rows] == [scores.columns[place] for place in places]
    status, said = run("score", "a.csv", "--out", "b.csv")
    assert status == 1
    assert "column 'nelbo': want a column of the table" in said.err
    status, said = run("score", "data.csv", "--seed", "1")
    assert said.out.splitlines()[0].split() == ["ROW", "NELBO", "DISTORTION", "RATE", "NLL", "ODDEST"]
    assert len(said.out.splitlines()) == 4


def test_filled_files(run, data, monkeypatch):
    """Cells that were there are as they were written; draws are counted; parts of a file make no difference."""
    assert run("impute", "data.csv", "--out", "a.csv", "--draws", "2", "--seed", "4")[0] == 0
    rows = table_of("a.csv")
    assert [(row["row"], row["draw"], row["id"]) for row in rows] == [
        ("0", "0", "7"), ("0", "1", "7"), ("1", "0", "8"), ("1", "1", "8"), ("2", "0", "9"), ("2", "1", "9")
    ]  # fmt: skip
    assert [row["height"] for row in rows[:4]] == ["1.82", "1.82", "1.50", "1.50"]
    assert "" not in {value for row in rows for value in row.values()}
    monkeypatch.setattr(table_files, "ROWS", 2)
    assert run("impute", "data.csv", "--out", "b.csv", "--draws", "2", "--seed", "4")[0] == 0
    assert table_of("b.csv") == rows
    assert run("impute", "data.csv", "--out", "a.parquet", "--seed", "4")[0] == 0
    assert parquet.read_table("a.parquet").schema.field("joined").type == pyarrow.date32()


def test_latents_in_files(run, data, client):
    """The embedding as an array or a table, which can be decoded again."""
    cells = [
        {name: row[name] if row[name] not in ("", "?") else None for name in ROWS[0]}
        for row in table_of(data)
    ]
    mean = client.encode("people", cells).mean
    for name in ("a.npy", "a.npz", "a.csv", "a.parquet"):
        assert run("encode", "data.csv", "--out", name, "--latents", "--seed", "2")[0] == 0
    np.testing.assert_array_equal(np.load("a.npy"), mean)
    with np.load("a.npz") as arrays:
        np.testing.assert_array_equal(arrays["mean"], mean)
        latents = arrays["latents"]
    frame = pandas.read_parquet("a.parquet")
    np.testing.assert_array_equal(frame[["latents_0", "latents_1", "latents_2"]], latents)
    assert list(frame) == list(pandas.read_csv("a.csv"))
    assert run("decode", "a.npy", "--out", "b.csv")[0] == 0
    assert run("reconstruct", "data.csv", "--out", "c.csv")[0] == 0
    assert table_of("b.csv") == table_of("c.csv")


@pytest.mark.parametrize(
    ("arguments", "model", "status", "message"),
    [
        (["score", "data.csv", "--out", "o.csv"], "toy", 2, "data.csv: want images, came a table: model toy is of images"),
        (["impute", "data.csv", "--out", "o.csv"], "toy", 2, "data.csv: want images, came a table"),
        (["sample", "--out", "o.csv"], "toy", 2, "o.csv: want .png or .npz: model toy is of images"),
        (["sample", "--out", "o.npz", "--count", "1"], "people", 2, "o.npz: want .csv or .parquet: model people is of tables"),
        (["score", "x.png", "--out", "o.csv"], "people", 2, "x.png: want a .csv, .tsv, .parquet or .arrow file"),
        (["score", "data.csv", "a.csv"], "people", 2, "a.csv: want one table, came 2"),
        (["score", "data.csv", "--out", "o.npz"], "people", 2, "o.npz: want a name that ends in .csv or .parquet"),
        (["score", "none.csv", "--out", "o.csv"], "people", 2, "none.csv: cannot be read: No such file or directory"),
        (["score", "wrong.csv", "--out", "o.csv"], "people", 1, "INVALID_ARGUMENT: records.columns: column 'wrk': want"),
        (["score", "late.csv", "--out", "o.csv"], "people", 1, "(row 0 of this part is row 25 of all)"),
        (["sample", "--out", "o.csv", "--given", "work=Foo"], "people", 1, "INVALID_ARGUMENT: given.columns: column 'work'"),
        (["sample", "--out", "o.csv", "--given", "work"], "people", 2, "--given: want COLUMN=VALUE"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_line(run, data, tmp_path, arguments, model, status, message):
    """And leaves no file, nor a part of one."""
    (tmp_path / "wrong.csv").write_text("wrk\n1\n")
    lines = DATA.splitlines()
    (tmp_path / "late.csv").write_text("\n".join([lines[0], *[lines[1]] * 25, lines[1].replace("39", "x")]))
    before = set(tmp_path.iterdir())
    came, said = run(*arguments, model=model)
    assert (came, said.err.count("\n")) == (status, 1)
    assert said.err.startswith("vae-client: ")
    assert message in said.err
    assert set(tmp_path.iterdir()) == before


def test_a_category_never_seen_may_be_one_of_the_rest(run, data):
    """With a word for it."""
    data.write_text(DATA.replace("Private", "Pirate"))
    assert run("score", "data.csv")[0] == 1
    assert run("score", "data.csv", "--unknown", "rest")[0] == 0
    data.write_text("\n".join(line.rpartition(",")[0] for line in DATA.splitlines()))
    assert run("score", "data.csv")[0] == 1
    assert run("score", "data.csv", "--absent", "unknown")[0] == 0
    assert run("impute", "data.csv", "--out", "a.csv")[0] == 0
    assert all(row["left"] for row in table_of("a.csv"))
