"""From a CSV file to a served model of it: what comes over the wire is what the trainer has."""

import csv
import gzip
import json
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from serving.bundle import read
from serving.bundle.tables import Cells, Schema, cells_of_rows, draw, log_prob, to_features
from serving.client import Client
from serving.latent.noise import standard_normal, uniform
from tests.support.process import serving
from training.__main__ import main
from training.config import FitConfig
from training.data import to_unit
from training.modalities import build_model, load, resolve
from training.runs import Run, load_run

BRIEF = [
    "--width",
    "32",
    "--latent",
    "3",
    "--batch-size",
    "64",
    "--steps",
    "200",
    "--warmup",
    "0",
    "--no-tensorboard",
]
FLOW = ["--couplings", "2", "--coupling-width", "8", "--checkpoint-every", "100", "--log-every", "50"]
ROWS = 400


def write_people(path: Path) -> Path:
    """A table with every kind of column, missing cells, dates and an order between two of them."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "age", "income", "job", "member", "joined", "left", "country"])
        for number in range(ROWS):
            age = int(rng.integers(18, 80))
            job = "cook" if age < 40 else rng.choice(["pilot", "nurse, night"])
            income = "" if rng.random() < 0.2 else f"{1000 + 30 * age + rng.normal(0, 100):.2f}"
            joined = np.datetime64("2020-01-01") + (10 * age + rng.integers(0, 90))
            left = joined + rng.integers(0, 400)
            writer.writerow([number, age, income, job, "true" if age > 50 else "false", joined, left, "CH"])
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    return write_people(tmp_path_factory.mktemp("data") / "people.csv")


@pytest.fixture(scope="module")
def run(people, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "people"
    assert main(["fit", "--data", str(people), "--label", "job", "--run", str(folder), *BRIEF, *FLOW]) == 0
    return folder


@pytest.fixture(scope="module")
def repository(run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    assert main(["export", "--run", str(run), "--repository", str(folder), "--name", "people"]) == 0
    return folder


@pytest.fixture(scope="module")
def client(repository):
    with serving(repository, "--max-rows", "100") as server, Client(server.grpc_address) as connected:
        yield connected


def schema_of(run: Path) -> Schema:
    return Run(run).description().dataset.spec


def drawn_by_training(run: Path, seed: int, rows: int) -> Cells:
    """Records of the prior for the noise that the service takes of a seed, by PyTorch."""
    model, schema = load_run(run).model, schema_of(run)
    noise = torch.from_numpy(standard_normal(seed, 0, rows, 3)).float()
    with torch.inference_mode():
        parameters = model.decoder(model.prior(noise)).numpy()
    columns = len(schema.modelled)
    return draw(schema, parameters, uniform(seed, 0, rows, 3 * columns).reshape(rows, columns, 3))


def test_what_the_bundle_says(repository):
    """Format 2, the schema, a pool for each label and the score by column; no image anywhere."""
    bundle = read(repository / "people" / "1")
    manifest = bundle.manifest
    assert (manifest.format, manifest.modality, manifest.image) == (2, "table", None)
    assert {pool.name for pool in manifest.pools} == {"cook", "pilot", "nurse, night", "aggregate"}
    assert "column_distortion" in manifest.graphs["score"].outputs
    schema = Schema.parse(bundle.content("schema.json"))
    kinds = {column.name: column.type for column in schema.columns}
    assert kinds["id"] == "identifier"
    assert kinds["country"] == "constant"
    assert (kinds["income"], kinds["joined"], kinds["member"]) == ("numeric", "timestamp", "boolean")
    assert ("joined", "left") in schema.orders


def test_served_records_are_the_trainers(run, client):
    """For the same noise, in one call or in parts: numbers to 1e-5 of their size, all else the same."""
    schema = schema_of(run)
    wanted = drawn_by_training(run, 3, 90)
    whole = client.sample_records("people", 90, seed=3).records.rows()
    parts = [client.sample_records("people", 30, seed=3, first_row=first).records for first in (0, 30, 60)]
    assert [row for part in parts for row in part.rows()] == whole
    came = cells_of_rows(schema, whole)
    assert (came.states == wanted.states).mean() > 0.99
    same = np.isclose(came.values, wanted.values, rtol=1e-5, atol=1e-6)
    # A uniform that lies within 1e-6 of a boundary may fall to the other side of it.
    assert same.mean(axis=0).min() > 0.97


def test_served_scores_are_the_trainers(run, client):
    """Of the same rows and noise to 1e-4 of their size, by row and by column."""
    schema, model = schema_of(run), load_run(run).model
    rows = client.sample_records("people", 40, seed=1).records.rows()
    cells = cells_of_rows(schema, rows)
    scores = client.score("people", rows, samples=1, seed=5)
    features = torch.from_numpy(to_features(schema, cells))
    with torch.inference_mode():
        mean, log_var = model.encoder(features)
        noise = torch.from_numpy(standard_normal(5, 0, len(rows), 3)).float()
        parameters = model.decoder(mean + (0.5 * log_var).exp() * noise).numpy()
    wanted = -log_prob(schema, parameters, cells)
    np.testing.assert_allclose(scores.column_distortion, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores.distortion, wanted.sum(axis=1), rtol=1e-4, atol=1e-3)
    assert list(scores.columns) == [column.name for column in schema.modelled]


def test_orders_and_forms_are_those_of_the_data(client):
    """Dates as dates and in their order, two decimals, words for booleans, fresh identifiers, the constant."""
    records = client.sample_records("people", 100, seed=2).records.rows()
    assert all(row["joined"] <= row["left"] for row in records)
    assert all(type(row["joined"]) is date for row in records)
    assert all(row["income"] is None or round(row["income"], 2) == row["income"] for row in records)
    assert {row["country"] for row in records} == {"CH"}
    identifiers = [row["id"] for row in records]
    assert len(set(identifiers)) == len(identifiers)
    assert min(identifiers) >= ROWS


def test_resumed_equals_uninterrupted(people, tmp_path):
    """Stopped in the middle and gone on with, a training ends with the same weights, bit for bit."""
    config = ["--data", str(people), "--label", "job", *BRIEF, *FLOW]
    assert main(["fit", *config, "--run", str(tmp_path / "whole")]) == 0
    cut = tmp_path / "cut"
    shutil.copytree(tmp_path / "whole", cut)
    for file in (cut / "checkpoints").glob("*200*"):
        file.unlink()
    assert main(["fit", "--run", str(cut), "--resume"]) == 0
    one, other = (load_run(folder).model.state_dict() for folder in (tmp_path / "whole", cut))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_evaluation_and_report(run):
    """Figures of samples stand in metrics.json, and the page has a section for each kind of picture."""
    assert main(["evaluate", "--run", str(run), "--samples", "--k", "5"]) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert 0 < metrics["samples"]["tables"]["quality"]["synthetic"]["shapes"] <= 1
    assert main(["report", "--run", str(run)]) == 0
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    for anchor in ("columns", "missing", "map", "training"):
        assert f'id="{anchor}"' in page


def test_options_of_tables_count(people, tmp_path):
    """A label names the splits' labels, a schema decides on types, following hides cells; none is for nothing."""
    config = FitConfig.parse({"data": str(people)})
    plain = load(config)
    assert (plain.label_names, plain.train.labels) == ((), None)
    labelled = load(FitConfig.parse({"data": str(people), "label": "member"}))
    assert set(labelled.label_names) == {"false", "true"}
    told = tmp_path / "schema.json"
    told.write_text('{"columns": {"age": {"type": "category"}}}')
    other = load(FitConfig.parse({"data": str(people), "table_schema": str(told)}))
    assert {c.name: c.type for c in other.schema.columns}["age"] == "category"
    assert resolve(config, plain).following > 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--image-size", "8"], "--image-size: not for rows"),
        (["--deformation", "1"], "--deformation: not for rows"),
        (["--network", "conv"], "--network conv: a table wants residual"),
        (["--preset", "demo"], "--preset demo: a table wants"),
        (["--latent", "4x4x4"], "--latent 4x4x4: a table wants a number"),
        (["--label", "nothing"], "--label 'nothing'"),
    ],
)
def test_options_of_images_are_refused(people, tmp_path, capsys, flags, message):
    """In one line, before anything is written."""
    assert main(["fit", "--data", str(people), "--run", str(tmp_path / "run"), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_options_of_tables_are_refused_for_images(tmp_path, capsys):
    """The other way round as well."""
    assert main(["fit", "--label", "digit", "--run", str(tmp_path / "run")]) == 2
    assert "--label: not for images" in capsys.readouterr().err


def test_types_that_change_are_told_of(people, tmp_path, capsys):
    """The same file read by another ``--schema`` is not what the run was trained on."""
    told, run = tmp_path / "schema.json", tmp_path / "run"
    told.write_text('{"columns": {"age": {"type": "category"}}}')
    flags = ["--data", str(people), "--schema", str(told), "--run", str(run), "--steps", "2"]
    assert main(["fit", *flags, *BRIEF[:4], *FLOW[:4], "--no-tensorboard"]) == 0
    told.write_text("{}")
    assert main(["evaluate", "--run", str(run), "--k", "1"]) == 2
    assert "is read in another way" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["people.csv.gz", "people.CSV", "people.txt"])
def test_what_the_reader_takes_is_taken_for_a_table(people, tmp_path, name):
    """Packed or not, in capitals or not: the command line and the reader go by one list of names."""
    content = people.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert len(load(FitConfig.parse({"data": str(tmp_path / name)})).train) == 320


def test_the_encoder_sees_noise_while_it_learns_and_none_after(people):
    """Noise on the scores of observed numbers, drawn anew each time; what it takes to be known stays known."""
    config = FitConfig.parse({"data": str(people), "input_noise": 0.5})
    dataset = load(config)
    model = build_model(resolve(config, dataset), dataset.spec)
    features = to_unit(dataset.train.images[:32])
    nothing = torch.zeros_like(features)
    encoder = model.encoder.train()
    assert not torch.equal(encoder(features)[0], encoder(features)[0])
    assert torch.equal(encoder(nothing)[0], encoder(nothing)[0])
    encoder.eval()
    assert torch.equal(encoder(features)[0], encoder(features)[0])


def test_noise_wants_the_batch_in_one_part(people, tmp_path, capsys):
    """As dropout does: parts that draw for themselves would not add up to the whole batch."""
    flags = ["--data", str(people), "--run", str(tmp_path / "run"), *BRIEF, "--accumulate", "2"]
    assert main(["fit", *flags, "--input-noise", "0.5"]) == 2
    assert "--input-noise 0.5: draws for the whole batch" in capsys.readouterr().err
    config = FitConfig.parse({"data": str(people), "accumulate": 2})
    assert resolve(config, load(config)).input_noise == 0


def test_noise_is_refused_for_images(tmp_path, capsys):
    """Their noise would be another thing: pixels have a range."""
    assert main(["fit", "--input-noise", "0.5", "--run", str(tmp_path / "run")]) == 2
    assert "--input-noise: not for images" in capsys.readouterr().err
