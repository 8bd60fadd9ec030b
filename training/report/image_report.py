"""The report of a model of images."""

from training.config import FitConfig
from training.evaluate import Metrics
from training.evaluate.measured_run import MeasuredRun
from training.report.page import page
from training.report.pictures.autoencoder_comparison import AutoencoderRun
from training.report.pictures.found_pools import found_pools
from training.report.pictures.latent_walks import animation
from training.report.pictures.reported_model import ReportedModel
from training.report.run_duration import duration
from training.report.sections import sections
from training.runs.training_log import read_rows

PAGE = "index.html"
NETWORKS = {
    "mlp": "a gated multilayer perceptron",
    "conv": "a residual convolutional network",
    "patches": "a residual convolutional network behind a stem of patches",
}
LIKELIHOODS = {
    "bernoulli": "Bernoulli pixels",
    "gaussian": "Gaussian pixels with one learned σ",
    "discretised_logistic": "pixels of 256 levels by mixtures of discretised logistics",
}


def report_files(measured: MeasuredRun, *, beside: AutoencoderRun | None = None) -> dict[str, bytes]:
    """File name to content: ``index.html``, its pictures as files of their own, and ``metrics.json``."""
    run, metrics, config = measured.run, measured.metrics, measured.loaded.config
    reported = ReportedModel(measured.loaded.model, measured.dataset, measured.latents)
    kinds = found_pools(run, reported, step=metrics.protocol.step)
    found = sections(reported, read_rows(run.log_file), metrics, found=kinds, beside=beside)
    moving = animation(reported) if len(reported.kinds) > 1 else None
    pictures = [
        *([moving] if moving else []),
        *(picture for section in found for picture in section.pictures),
    ]
    files = {PAGE: page(reported, config, metrics, lead(reported, config, metrics), found, moving)}
    files |= {picture.file: picture.content() for picture in pictures}
    return files | {"metrics.json": metrics.to_json().encode()}


def lead(reported: ReportedModel, config: FitConfig, metrics: Metrics) -> list[str]:
    """What the model is, in two paragraphs."""
    model, data = reported.model, reported.dataset
    channels, height, width = data.image_shape
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels}-channel")
    labels = f", {len(data.label_names)} labels" if data.label_names else ", no labels"
    about = {
        True: "It compresses each image to a short latent vector and reconstructs it; where in latent "
        "space its data lie, nobody has told it.",
        False: "It compresses each image to a short latent vector, and is trained so that the vectors of "
        "all images fill a known distribution. So new images can be drawn, each kind of data has a pool "
        "of its own, and a small step gives a valid, slightly different result.",
    }[reported.is_point]
    weights = sum(parameter.numel() for parameter in model.parameters())
    prior = "" if reported.is_point else f", prior {'a real NVP flow' if reported.has_flow else 'N(0, I)'}"
    latents = reported.latents.pools.mean.shape[1]
    return [
        about,
        f"{NETWORKS[config.network].capitalize()} with {latents:,} latent{'s' if latents > 1 else ''} and "
        f"{weights:,} parameters, {LIKELIHOODS[model.likelihood.name]}{prior}. Trained on "
        f"{len(data.train):,} {colour} images of {height}×{width} pixels{labels}: {config.total_steps:,} "
        f"steps of {config.batch_size} images{duration(metrics.protocol.training_seconds)}.",
    ]
