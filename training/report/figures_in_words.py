"""The figures of an evaluation in words, for readers who have not seen the terms before."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from training.evaluate import Figure, Metrics
from training.evaluate.metrics import DISCRETE
from training.evaluate.tables import SPREADS, Row, Table
from training.modalities.table.evaluation import record_quality

KEY_FIGURES = ("nelbo", "nll", "rate", "distortion", "active_units")
GROUP_TITLES = {
    "samples": "Samples, judged by a classifier of real images",
    "latents": "The latent vector as a description",
    "ood": "Telling foreign images by the score",
}
GROUP_WORDS = {
    "samples": "FD, KID: distance from test images in the classifier's features, lower is better. Precision: "
    "share of samples that lie among real images; recall: share of real images that lie among samples. "
    "Trash: no clear member of any class, or where no real image lies. Class KL: how far the kinds are from "
    "their shares in the data, nats. Fidelity: share of a pool's samples that are taken for its label. "
    "The row real is what a perfect model would reach.",
    "latents": "Accuracy of classifiers that see latent vectors alone, with few and with all labels; "
    "clusters found without labels, compared with them; mutual information of image and latent, and KL of "
    "the aggregate posterior from the prior, between two bounds.",
    "ood": "How well −ELBO, distortion and rate tell images of another kind from test images. AUROC: 1 is "
    "perfect, 0.5 is chance. FPR95: share of the foreign images that pass when 95 % of the test images do.",
}
COLUMNS = {"fd": "FD", "kid": "KID", "class_kl": "class KL", "knn": "kNN", "auroc": "AUROC", "aupr": "AUPR"}
COLUMNS |= {"fpr95": "FPR95", "acc": "accuracy", "nmi": "NMI", "ari": "ARI", "mi": "MI", "kl": "KL"}
MOST_DECIMALS = 4
GROUPS_OF = {"rows": ({"samples": record_quality.TITLE}, {"samples": record_quality.WORDS})}
"""Titles and words, where they are not those of images."""
PARTS = {"images": "pixels", "rows": "columns"}
PARTS_DRAWN = frozenset({"images"})
"""Whose parts may have been drawn for the evaluation."""
BINARISATION = {"dynamic": "each pixel drawn once, to 0 or 1", "none": "not binarised"}


@dataclass(frozen=True)
class Term:
    """A figure by its name in the field and in plain words."""

    name: str
    unit: str
    meaning: str


TERMS = {
    "nelbo": Term("−ELBO", "nats", "upper bound of what it costs to tell one: distortion + rate"),
    "rate": Term("rate", "nats", "what the latents cost: KL(q(z|x) ‖ p(z))"),
    "distortion": Term("distortion", "nats", "what they leave untold: −E[log p(x|z)]"),
    "bits_per_dim_density": Term("bits per dimension", "bits", "−ELBO for each pixel value, from a density"),
    "bits_per_dim": Term("bits per dimension", "bits", "−ELBO for each pixel value, of 256 levels"),
    "bits_per_dim_nll": Term("bits per dimension, NLL", "bits", "the closer bound for each pixel value"),
    "nll": Term("NLL", "nats", "closer bound of −log p(x), by importance sampling; lower is better"),
    "effective_samples": Term("effective samples", "", "of the importance weights: how many count"),
    "dominated_images": Term(
        "dominated images", "share", "for which one sample has more than half the weight"
    ),
    "active_units": Term("active units", "", "latents that the model uses: variance of the mean above 0.01"),
}


@dataclass(frozen=True)
class Entry:
    """A figure, ready to be shown."""

    name: str
    value: str
    error: str
    """± standard error; empty where there is none."""
    unit: str
    meaning: str


@dataclass(frozen=True)
class Sheet:
    """A table of a group of figures, ready to be shown."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Chapter:
    """A group of figures, ready to be shown."""

    title: str
    words: str
    sheets: list[Sheet]
    protocol: list[tuple[str, str]]


