"""``vae-train evaluate`` with its groups of figures, as a user runs it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.brief_fits import MLP
from training.__main__ import main
from training.evaluate import Metrics
from training.evaluate.features import judges

TINY = [*MLP, "--width", "32", "--latent", "4"]
QUICK = ["--threads", "1", "--k", "5", "--images", "120"]


def fit(run: Path, *arguments: str) -> Path:
    assert main(["fit", "--run", str(run), *TINY, "--threads", "1", *arguments]) == 0
    return run


def evaluate(run: Path, *arguments: str) -> int:
    return main(["evaluate", "--run", str(run), *QUICK, *arguments])


def document(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def brief_judge():
    """A classifier that has learned for a fifth of its time; what it says is tested in tests/unit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judges, "EPOCHS", 8)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A folder of colour images of another size."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(120):
        picture = Image.fromarray(draw.integers(256, size=(12, 14, 3), dtype=np.uint8))
        picture.save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """A VAE of the digits, briefly trained on binary images."""
    steps = ["--steps", "400", "--checkpoint-every", "300"]
    return fit(tmp_path_factory.mktemp("runs") / "digits", *steps, "--likelihood", "bernoulli")


@pytest.fixture(scope="module")
def full(digits, photos) -> dict:
    """The whole evaluation of it."""
    assert evaluate(digits, "--full", "--ood", str(photos)) == 0
    return document(digits)


def test_every_group_stands_beside_the_likelihood(full):
    """Each with its protocol: step, seed, images; the likelihood's keys stay where they were."""
    assert {"nelbo", "nll_5", "split", "kl_per_dimension"} <= set(full)
    for name in ("samples", "latents", "ood"):
        protocol = full[name]["protocol"]
        assert (protocol["step"], protocol["seed"], protocol["images"]) == (400, 0, 120)
        assert protocol["seconds"] > 0


def test_samples_stand_beside_real_images(full):
    """Real images are nearest to held-out ones, and the labels' pools nearer than the prior."""
    rows = full["samples"]["tables"]["samples"]
    assert list(rows) == ["real", "reconstructions", "prior", "pools"]
    for measure in ("fd", "kid"):
        assert rows["real"][measure] < rows["pools"][measure] < rows["prior"][measure]
    assert 0 <= rows["pools"]["fidelity"] <= 1
    pools = full["samples"]["tables"]["pools"]
    assert list(pools) == [*"0123456789"]
    assert sum(row["samples"] for row in pools.values()) == 120
    assert full["samples"]["protocol"]["features"].startswith("classifier of digits")


def test_latents_tell_the_digits(full):
    """More labels, more right; clusters are better than chance; the bounds are in order."""
    tables = full["latents"]["tables"]
    probes = tables["labels per class"]
    assert list(probes) == ["10", "100", "all"]
    assert 0.4 < probes["10"]["logistic"] < probes["all"]["knn"]
    assert tables["clusters"]["mixture"]["acc"] > 0.3
    bounds = tables["aggregate posterior, nats"]
    for name in ("mi", "kl"):
        assert bounds["at least"][name] < bounds["at most"][name]
    rate = bounds["at least"]["mi"] + bounds["at most"]["kl"]
    assert rate == pytest.approx(full["rate"], rel=0.1)


def test_noise_is_foreign(full):
    """No model gives binary noise less than 64 · ln 2 nats, so the score finds it; photos of noise as well."""
    rows = full["ood"]["tables"]["nelbo as score"]
    assert list(rows) == ["photos", "noise", "inverted", "rotated 90°"]
    assert rows["noise"]["auroc"] > 0.95
    assert full["ood"]["protocol"]["images of photos"] == 120


def test_groups_stay_until_the_weights_change(full, digits, tmp_path, capsys):
    """A likelihood with another k keeps the groups, a group keeps that likelihood; other weights drop both."""
    run = tmp_path / "run"
    shutil.copytree(digits, run)
    assert evaluate(run, "--k", "7") == 0
    assert document(run)["ood"] == full["ood"]
    seconds = document(run)["seconds"]
    assert evaluate(run, "--k", "7", "--latents") == 0
    assert document(run)["seconds"] == seconds
    assert document(run)["samples"] == full["samples"]
    assert document(run)["latents"]["tables"] == full["latents"]["tables"]
    metrics = Metrics.read(run / "metrics.json")
    assert json.loads(metrics.to_json()) == document(run)
    max((run / "checkpoints").iterdir()).unlink()  # back to step 300
    assert evaluate(run) == 0
    assert document(run)["step"] == 300
    assert not {"samples", "latents", "ood"} & set(document(run))


def test_metrics_of_before_the_groups_are_read(full, digits, tmp_path):
    """A file without groups, as earlier versions wrote it, still stands for its run."""
    old = {name: value for name, value in full.items() if name not in ("samples", "latents", "ood")}
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(old))
    metrics = Metrics.read(path)
    assert metrics.groups == {}
    assert metrics.document() == old


def test_without_labels_there_is_no_judge(photos, tmp_path, capsys):
    """Asked for samples, evaluate refuses in a line; --full leaves them out, and says so."""
    run = fit(tmp_path / "run", "--data", str(photos), "--steps", "20")
    assert evaluate(run, "--samples") == 2
    assert "--samples: want images with labels" in capsys.readouterr().err
    assert evaluate(run, "--full") == 0
    assert "samples: left out" in capsys.readouterr().out
    assert "samples" not in document(run)
    assert list(document(run)["latents"]["tables"]) == ["aggregate posterior, nats"]


def test_autoencoder_has_samples_and_probes(tmp_path, monkeypatch):
    """From N(0, I) and pools; no aggregate posterior, and distortion is its only score."""
    monkeypatch.setattr(judges, "EPOCHS", 1)  # what it says does not matter here
    run = fit(tmp_path / "run", "--model", "ae", "--steps", "100")
    assert evaluate(run, "--full") == 0
    assert set(document(run)["samples"]["tables"]["samples"]) == {"real", "reconstructions", "prior", "pools"}
    assert "aggregate posterior, nats" not in document(run)["latents"]["tables"]
    assert list(document(run)["ood"]["tables"]) == ["distortion as score"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ood", "nowhere"], "--ood nowhere: want a folder of images"),
        (["--threads", "0"], "--threads: want a whole number from 1 to 1024, came '0'"),
        (["--images", "5", "--samples"], "--samples: want at least 10 test images, came 5"),
    ],
)
def test_bad_arguments_are_named(digits, capsys, arguments, message):
    """One line, exit code 2."""
    assert evaluate(digits, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_foreign_array_of_another_shape_is_refused(digits, tmp_path, capsys):
    """An array file is taken as it is, so its shape must fit."""
    path = tmp_path / "wide.npy"
    np.save(path, np.zeros((20, 8, 10), np.uint8))
    assert evaluate(digits, "--ood", str(path)) == 2
    assert "want images of shape (1, 8, 8), came (1, 8, 10)" in capsys.readouterr().err
