"""``vae-train fit`` as a user runs it: runs, resumes, refusals."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import patience
from tests.support.brief_fits import PLAIN
from training.__main__ import main
from training.config import FitConfig
from training.fit.loop import train
from training.fit.state import State
from training.modalities import load, resolve
from training.runs import DatasetFacts, Run, RunDescription, checkpoint, load_run
from training.runs.training_log import read_rows
from training.training_error import TrainingError

TINY = [
    *PLAIN,
    "--network",
    "mlp",
    "--width",
    "16",
    "--threads",
    "1",
    "--latent",
    "4",
    "--batch-size",
    "32",
    "--no-tensorboard",
]
CLOCK = {"seconds", "images_per_s"}


def fit(run: Path, *arguments: str) -> int:
    return main(["fit", "--run", str(run), *arguments])


def rows(run: Path) -> list[dict[str, object]]:
    """The log without what the clock decides."""
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in read_rows(run / "log.jsonl")]


def final(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint.files(run / "checkpoints")[0]
    return checkpoint.load_latest(newest.parent, owner=Run(run).description().owner).tensors


def assert_same_runs(one: Path, other: Path) -> None:
    """Weights, averaged weights, optimiser and log rows, bit for bit."""
    mine, theirs = final(one), final(other)
    assert mine.keys() == theirs.keys()
    assert {name.split(".")[0] for name in mine} - {"muon"} == {"model", "ema", "optimizer", "window"}
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert rows(one) == rows(other)


@pytest.fixture(autouse=True)
def one_thread():
    """These networks are too small to be shared among threads, and threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """A run of 300 steps, not interrupted."""
    run = tmp_path_factory.mktemp("runs") / "straight"
    assert fit(run, *TINY, "--steps", "300", "--log-every", "7", "--checkpoint-every", "100") == 0
    return run


def test_a_run_leaves_what_the_next_commands_need(straight, capsys):
    """Config, log with train and val rows, two checkpoints, and a model with the averaged weights."""
    config, model, dataset = load_run(straight)
    assert (config.preset, config.likelihood, config.steps) == ("demo", "gaussian", 300)
    assert not model.training
    assert dataset().image_shape == model.image_shape == (1, 8, 8)
    averaged = final(straight)
    assert all(torch.equal(value, averaged[f"ema.{name}"]) for name, value in model.state_dict().items())
    assert [path.name for path in checkpoint.files(straight / "checkpoints")] == [
        "step-00000300.safetensors",
        "step-00000200.safetensors",
    ]
    assert not (straight / "tensorboard").exists()
    log = read_rows(straight / "log.jsonl")
    assert [row["step"] for row in log if row["kind"] == "val"] == [100, 200, 300]
    losses = [row["loss"] for row in log if row["kind"] == "train"]
    assert losses[-1] < 0.8 * losses[0]
    for row in log:
        beta = row.get("beta", 1)
        assert row["loss"] == pytest.approx(row["distortion"] + beta * row["rate"], rel=0.02)


def test_ctrl_c_saves_and_the_printed_command_goes_on(straight, tmp_path, capsys):
    """Interrupted by SIGINT at any step and resumed as told, a run equals the uninterrupted one bit for bit."""
    run = tmp_path / "interrupted run"
    arguments = [*TINY, "--steps", "300", "--log-every", "7", "--checkpoint-every", "100"]
    command = [sys.executable, "-u", "-m", "training", "fit", "--run", str(run), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    while process.poll() is None and len(read_rows(run / "log.jsonl")) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=patience.SECONDS)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    printed = shlex.split(out.splitlines()[-1])
    assert printed == ["vae-train", "fit", "--run", str(run), "--resume"]
    assert 0 < load_step(run) < 300
    assert main(printed[1:]) == 0
    assert "resumed" in capsys.readouterr().out
    assert_same_runs(run, straight)


def load_step(run: Path) -> int:
    return int(checkpoint.files(run / "checkpoints")[0].stem.removeprefix("step-"))