def entries(metrics: Metrics, latents: int) -> tuple[list[Entry], list[Entry]]:
    """The key figures, and all the others."""
    shown = {name: _entry(name, figure, metrics, latents) for name, figure in metrics.figures.items()}
    key = [shown[name] for wanted in KEY_FIGURES for name in shown if _term_of(name) == wanted]
    return key, [entry for entry in shown.values() if entry not in key]


def protocol(metrics: Metrics, unit: str = "images") -> str:
    """How the key figures were taken, in a sentence or two; ``unit`` is what the data consist of."""
    taken = metrics.protocol
    images = f"all {taken.images:,} {taken.split} {unit}"
    if taken.images < taken.images_in_split:
        images = f"{taken.images:,} of {taken.images_in_split:,} {taken.split} {unit}, chosen at random"
    drawn = f" ({BINARISATION[taken.binarisation]})" if unit in PARTS_DRAWN else ""
    text = (
        f"Measured on {images}{drawn}, with the averaged weights after "
        f"{taken.step:,} steps; evaluation seed {taken.evaluation_seed}. Nats per {unit.removesuffix('s')}, "
        f"summed over {PARTS.get(unit, 'values')} and latents; ± one standard error over {unit}."
    )
    if taken.k is not None:
        text += f" NLL with k = {taken.k:,} importance samples: more of them bring the bound closer."
    if taken.likelihood == "gaussian":
        text += (
            " The Gaussian likelihood is a density, so its nats may be below 0; compare within one data set."
        )
    if taken.likelihood in DISCRETE:
        text += (
            " The likelihood is a probability of 256 levels, so its bits per dimension compare with those of "
            "other models of the same images."
        )
    return text


def chapters(metrics: Metrics, unit: str = "images") -> list[Chapter]:
    """Of each group that was measured."""
    titles, words = GROUPS_OF.get(unit, (GROUP_TITLES, GROUP_WORDS))
    return [
        Chapter(
            titles.get(name, name),
            words.get(name, ""),
            [_sheet(title, table) for title, table in group.tables.items() if table],
            [(key, _plain(value)) for key, value in group.protocol.items()],
        )
        for name, group in metrics.groups.items()
    ]


def _entry(name: str, figure: Figure, metrics: Metrics, latents: int) -> Entry:
    term = TERMS.get(_term_of(name), Term(name, "", ""))
    title = f"{term.name}, k = {metrics.protocol.k:,}" if _term_of(name) == "nll" else term.name
    value = f"{figure.value:,.2f}"
    if name == "active_units":
        value = f"{figure.value:.0f} of {latents}"
    error = "" if figure.standard_error is None else f"± {figure.standard_error:.2g}"
    return Entry(title, value.replace("-", "−"), error, term.unit, term.meaning)


def _term_of(name: str) -> str:
    return "nll" if name.startswith("nll_") else name


def _sheet(title: str, table: Table) -> Sheet:
    columns = list(dict.fromkeys(c for row in table.values() for c in row if not c.endswith(SPREADS)))
    rows = [(name, [_cell(row, column) for column in columns]) for name, row in table.items()]
    return Sheet(title, [COLUMNS.get(c, c.replace("_", " ")) for c in columns], rows)


def _cell(row: Row, column: str) -> str:
    if column not in row:
        return ""
    spread = next((row[column + suffix] for suffix in SPREADS if column + suffix in row), None)
    value, scale = row[column], row[column] if spread is None else spread
    digits = 4 if spread is None else 2
    decimals = digits - 1 - math.floor(math.log10(abs(scale))) if scale else 0
    if spread is None and value == round(value):
        decimals = 0
    decimals = min(MOST_DECIMALS, max(0, decimals))
    text = f"{value:,.{decimals}f}" + ("" if spread is None else f" ± {spread:,.{decimals}f}")
    return text.replace("-", "−")


def _plain(value: str | int | float) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def described(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Names and values for a table of facts."""
    return [(name.replace("_", " "), "–" if value is None else str(value)) for name, value in values.items()]
