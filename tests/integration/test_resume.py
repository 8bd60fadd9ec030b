"""A stop at any moment loses nothing, and a resumed run equals the uninterrupted one, whatever its network."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.integration.test_distributed import start_two
from tests.integration.test_fit import TINY, assert_same_runs, fit, load_step, one_thread  # noqa: F401 (a fixture)
from tests.support import patience
from training.fit import loop
from training.runs import Run, checkpoint, trained_steps
from training.runs.training_log import TrainingLog, read_rows

LENGTH = ["--steps", "60", "--log-every", "7", "--checkpoint-every", "20"]
TERMINATED = 128 + signal.SIGTERM


def signal_in(monkeypatch: pytest.MonkeyPatch, where: object, function: str, *, call: int) -> None:
    """SIGTERM to this process at the end of one call, counted from 1, of a function."""
    original, calls = getattr(where, function), []

    def signalled(*arguments, **options):
        result = original(*arguments, **options)
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(where, function, signalled)


def losses(run: Path) -> dict[int, float | None]:
    """Step → loss, of each checkpoint."""
    found = {}
    for path in checkpoint.files(run / "checkpoints"):
        with safe_open(path, framework="pt") as file:
            loss = file.metadata().get("loss")
        found[int(path.stem.removeprefix("step-"))] = None if loss is None else float(loss)
    return found


def validated(run: Path) -> dict[int, float]:
    """Step → loss, of the rows of the log."""
    log = [row for row in read_rows(run / "log.jsonl") if row["kind"] == "val"]
    assert len({row["step"] for row in log}) == len(log)
    return {row["step"]: row["loss"] for row in log}


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """A run that was not stopped."""
    run = tmp_path_factory.mktemp("runs") / "straight"
    assert fit(run, *TINY, *LENGTH) == 0
    return run


@pytest.mark.parametrize(
    ("where", "function", "call", "stops_at"),
    [
        pytest.param(loop, "train_step", 40, 40, id="in the step of a checkpoint"),
        pytest.param(loop, "train_step", 41, 41, id="in the step after it"),
        pytest.param(loop, "train_step", 42, 42, id="in the step of a log row"),
        pytest.param(loop, "validate", 2, 41, id="between validation and writing"),
        pytest.param(checkpoint, "save", 2, 41, id="after writing"),
        pytest.param(loop, "train_step", 1, 1, id="in the first step"),
    ],
)
def test_a_stop_loses_no_loss(straight, tmp_path, monkeypatch, where, function, call, stops_at):
    """Wherever the signal comes, each validation stands in the log once and in its checkpoint; the run goes on
    as if nothing had happened."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        signal_in(patch, where, function, call=call)
        assert fit(run, *TINY, *LENGTH) == TERMINATED
    assert load_step(run) == stops_at
    kept, looks = losses(run), validated(run)
    assert {step: loss for step, loss in kept.items() if loss is not None} == {
        step: loss for step, loss in looks.items() if step in kept
    }
    best = min(looks, key=lambda step: looks[step], default=None)
    assert checkpoint.lowest_loss(run / "checkpoints") == (best and (best, looks[best]))
    assert trained_steps(Run(run)) == (best or stops_at)
    assert fit(run, "--resume") == 0
    assert_same_runs(run, straight)
    assert checkpoint.lowest_loss(run / "checkpoints") == checkpoint.lowest_loss(straight / "checkpoints")


