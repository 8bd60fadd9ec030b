"""The run folder: everything that one training leaves behind.

``config.json``   the resolved config and what identifies the data
``checkpoints/``  the last two and the best, see ``training.runs.checkpoint``
``log.jsonl``     one row per report, see ``training.runs.training_log``
``tensorboard/``  the same for TensorBoard
``metrics.json``  written by ``vae-train evaluate``
``report/``       pictures, written by ``vae-train report``
``pools.json``    and ``pools.safetensors``: kinds found without labels, by ``vae-train pools``
"""

import contextlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.bundle.tables import Schema
from training.config import MACHINE_FIELDS, FitConfig
from training.data import Dataset, Spec
from training.modalities import build_model, load
from training.models import VAE
from training.runs import checkpoint
from training.training_error import TrainingError


class DatasetFacts(BaseModel):
    """What a run remembers of its data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    image_shape: tuple[int, int, int] | None = None
    """Of images."""
    table: Schema | None = None
    """The schema of a table."""
    label_names: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        return cls(
            name=dataset.name,
            sha256=dataset.sha256,
            image_shape=None if dataset.schema else dataset.image_shape,
            table=dataset.schema,
            label_names=dataset.label_names,
        )

    @property
    def spec(self) -> Spec:
        return self.image_shape if self.table is None else self.table


class RunDescription(BaseModel):
    """``config.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    config: FitConfig
    dataset: DatasetFacts

    @property
    def owner(self) -> str:
        """Names this configuration in its checkpoints; where files lie and the device do not matter.

        Nor do options at their defaults, so that a run outlives the coming of a new option.
        """
        document = self.model_dump(mode="json", exclude_defaults=True)
        document["config"] = {k: v for k, v in document["config"].items() if k not in MACHINE_FIELDS}
        return checkpoint.owner_of(document)


@dataclass(frozen=True)
class Run:
    """Paths of a run folder, and its description."""

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / "config.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def log_file(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        return self.path / "report"

    @property
    def model_name(self) -> str:
        """What its bundle is called unless told otherwise: the folder's name, in letters it may have."""
        plain = unicodedata.normalize("NFKD", self.path.resolve().name).encode("ascii", "ignore").decode()
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", plain).strip("-").lstrip("_.-")
        return name[:128] or "model"

    def exists(self) -> bool:
        return os.path.isfile(self.config_file)  # unlike pathlib, also of a name too long for a file

    def clear(self) -> None:
        """Remove a run, and nothing else that may lie in its folder; config.json goes first.

        Raises:
            TrainingError: a file of it cannot be removed.
        """
        found = (self.path / "pools.json", self.path / "pools.safetensors")
        for file in (self.config_file, self.log_file, self.metrics_file, *found):
            try:
                file.unlink(missing_ok=True)
            except OSError as exc:
                raise TrainingError(f"--run {file}: cannot be removed: {exc.strerror}") from None
        for folder in (self.checkpoints, self.tensorboard, self.report):
            shutil.rmtree(folder, ignore_errors=True)

    def describe(self, description: RunDescription) -> None:
        """Create the folder with its ``config.json``; what cannot be written leaves no half of it behind."""
        partial = self.config_file.with_suffix(".partial")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            partial.write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
            partial.replace(self.config_file)
        except OSError as exc:
            with contextlib.suppress(OSError):  # else the folder would be no run, and not empty either
                partial.unlink()
            raise TrainingError(f"--run {self.path}: cannot be written: {exc.strerror}") from None

    def description(self) -> RunDescription:
        """Raises TrainingError unless there is a ``config.json`` that this code can read."""
        try:
            content = self.config_file.read_text(encoding="utf-8")
            document = json.loads(content)
            if isinstance(document, dict) and document.get("format") != 1:
                raise TrainingError(f"{self.config_file}: want format 1, came {document.get('format')!r}")
            return RunDescription.model_validate_json(content)
        except OSError as exc:
            raise TrainingError(f"--run {self.path}: cannot read config.json: {exc.strerror}") from None
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            raise TrainingError(f"{self.config_file}: {key}: {first['msg']}") from None
        except ValueError as exc:
            raise TrainingError(f"{self.config_file}: not JSON: {exc}") from None


class LoadedRun(NamedTuple):
    """A trained model, ready to be evaluated or exported."""

    config: FitConfig
    model: VAE
    """The averaged (EMA) weights, in eval mode, on the CPU."""
    dataset: Callable[[], Dataset]
    """Loads the data of the run; raises TrainingError if they are no longer the same."""


def load_run(path: Path) -> LoadedRun:
    """The model of the best checkpoint that can be read: see ``training.runs.checkpoint``.

    Raises:
        TrainingError: not a run folder, no checkpoint, or one of another configuration.
    """
    run = Run(path)
    described = run.description()
    model = build_model(described.config, described.dataset.spec)
    best = checkpoint.load_best(run.checkpoints, owner=described.owner, prefix="ema.")
    weights = {name.removeprefix("ema."): tensor for name, tensor in best.tensors.items()}
    try:
        model.load_state_dict(weights)
    except RuntimeError as exc:
        raise TrainingError(f"{best.path}: does not fit {run.config_file}: {exc!s:.200}") from None
    return LoadedRun(described.config, model.eval().requires_grad_(False), lambda: load_same(described))


def trained_steps(run: Run) -> int:
    """Optimiser steps of the model that ``load_run`` gives."""
    return checkpoint.load_best(run.checkpoints, owner=run.description().owner, prefix="none of them").step


def load_same(described: RunDescription) -> Dataset:
    """The data of a run.

    Raises:
        TrainingError: their content is no longer what the run was trained on.
    """
    dataset = load(described.config)
    if dataset.sha256 != described.dataset.sha256:
        wanted, came = described.dataset.sha256[:12], dataset.sha256[:12]
        raise TrainingError(
            f"--data {described.config.data}: has changed since the run began: "
            f"want sha256 {wanted}…, came {came}…"
        )
    if dataset.spec != described.dataset.spec:  # a table's types may come from another file
        raise TrainingError(
            f"--data {described.config.data}: is read in another way than when the run began; "
            "want the --schema file as it was"
        )
    return dataset
