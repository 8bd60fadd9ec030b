"""What latents are good for: classes from few labels, clusters without any.

Everything is measured on posterior means of images as they are. N is the number of images, Z of latents.
"""

import math
import time
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from training.evaluate.evaluated_model import EvaluatedModel, Use
from training.evaluate.latents.aggregate_posterior import COMPONENTS, FITTED, aggregate_rows
from training.evaluate.tables import Group, Row, Table
from training.training_error import TrainingError

FEW_LABELS = (10, 100)
"""Labels of each class that a probe learns from, beside all of them."""
DRAWS = 5
"""Choices of those few labels; the figure is their mean."""
INVERSE_L2 = (0.01, 0.1, 1.0, 10.0)
"""Of the logistic regression, on standardised latents; the validation images choose."""
NEAREST = 5
CLUSTERED_IMAGES = 10_000
CLUSTER_STARTS = 3

Means = NDArray[np.float32]
Labels = NDArray[np.int64]


def latents_group(evaluated: EvaluatedModel) -> Group:
    """Probes and clusters where there are labels, the aggregate posterior where there is a posterior.

    Raises:
        TrainingError: neither labels nor a posterior, or labels of one class only.
    """
    began = time.perf_counter()
    labelled = evaluated.dataset.train.labels is not None
    if labelled and len(evaluated.dataset.label_names) < 2:
        raise TrainingError("--latents: want labels of at least 2 classes, came 1")
    if not labelled and evaluated.model.kind == "ae":
        raise TrainingError("--latents: want images with labels, or a model with a posterior; came neither")
    tables: dict[str, Table] = {}
    if labelled:
        tables |= {
            "labels per class": _probe_rows(evaluated),
            "clusters": {"mixture": _cluster_row(evaluated)},
        }
    if evaluated.model.kind != "ae":
        tables["aggregate posterior, nats"] = aggregate_rows(evaluated)
    return Group(
        protocol=evaluated.protocol
        | {
            "latents": "posterior means of images that are not binarised",
            "train_images": len(evaluated.dataset.train),
            "draws": DRAWS,
            "logistic": f"standardised, inverse L2 of {INVERSE_L2} by validation accuracy",
            "knn": NEAREST,
            "clusters": f"Gaussian mixture, full covariances, a component a class, best of {CLUSTER_STARTS} "
            f"starts on at most {CLUSTERED_IMAGES} training images, no labels; counted on held-out images",
            "aggregate": f"one draw of each posterior; density: mixture of at most {COMPONENTS} Gaussians, "
            f"fitted to draws of {FITTED} training images",
            "seconds": time.perf_counter() - began,
        },
        tables=tables,
    )


def _probe_rows(evaluated: EvaluatedModel) -> Table:
    """Held-out accuracy of probes that learn from few labels and from all."""
    labels = _array(evaluated.dataset.train.labels)
    fewest = int(np.bincount(labels)[np.unique(labels)].min())
    validation = evaluated.latents(evaluated.dataset.val.images).mean, _array(evaluated.dataset.val.labels)
    rows: Table = {}
    for count in (*(n for n in FEW_LABELS if n < fewest), None):
        scores = []
        seed = evaluated.seed_for(Use.LABELS)
        for chosen in few_labels(labels, count, draws=DRAWS if count else 1, seed=seed):
            train = evaluated.train_latents.mean[chosen], labels[chosen]
            probe = fit_logistic(train, validation)
            neighbours = KNeighborsClassifier(min(NEAREST, len(chosen)), algorithm="brute").fit(*train)
            held_out = evaluated.held_out_latents.mean, _array(evaluated.held_out.labels)
            scores.append([float(model.score(*held_out)) for model in (probe, neighbours)])
        rows["all" if count is None else str(count)] = _mean_row(np.array(scores), len(evaluated.held_out))
    return rows


def _mean_row(scores: NDArray[np.float64], images: int) -> Row:
    """Of [draws, 2]: the spread of several draws, or the standard error of one over the images."""
    row: Row = {}
    for name, column in zip(("logistic", "knn"), scores.T, strict=True):
        mean = float(column.mean())
        row[name] = mean
        if len(column) > 1:
            row[f"{name}_sd"] = float(column.std(ddof=1))
        else:
            row[f"{name}_se"] = math.sqrt(mean * (1 - mean) / images)
    return row


def few_labels(labels: Labels, count: int | None, *, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """``draws`` times the rows of ``count`` images of each class; None: of all images."""
    draw = np.random.default_rng(seed)
    for _ in range(draws):
        if count is None:
            yield np.arange(len(labels))
        else:
            members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
            yield np.concatenate([draw.permutation(rows)[:count] for rows in members])


def fit_logistic(train: tuple[Means, Labels], validation: tuple[Means, Labels]) -> Pipeline:
    """The linear probe with the L2 penalty that classifies the validation images best."""
    scaled = StandardScaler().fit(train[0])
    probes = []
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # the last percent of a probe's fit changes nothing
        for inverse in INVERSE_L2:
            probe = LogisticRegression(C=inverse, max_iter=200).fit(scaled.transform(train[0]), train[1])
            probes.append(make_pipeline(scaled, probe))
    best = np.argmax([probe.score(*validation) for probe in probes])
    return probes[int(best)]


def _cluster_row(evaluated: EvaluatedModel) -> Row:
    """Clusters of the training images, as many as classes, applied to the held-out images."""
    seed = evaluated.seed_for(Use.CLUSTERS)
    draw = np.random.default_rng(seed)
    means = evaluated.train_latents.mean
    rows = draw.permutation(len(means))[:CLUSTERED_IMAGES]
    classes = len(np.unique(_array(evaluated.dataset.train.labels)))
    mixture = GaussianMixture(min(classes, len(rows)), n_init=CLUSTER_STARTS, max_iter=200, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(means[rows].astype(np.float64))
    found = mixture.predict(evaluated.held_out_latents.mean.astype(np.float64))
    return cluster_agreement(_array(evaluated.held_out.labels), found)


def cluster_agreement(labels: Labels, clusters: Labels) -> Row:
    """``acc``, by the best one-to-one matching (Hungarian method), ``nmi`` and ``ari``; both arrays [N]."""
    counts = contingency_matrix(labels, clusters)
    accuracy = float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels))
    return {
        "acc": accuracy,
        "acc_se": math.sqrt(accuracy * (1 - accuracy) / len(labels)),
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
    }


def _array(labels: object) -> Labels:
    return np.asarray(labels, np.int64)