def test_after_a_crash_the_last_whole_checkpoint_counts(straight, tmp_path, capsys, caplog):
    """With the newest checkpoint cut short and rows beyond the older one, the run repeats those steps."""
    run = tmp_path / "crashed"
    assert fit(run, *TINY, "--steps", "300", "--log-every", "7", "--checkpoint-every", "100") == 0
    newest = checkpoint.files(run / "checkpoints")[0]
    newest.write_bytes(newest.read_bytes()[:1000])
    with (run / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "ste')
    assert load_run(run).config.steps == 300
    assert "falling back" in caplog.text
    assert fit(run, "--resume") == 0
    assert "at step 200 of 300" in capsys.readouterr().out
    assert_same_runs(run, straight)


def test_resume_takes_no_other_options_and_no_other_data(straight, tmp_path, capsys):
    """What was started with β = 1 does not go on with β = 2; repeating a flag or naming a device is fine."""
    assert fit(straight, "--resume", "--beta", "2") == 2
    assert "--beta 2.0: the run in" in capsys.readouterr().err
    assert fit(straight, "--resume", "--steps", "300", "--device", "cpu") == 0
    assert "already at step 300 of 300" in capsys.readouterr().out
    assert fit(tmp_path / "nowhere", "--resume") == 2
    assert "cannot read config.json" in capsys.readouterr().err
    images = np.random.default_rng(0).random((50, 6, 6))
    np.save(tmp_path / "x.npy", images)
    assert fit(tmp_path / "run", "--data", str(tmp_path / "x.npy"), *TINY, "--steps", "5") == 0
    np.save(tmp_path / "x.npy", images[::-1])
    assert fit(tmp_path / "run", "--resume") == 2
    assert "has changed since the run began" in capsys.readouterr().err


def test_a_run_is_not_overwritten_by_accident(straight, tmp_path, capsys):
    """Neither a run nor a folder with something else in it; --overwrite replaces a run and nothing more."""
    assert fit(straight, *TINY) == 2
    assert "exists already; want --resume, --overwrite" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("mine")
    assert fit(tmp_path, *TINY) == 2
    assert "exists and is not a run" in capsys.readouterr().err
    run = tmp_path / "run"
    for seed in ("1", "2"):
        assert fit(run, *TINY, "--steps", "5", "--seed", seed, "--overwrite") == 0
        (run / "notes.txt").write_text("mine")
    assert load_run(run).config.seed == 2
    assert (run / "notes.txt").exists()
    assert len(checkpoint.files(run / "checkpoints")) == 1


def test_divergence_stops_and_names_the_last_good_checkpoint(tmp_path, capsys):
    """A loss that is not finite ends the run with exit code 2; what was saved before is whole and finite."""
    run = tmp_path / "run"
    diverging = ["--learning-rate", "1e30", "--log-every", "1", "--checkpoint-every", "1", "--steps", "50"]
    assert fit(run, *TINY, *diverging) == 2
    err = capsys.readouterr().err
    assert "diverged by step" in err
    assert "Traceback" not in err
    saved = checkpoint.files(run / "checkpoints")
    assert (f"the last good checkpoint is {saved[0]}" if saved else "no checkpoint was written") in err


def test_threads_are_set(tmp_path):
    """--threads reaches torch."""
    assert fit(tmp_path / "run", *TINY, "--steps", "2", "--threads", "2") == 0
    assert torch.get_num_threads() == 2


def test_bad_data_leaves_nothing_behind(tmp_path, capsys):
    """One line on stderr that names the option, exit code 2, and no run folder."""
    assert fit(tmp_path / "run", "--data", str(tmp_path / "nothing")) == 2
    err = capsys.readouterr().err
    assert err.startswith("vae-train: error: --data ")
    assert err.count("\n") == 1
    assert fit(tmp_path / "run", "--device", "cuda", *TINY) == (0 if torch.cuda.is_available() else 2)
    assert torch.cuda.is_available() or not (tmp_path / "run").exists()


def test_a_folder_of_images_as_in_the_readme(tmp_path, capsys, monkeypatch):
    """`vae-train fit --data path/to/images --run runs/mine` works as written, with TensorBoard's files."""
    random = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / f"path/to/images/{'ab'[number % 2]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (9, 12, 3), dtype=np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--data", "path/to/images", "--run", "runs/mine", "--steps", "3"]) == 0
    out = capsys.readouterr().out
    for part in ("images: 32 train", "3×9×12", "a (", "gaussian", "vae-train export --run runs/mine "):
        assert part in out
    assert "sigma" in read_rows(Path("runs/mine/log.jsonl"))[-1]
    assert list(Path("runs/mine/tensorboard").glob("events.out.tfevents.*"))
    monkeypatch.chdir("/")
    assert load_run(tmp_path / "runs/mine").dataset().name == "images"


