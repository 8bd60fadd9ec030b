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


def page(
    reported: ReportedModel,
    config: FitConfig,
    metrics: Metrics,
    lead: Sequence[str],
    sections: Sequence[Section],
    animation: Still | None,
) -> bytes:
    """HTML, in UTF-8. Whatever comes from the data, like names of folders, is escaped.

    ``lead`` says in a few paragraphs what the model is.
    """
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
        lead=lead,
        key=key,
        further=further,
        protocol=protocol(metrics, reported.unit),
        groups=chapters(metrics, reported.unit),
        sections=sections,
        animation=animation,
        made=_made(reported, config, metrics),
    )
    return document.encode("utf-8", "replace")


def inlined(content: bytes, kind: str) -> str:
    """A data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _made(
    reported: ReportedModel, config: FitConfig, metrics: Metrics
) -> list[tuple[str, list[tuple[str, str]]]]:
    data = reported.dataset
    of_data = {
        "name": data.name,
        "sha256": data.sha256,
        reported.unit: f"{len(data.train):,} training, {len(data.val):,} validation, {len(data.test):,} test",
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
