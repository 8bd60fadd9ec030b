"""Export the model of a run folder."""

from pathlib import Path

import torch
from torch import Tensor, nn

from serving.bundle import Bundle, Likelihood
from training.config import FitConfig
from training.data import Dataset
from training.evaluate import Metrics, present_metrics
from training.export.bundle import Facts, export_bundle, free_target
from training.models import VAE
from training.models.posterior import LOG_VAR_RANGE
from training.pools import fit_latents
from training.report import pictures
from training.runs import Run, load_run


class ImageEncoder(nn.Module):
    """Image [B, C, H, W] → mean, log_var [B, *latent_shape]."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.is_point = model.kind == "ae"

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.encoder(image)
        if self.is_point:  # an autoencoder never trained its log-variance: as near to a point as it gets
            log_var = torch.full_like(mean, LOG_VAR_RANGE[0])
        return mean, log_var


class ImageDecoder(nn.Module):
    """Latent [B, *latent_shape] → the mean of p(x|z) [B, C, H, W], in [0, 1]."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.likelihood = model.likelihood

    def forward(self, latent: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(latent))


def export_run(
    path: Path, *, repository: Path, name: str, version: int | None = None
) -> tuple[Bundle, Metrics]:
    """Seal the averaged weights of a run with its pools, metrics and pictures.

    A run without an evaluation of these weights is evaluated on at most 1,000 random test images first.

    Raises:
        TrainingError: see ``load_run`` and ``export_bundle``.
    """
    free_target(repository, name, version)  # a bad name is refused before any work is done
    run, loaded = Run(path), load_run(path)
    dataset = loaded.dataset()
    metrics = present_metrics(run, loaded, dataset)
    encoder = ImageEncoder(loaded.model)
    latents = fit_latents(encoder, dataset.train.images, dataset.train.labels, dataset.label_names)
    report = pictures(run, loaded.model, dataset, latents)
    bundle = export_bundle(
        encoder,
        ImageDecoder(loaded.model),
        repository=repository,
        name=name,
        version=version,
        images=dataset.train.images,
        labels=dataset.train.labels,
        label_names=dataset.label_names,
        facts=_facts(loaded.config, loaded.model, dataset, metrics),
        latents=latents,
        report=report | {"metrics.json": metrics.to_json().encode()},
    )
    return bundle, metrics


def _facts(config: FitConfig, model: VAE, dataset: Dataset, metrics: Metrics) -> Facts:
    known = model.likelihood
    likelihood = {"name": known.name, "sigma": known.sigma, "binarisation": config.binarisation}
    return Facts(
        kind=model.kind,
        likelihood=Likelihood.model_validate(likelihood),
        dataset=dataset.name,
        objective="distortion" if model.kind == "ae" else "elbo",
        dataset_sha256=dataset.sha256,
        beta=None if model.kind == "ae" else config.beta,
        seed=config.seed,
        steps=metrics.protocol.step,
        metrics=metrics.figures,
    )