def test_a_stop_in_the_last_step_is_no_stop(straight, tmp_path, monkeypatch, capsys):
    """The run is done: exit code 0, the last loss kept; to resume it changes nothing."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        signal_in(patch, loop, "train_step", call=60)
        assert fit(run, *TINY, *LENGTH) == 0
    assert "validated" in capsys.readouterr().out
    assert losses(run) == losses(straight)
    before = {path: path.stat().st_mtime_ns for path in checkpoint.files(run / "checkpoints")}
    assert fit(run, "--resume") == 0
    assert "already at step 60 of 60" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in checkpoint.files(run / "checkpoints")} == before
    assert_same_runs(run, straight)


def test_a_second_signal_in_the_midst_of_writing_leaves_what_was_there(straight, tmp_path, monkeypatch):
    """Ctrl-C twice while a checkpoint is written: the ones before it count, and its remains are cleared away."""
    run, original = tmp_path / "run", checkpoint.save_file

    def interrupted(tensors, path, metadata):
        original(tensors, path, metadata=metadata)
        if metadata["step"] == "40":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", interrupted)
        assert fit(run, *TINY, *LENGTH) == 130
    assert load_step(run) == 20
    assert fit(run, "--resume") == 0
    assert_same_runs(run, straight)
    assert {path.suffix for path in (run / "checkpoints").iterdir()} == {".safetensors"}


def test_a_run_that_lost_its_losses_still_goes_on(straight, tmp_path):
    """Checkpoints of earlier versions may have none: the latest is taken, and the next look counts."""
    run = shutil.copytree(straight, tmp_path / "run")
    newest, older = checkpoint.files(run / "checkpoints")[:2]
    newest.unlink()
    with safe_open(older, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    owner = Run(run).description().owner
    for path in checkpoint.files(run / "checkpoints"):
        path.unlink()
    checkpoint.save(run / "checkpoints", 40, tensors, owner=owner)
    assert checkpoint.lowest_loss(run / "checkpoints") is None
    assert trained_steps(Run(run)) == 40
    assert fit(run, "--resume") == 0
    assert_same_runs(run, straight)
    assert checkpoint.lowest_loss(run / "checkpoints")[0] == 60


def test_a_log_that_cannot_be_written_ends_in_one_line(straight, tmp_path, monkeypatch, capsys):
    """A full disk: the row is named as lost, and the run goes on from its last checkpoint when there is room."""
    run, original = tmp_path / "run", TrainingLog._write

    def write(log, kind, step, values):
        if step == 42:
            with (run / "log.jsonl").open("a") as file:  # what had still fitted
                file.write('{"kind": "tra')
            log._file.close()
            log._file = Path("/dev/full").open("w")  # noqa: SIM115 (the log closes it)
        original(log, kind, step, values)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLog, "_write", write)
        assert fit(run, *TINY, *LENGTH) == 2
    err = capsys.readouterr().err
    assert f"vae-train: error: {run}/log.jsonl: cannot be written: No space left on device" in err
    assert "Traceback" not in err
    assert fit(run, "--resume") == 0
    assert_same_runs(run, straight)


CONV = ["--network", "conv", "--width", "4", "--latent", "4", "--batch-size", "16", "--no-tensorboard"]
SHORT = [
    "--steps",
    "16",
    "--log-every",
    "3",
    "--checkpoint-every",
    "5",
    "--threads",
    "1",
    "--weight-decay",
    "0.1",
]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="vae"),
        pytest.param(["--accumulate", "4"], id="accumulate"),
        pytest.param(["--optimizer", "muon", "--dropout", "0.2"], id="muon and dropout"),
        pytest.param(["--prior", "flow", "--couplings", "2", "--coupling-width", "8"], id="flow"),
        pytest.param(
            ["--model", "iwae", "--importance-samples", "3", "--likelihood", "bernoulli"], id="iwae"
        ),
    ],
)
def test_a_resumed_conv_run_equals_the_straight_one(tmp_path, monkeypatch, options, precision):
    """Weights, averaged weights, Adam's moments and the log, bit for bit, stopped at a checkpoint and beside one."""
    arguments = [*CONV, *SHORT, *options, "--precision", precision]
    assert fit(tmp_path / "straight", *arguments) == 0
    for step in (10, 12):
        run = tmp_path / f"stopped at {step}"
        with monkeypatch.context() as patch:
            signal_in(patch, loop, "train_step", call=step)
            assert fit(run, *arguments) == TERMINATED
        assert fit(run, "--resume") == 0
        assert_same_runs(run, tmp_path / "straight")


def test_two_processes_resume_a_conv_run_bit_for_bit(tmp_path):
    """Every process takes up the moments in the layout of its weights."""
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    arguments = [*CONV, *SHORT, "--precision", "float32"]
    for run, options in ((straight, arguments), (resumed, ["--resume"])):
        if run == resumed:
            shutil.copytree(straight, resumed)
            checkpoint.files(resumed / "checkpoints")[0].unlink()
        processes = start_two(run, *options)
        errors = [process.communicate(timeout=patience.SECONDS)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
    assert_same_runs(resumed, straight)
