"""Models to explore, trained briefly: VAE and AE of the digits, and of MNIST if it is here."""

import os
import subprocess
import sys
from pathlib import Path

DIGITS, DIGITS_AE, MNIST = "digits", "digits-ae", "mnist"
_STEPS = {DIGITS: 800, DIGITS_AE: 500, MNIST: 200}
_SLOWLY_S = 1800.0
"""A command, where many share the machine."""


def train(repository: Path, runs: Path, data: Path | None) -> None:
    """``data`` is a folder with ``mnist/``. What is in the repository already is left alone."""
    _made(repository, runs, DIGITS, "--data", "digits", "--preset", "demo")
    _made(repository, runs, DIGITS_AE, "--data", "digits", "--preset", "demo", "--model", "ae")
    if data is not None:
        where = ("--data", "mnist", "--data-dir", str(data / "mnist"))
        # As a VAE: several samples, and Muon, are for longer trainings.
        _made(
            repository, runs, MNIST, *where, "--preset", "standard", "--model", "vae", "--optimizer", "adamw"
        )


def _made(repository: Path, runs: Path, name: str, *flags: str) -> None:
    if (repository / name).is_dir():
        return
    run = runs / name
    _vae_train(
        "fit", *flags, "--run", str(run), "--steps", str(_STEPS[name]), "--no-tensorboard", "--overwrite"
    )
    # Such a short training need not be good, and its report is looked at by nobody.
    _vae_train("export", "--run", str(run), "--repository", str(repository), "--name", name, "--force")


def _vae_train(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=_SLOWLY_S,
        check=False,
    )
    assert done.returncode == 0, f"vae-train {arguments[0]}: {done.stderr[-2000:]}"
