"""The page: one HTML file that holds all of its pictures and needs nothing from elsewhere."""

import base64
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from training.charts import Still, short
from training.config import MACHINE_FIELDS, FitConfig
from training.evaluate import Metrics
from training.report.figures_in_words import chapters, described, entries, protocol
from training.report.pictures.reported_model import ReportedModel
from training.report.sections import Section

KINDS = {
    "ae": "Autoencoder",
    "vae": "Variational autoencoder",
    "beta_vae": "β-VAE",
    "iwae": "Importance-weighted autoencoder",
}
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


def page(
    reported: ReportedModel,
    config: FitConfig,
    metrics: Metrics,
    sections: Sequence[Section],
    animation: Still | None,
) -> bytes:
    """HTML, in UTF-8. Whatever comes from the data, like names of folders, is escaped."""
    environment = Environment(
        loader=PackageLoader("training.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inlined"] = inlined
    key, further = entries(metrics, reported.latents.pools.mean.shape[1])
    document = environment.get_template("page.html").render(
        title=f"{KINDS[reported.model.kind]} of {_printable(reported.dataset.name)}",
        lead=lead(reported, config, metrics),
        key=key,
        further=further,
        protocol=protocol(metrics),
        groups=chapters(metrics),
        sections=sections,
        animation=animation,
        made=_made(reported, config, metrics),
    )
    return document.encode("utf-8", "replace")


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
        f"steps of {config.batch_size} images{_duration(metrics.protocol.training_seconds)}.",
    ]


def inlined(content: bytes, kind: str) -> str:
    """A data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f", {minutes} min {rest} s" if minutes else f", {rest} s"


def _made(
    reported: ReportedModel, config: FitConfig, metrics: Metrics
) -> list[tuple[str, list[tuple[str, str]]]]:
    data = reported.dataset
    of_data = {
        "name": data.name,
        "sha256": data.sha256,
        "images": f"{len(data.train):,} training, {len(data.val):,} validation, {len(data.test):,} test",
        "labels": ", ".join(short(name) for name in data.label_names) or None,
    }
    options = {k: v for k, v in config.model_dump(mode="json").items() if k not in MACHINE_FIELDS}
    return [
        ("Data", described(of_data)),
        ("Options of the training", described(options)),
        ("Protocol of the evaluation", described(metrics.protocol.model_dump())),
    ]


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in name)
