"""An autoencoder and a VAE of the same data, sampled from N(0, I), from pools and from a learned prior."""

from dataclasses import dataclass
from pathlib import Path

from training.data import Dataset
from training.evaluate import Metrics
from training.evaluate.run_evaluation import known_metrics
from training.pools.run_pools import latents_of_run
from training.report.pictures.grid import Grid, Line
from training.report.pictures.reported_model import ReportedModel
from training.runs import LoadedRun, Run, load_run, trained_steps
from training.training_error import TrainingError

ROWS_USE = 30
"""The noise of the rows from N(0, I): the same for both models."""


@dataclass(frozen=True)
class AutoencoderRun:
    """The run of an autoencoder that is shown beside a VAE."""

    path: Path
    loaded: LoadedRun

    def reported(self, dataset: Dataset) -> ReportedModel:
        """With the autoencoder's own pools."""
        step = trained_steps(Run(self.path))
        return ReportedModel(
            self.loaded.model,
            dataset,
            latents_of_run(self.path, self.loaded.model.encoder, dataset, step=step),
        )

    def metrics(self) -> Metrics | None:
        """Of the present weights, if there was an evaluation."""
        return known_metrics(Run(self.path))


def load_autoencoder(path: Path, run: Run, loaded: LoadedRun) -> AutoencoderRun:
    """The run of ``--beside``.

    Raises:
        TrainingError: it is no autoencoder, or of other data than ``run``, or ``run`` is one itself.
    """
    if loaded.model.kind == "ae":
        raise TrainingError(f"--beside {path}: want a VAE in --run to stand beside it, came an autoencoder")
    other = load_run(path)
    if other.model.kind != "ae":
        raise TrainingError(f"--beside {path}: want a run of --model ae, came --model {other.config.model}")
    wanted, came = run.description().dataset, Run(path).description().dataset
    if (wanted.sha256, wanted.image_shape) != (came.sha256, came.image_shape):
        raise TrainingError(
            f"--beside {path}: want the data of --run, {wanted.name} {wanted.sha256[:12]}…; "
            f"came {came.name} {came.sha256[:12]}…"
        )
    return AutoencoderRun(path, other)


def ae_beside_vae(vae: ReportedModel, metrics: Metrics, beside: AutoencoderRun) -> Grid:
    """Four rows {AE, VAE} × {N(0, I), pools}, and a fifth for a learned prior."""
    ae, measured = beside.reported(vae.dataset), beside.metrics()
    plain = "without its flow" if vae.has_flow else _note(metrics, "prior")
    noise = vae.noise(vae.columns, ROWS_USE)
    lines = [
        Line("AE, N(0, I)", ae.decoded(ae.noise(ae.columns, ROWS_USE)), _note(measured, "prior")),
        Line("AE, pools", ae.of_pools(ae.columns), _note(measured, "pools")),
        Line("VAE, N(0, I)", vae.decoded(noise), plain, opens=True),
        Line("VAE, pools", vae.of_pools(vae.columns), _note(metrics, "pools")),
    ]
    if vae.has_flow:
        lines.append(Line("VAE, learned prior", vae.of_prior(vae.columns, ROWS_USE), _note(metrics, "prior")))
    subtitle = "samples in no chosen order; rows of pools take one from each pool in turn"
    return Grid("ae_beside_vae.png", "AE beside VAE", subtitle, lines)


def _note(metrics: Metrics | None, source: str) -> str:
    """The trash rate and Fréchet distance of ``vae-train evaluate --samples``, where they were taken."""
    group = metrics.groups.get("samples") if metrics else None
    row = group.tables["samples"].get(source, {}) if group else {}
    parts = [f"trash {row['trash_rate']:.1%}"] if "trash_rate" in row else []
    return ", ".join(parts + ([f"FD {row['fd']:,.1f}"] if "fd" in row else []))
