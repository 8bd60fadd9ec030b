"""Gates: a model that is no good does not become a bundle, unless it is forced; and pools without labels."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from serving import bundle
from tests.support.brief_fits import PLAIN
from training.__main__ import main
from training.runs import load_run
from training.training_error import TrainingError

TINY = ["--network", "mlp", "--width", "24", "--latent", "4", "--batch-size", "32", "--no-tensorboard"]
DIGITS = [*PLAIN, "--likelihood", "bernoulli", "--threads", "1"]


def fit(run: Path, *arguments: str) -> Path:
    assert main(["fit", "--run", str(run), *TINY, *DIGITS, *arguments]) == 0
    return run


def export(run: Path, models: Path, *arguments: str) -> int:
    return main(["export", "--run", str(run), "--repository", str(models), "--name", "mine", *arguments])


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory) -> Path:
    """Its rate costs so much that no latent says anything."""
    steps = ["--model", "vae", "--beta", "1000", "--steps", "200", "--warmup", "0"]
    return fit(tmp_path_factory.mktemp("runs") / "collapsed", *steps)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return fit(tmp_path_factory.mktemp("runs") / "sound", "--steps", "300", "--latent", "6")


def test_collapsed_model_is_refused_then_forced(collapsed, tmp_path, capsys):
    """The gate names itself and what came, nothing is written; forced, the manifest says so."""
    assert export(collapsed, tmp_path / "models") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "gate posterior_collapse: want at least 1 active latent" in error
    assert "came 0 of 4 active" in error
    assert "divergence" not in error
    assert not (tmp_path / "models").exists()
    assert export(collapsed, tmp_path / "models", "--force") == 0
    assert "FORCED    gate posterior_collapse" in capsys.readouterr().out
    gates = {gate.name: gate for gate in bundle.read(tmp_path / "models/mine/1").manifest.training.gates}
    assert (gates["posterior_collapse"].passed, gates["posterior_collapse"].forced) == (False, True)
    assert {gate.forced for name, gate in gates.items() if name != "posterior_collapse"} == {False}


def test_diverged_run_is_refused(sound, tmp_path, capsys):
    """A last validation loss above the first loss of the training, or not a number, stops the export."""
    for worst in (9999.0, float("nan")):
        run = Path(shutil.copytree(sound, tmp_path / f"run{worst}"))
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        rows[-1]["distortion"] = worst
        assert rows[-1]["kind"] == "val"
        (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert export(run, tmp_path / "models") == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "gate divergence: want a finite validation loss below the first loss of the training" in error
        assert not (tmp_path / "models").exists()


def test_requirements_are_gates(sound, tmp_path, capsys):
    """All that fail are named with figures; those met are in the manifest; nonsense is refused at once."""
    run = Path(shutil.copytree(sound, tmp_path / "run"))
    models = tmp_path / "models"
    assert export(run, models, "--require", "nll<=1", "--require", "rate > 1e3", "--require", "fd<5") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "gate require nll: want nll<=1, came nll_100 " in error
    assert "gate require rate: want rate>1000, came rate " in error
    assert "gate require fd: want fd<5, came not measured; measured: nelbo" in error
    assert export(run, models, "--require", "nll~5") == 2
    assert "--require 'nll~5': want METRIC<=NUMBER" in capsys.readouterr().err
    assert not models.exists()
    assert export(run, models, "--require", "nll<=88", "--require", "active_units>=1") == 0
    gates = {gate.name: gate for gate in bundle.read(models / "mine/1").manifest.training.gates}
    assert set(gates) == {
        "parity",
        "finite_metrics",
        "posterior_collapse",
        "divergence",
        "require nll",
        "require active_units",
    }
    assert all(gate.passed and not gate.forced for gate in gates.values())


def test_pools_are_found_named_and_exported(sound, tmp_path, capsys):
    """The kinds found without labels, named from examples, are what the bundle holds: names, unknown, aggregate."""
    run = Path(shutil.copytree(sound, tmp_path / "run"))
    assert main(["pools", "--run", str(run), "--count", "10", "--threads", "1"]) == 0
    output = capsys.readouterr().out
    assert "merged into 10 pools by overlap" in output
    assert "pool-10" in output
    assert "adjusted Rand index" in output
    names = tmp_path / "labels.csv"
    data = load_run(run).dataset()
    from sklearn.datasets import load_digits

    rows = np.random.default_rng(0).permutation(1797)[:150]
    names.write_text("row,label\n" + "".join(f"{row},digit {load_digits().target[row]}\n" for row in rows))
    assert main(["pools", "--run", str(run), "--names", str(names), "--threads", "1"]) == 0
    assert "digit 0" in capsys.readouterr().out
    assert export(run, tmp_path / "models", "--pools", "mixture") == 0
    sealed = bundle.read(tmp_path / "models/mine/1")
    entries = sealed.manifest.pools
    shown = [entry.name for entry in entries]
    assert shown[-2:] == ["unknown", "aggregate"]
    assert all(name.startswith("digit ") for name in shown[:-2])
    assert sum(entry.rows for entry in entries[:-2]) == len(data.train)


def test_rows_and_files_are_the_images_they_name(sound, tmp_path):
    """A row counts in the data as they lie in their file, whatever the split; a file is read as an image."""
    from PIL import Image
    from sklearn.datasets import load_digits

    from training.pools.examples import Example, images_of

    picture = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    Image.fromarray(picture[1700]).save(tmp_path / "one.png")
    examples = [Example(1, "0", "a"), Example(2, "1796", "b"), Example(3, "one.png", "b")]
    loaded = load_run(sound)
    images = images_of(examples, tmp_path / "labels.csv", loaded.dataset(), loaded.config)
    expected = torch.from_numpy(picture[[0, 1796, 1700]][:, None] / np.float32(255))
    torch.testing.assert_close(images, expected)


def test_rows_are_refused_where_labels_were_withheld(sound, tmp_path):
    """The rows that are left are others than those of the file: silently another image would be named."""
    from training.pools.examples import Example, images_of

    loaded = load_run(sound)
    config = loaded.config.model_copy(update={"without": ("4",)})
    with pytest.raises(TrainingError, match=r"line 1: row 0: want an image file"):
        images_of([Example(1, "0", "a")], tmp_path / "labels.csv", loaded.dataset(), config)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1797,b", "line 2: row 1797: want 0 to 1796"),
        ("-1,b", "line 2: row -1: want 0 to 1796"),
        ("cat.png,b", "line 2: image 'cat.png': want a row or an image file"),
        ("labels.csv,b", "labels.csv: cannot be read as an image"),
        ("wide.png,b", "wide.png: want 8x8, came 8x9"),
    ],
)
def test_examples_that_are_not_there_are_refused(sound, tmp_path, capsys, line, message):
    """One line with the line of the file, exit code 2, and no name is written."""
    from PIL import Image

    run = Path(shutil.copytree(sound, tmp_path / "run"))
    names = tmp_path / "labels.csv"
    names.write_text(f"0,a\n{line}\n")
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "wide.png")
    assert main(["pools", "--run", str(run), "--names", str(names), "--threads", "1"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"vae-train: error: --names {names}: line 2: ")
    assert message in error
    assert not (run / "pools.json").exists()


def test_labels_wanted_where_there_are_none_are_refused(tmp_path, capsys):
    """`--pools labels` on data without labels; left out, kinds are looked for."""
    rng = np.random.default_rng(0)
    bright = np.where(rng.random((400, 1, 1)) < 0.5, 40, 200)
    np.save(tmp_path / "plain.npy", np.clip(bright + rng.normal(0, 8, (400, 6, 6)), 0, 255).astype(np.uint8))
    run = fit(tmp_path / "run", "--data", str(tmp_path / "plain.npy"), "--steps", "200", "--latent", "2")
    assert export(run, tmp_path / "models", "--pools", "labels") == 2
    assert "--pools labels: the data plain have none; want mixture or aggregate" in capsys.readouterr().err
    assert export(run, tmp_path / "models") == 0
    names = [pool.name for pool in bundle.read(tmp_path / "models/mine/1").manifest.pools]
    assert names[0] == "pool-1"
    assert names[-2:] == ["unknown", "aggregate"]
    assert main(["report", "--run", str(run)]) == 0