@pytest.mark.parametrize("broken", ["config.json", "checkpoints", "format"])
def test_a_run_that_cannot_be_loaded_says_why(straight, tmp_path, broken):
    """No config, no checkpoint or a later format: a one-line error, not a traceback."""
    run = Run(tmp_path / "run")
    run.describe(Run(straight).description())
    if broken == "config.json":
        run.config_file.write_text("{")
    elif broken == "format":
        document = json.loads(run.config_file.read_text()) | {"format": 2}
        run.config_file.write_text(json.dumps(document))
    expected = {"config.json": "not JSON", "checkpoints": "found none", "format": "want format 1, came 2"}
    with pytest.raises(TrainingError, match=expected[broken]):
        load_run(run.path)


BASE = {"network": "mlp", "width": 12, "latent": 3, "batch_size": 16, "steps": 12, "clip": 5.0, "ema": 0.5}
KNOBS = {
    "without": "4",
    "model": "ae",
    "beta": 4.0,
    "network": "conv",
    "latent": 4,
    "width": 13,
    "depth": 2,
    "likelihood": "bernoulli",
    "steps": 13,
    "batch_size": 17,
    "learning_rate": 2e-3,
    "learning_rate_floor": 0.5,
    "warmup": 0.9,
    "weight_decay": 0.1,
    "deformation": 1.0,
    "clip": 0.5,
    "free_bits": 2.0,
    "beta_cycles": 3,
    "prior": "normal",
    "ema": 0.6,
    "seed": 1,
    "precision": "bfloat16",
    "split_seed": 1,
    "val_fraction": 0.3,
    "test_fraction": 0.3,
}
BESIDE_OTHERS = {
    "optimizer": ({"network": "conv"}, "muon"),
    "dropout": ({"network": "conv"}, 0.3),
    "importance_samples": ({"model": "iwae"}, 2),
    "importance_from": ({"model": "iwae", "importance_samples": 3}, 0.5),
    "couplings": ({"prior": "flow"}, 3),
    "coupling_width": ({"prior": "flow"}, 8),
    "mixture_components": ({"likelihood": "discretised_logistic"}, 2),
}
"""Options that count only where another is set: that one, and a value."""
ELSEWHERE = {
    "preset", "epochs",  # test_config: resolved into the others
    "data", "data_dir", "cache_dir", "image_size", "channels", "in_memory", "strict",  # test_data
    "label", "table_schema", "following", "input_noise",  # test_table_training
    "accumulate",  # test_distributed
    "binarisation", "device", "execution", "threads", "log_every", "checkpoint_every", "tensorboard",
}  # fmt: skip


def trained(folder: Path, **values: object) -> dict[str, torch.Tensor]:
    """The averaged weights after a few steps."""
    config = FitConfig(**{**BASE, "tensorboard": False, **values})
    dataset = load(config)
    config = resolve(config, dataset)
    run = Run(folder)
    described = RunDescription(config=config, dataset=DatasetFacts.of(dataset))
    run.describe(described)
    state = State.fresh(config, dataset.image_shape, torch.device("cpu"))
    train(state, dataset, config, run, owner=described.owner)
    return state.ema.model.state_dict()


def test_every_knob_has_an_effect(tmp_path):
    """Turning any one option changes the result; the same options give the same bits."""
    assert KNOBS.keys() | BESIDE_OTHERS.keys() | ELSEWHERE == set(FitConfig.model_fields)
    base = trained(tmp_path / "base")
    assert same(base, trained(tmp_path / "again"))
    for name, value in KNOBS.items():
        assert not same(base, trained(tmp_path / name, **{name: value})), f"{name} changes nothing"
    for name, (others, value) in BESIDE_OTHERS.items():
        plain = trained(tmp_path / f"{name} left out", **others)
        assert not same(plain, trained(tmp_path / name, **others, **{name: value})), f"{name} changes nothing"


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_second_ctrl_c_ends_at_once():
    """The first signal asks the loop to stop, the second acts as it always does."""
    from training.fit.interrupts import deferred

    with deferred() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop
        assert stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
