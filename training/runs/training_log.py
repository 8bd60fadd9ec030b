"""The log of a training: ``log.jsonl``, the same for TensorBoard, and a progress bar.

A "train" row holds the mean of the steps since the row before it, a "val" row the averaged weights on
the validation images. Losses are in nats per image.
"""

import contextlib
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from training.config import FitConfig
from training.runs.run_folder import Run
from training.runs.time_left import TimeLeft, in_words
from training.training_error import TrainingError

Row = dict[str, Any]

BOUND = ("loss", "distortion", "rate")
"""What the bar shows of a row."""

log = logging.getLogger(__name__)


class TrainingLog:
    """Writes the rows of one session of training; a context manager."""

    def __init__(
        self, run: Run, config: FitConfig, *, step: int, held_out: int = 0, is_asynchronous: bool = False
    ) -> None:
        """
        Args:
            step: where the session begins. Rows of later steps, left by a crash, are dropped.
            held_out: validation images that each look takes.
            is_asynchronous: whether a step may still be under way when it is told of; a row never is.
        """
        kept = [row for row in read_rows(run.log_file) if row["step"] <= step]
        self._path = run.log_file
        with _written(self._path):
            _replace(self._path, kept)
        self._board = None
        if config.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            with _written(run.tensorboard):
                self._board = SummaryWriter(str(run.tensorboard), purge_step=step + 1)
        self._file = self._path.open("a", encoding="utf-8")
        self._bar = tqdm(
            total=config.total_steps,
            initial=step,
            bar_format="{percentage:3.0f}% {bar:20} {n}/{total} steps{postfix}",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )
        self._batch_size = config.batch_size
        self._time = TimeLeft(
            step=step,
            total=config.total_steps,
            look_every=config.checkpoint_every,
            look_in_steps=held_out / config.batch_size,
            samples=config.importance_samples or 1,
            single_steps=config.single_steps,
        )
        self._is_asynchronous, self._is_estimated = is_asynchronous, False
        self._seconds_before = float(kept[-1]["seconds"]) if kept else 0.0
        self._started = self._row_at = time.perf_counter()
        self._row_step = step
        self._shown: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        with contextlib.suppress(OSError):  # every row was flushed; one that could not be has been named
            self._file.close()
        if self._board:
            with _written(Path(self._board.log_dir)) if kind is None else contextlib.suppress(OSError):
                self._board.close()

    def advance(self) -> None:
        """One step more on the bar."""
        self._time.stepped()
        if not self._is_asynchronous:
            self._estimate_once()
        if not self._bar.disable:
            self._refresh()
        self._bar.update()

    def train_row(self, step: int, terms: Mapping[str, float], *, beta: float, learning_rate: float) -> None:
        now = time.perf_counter()
        images_per_s = (step - self._row_step) * self._batch_size / (now - self._row_at)
        self._row_at, self._row_step = now, step
        self._estimate_once()
        schedule = {"beta": beta, "learning_rate": learning_rate}
        self._write("train", step, {**terms, **schedule, "images_per_s": images_per_s})
        self._show({name: f"{terms[name]:.2f}" for name in BOUND} | {"images/s": f"{images_per_s:,.0f}"})

    def val_row(self, step: int, terms: Mapping[str, float], *, sigma: float | None) -> None:
        values = dict(terms) if sigma is None else {**terms, "sigma": sigma}
        self._write("val", step, values)
        self._time.looked()
        self._show({"val": f"{values['loss']:.2f}"})
        self._row_at, self._row_step = time.perf_counter(), step  # validation is no part of images/s
        if self._bar.disable:
            log.info("step %d: %s", step, self._state())

    def _write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        seconds = self._seconds_before + time.perf_counter() - self._started
        row: Row = {"kind": kind, "step": step, **values, "seconds": round(seconds, 3)}
        with _written(self._path):
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        if self._board:
            with _written(Path(self._board.log_dir)):
                for name, value in values.items():
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def _show(self, values: Mapping[str, str]) -> None:
        self._shown.update(values)
        self._refresh()

    def _refresh(self) -> None:
        self._bar.set_postfix_str(self._state(), refresh=False)

    def _state(self) -> str:
        parts = [f"{name} {text}" for name, text in self._shown.items()]
        if self._time.is_known:
            parts.append(f"{in_words(self._time.seconds)} left")
        return ", ".join(parts)

    def _estimate_once(self) -> None:
        """Said as soon as it is known, unless the end is as near."""
        if not self._is_estimated and self._time.is_known:
            self._is_estimated = True
            self._bar.write(self._time.estimate(), file=sys.stdout)
            sys.stdout.flush()


def read_rows(path: Path) -> list[Row]:
    """The rows of a ``log.jsonl``; from the line on that a crash cut short or spoiled, nothing is read."""
    rows: list[Row] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not (isinstance(row, dict) and {"kind", "step", "seconds"} <= row.keys()):
                break
            rows.append(row)
    return rows


def training_speed(run: Run) -> tuple[float | None, float | None]:
    """What the log says: seconds, looks at the validation images included, and images/s without them."""
    rows = read_rows(run.log_file)
    rates = [row["images_per_s"] for row in rows if row["kind"] == "train"]
    return (rows[-1]["seconds"] if rows else None), (statistics.median(rates) if rates else None)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Raises TrainingError for what cannot be written within."""
    try:
        yield
    except OSError as exc:
        raise TrainingError(f"{path}: cannot be written: {exc.strerror}") from None


def _replace(path: Path, rows: list[Row]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    os.replace(partial, path)
