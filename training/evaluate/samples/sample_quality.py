"""How good the samples of a model are: distances, precision and recall, trash rate, pool fidelity.

Everything is measured in the features of one network (``training.evaluate.features.judges``) on the means
of p(x|z), against held-out images. The row "real", training images in the place of samples, is what a
perfect model would have. N is the number of samples, d that of features, Z that of latents.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data import to_unit
from training.evaluate.evaluated_model import EvaluatedModel, Use
from training.evaluate.features.classifier import (
    CONFIDENT,
    FEATURES,
    NEIGHBOURS,
    QUANTILE,
    Judge,
    likeliest_class,
)
from training.evaluate.features.judges import Features, features_for
from training.evaluate.samples import precision_recall
from training.evaluate.samples.distances import SUBSET_IMAGES, SUBSETS, frechet_distance, kernel_distance
from training.evaluate.samples.precision_recall import Manifold
from training.evaluate.tables import Group, Row, Table
from training.models import VAE
from training.models.portions import images_at_once
from training.pools import AGGREGATE, drawn_from, fit_pools
from training.training_error import TrainingError

DECODED_AT_ONCE = 500
FEWEST_IMAGES = 10


@dataclass(frozen=True)
class Looks:
    """What the network says of N images."""

    probabilities: Tensor
    """[N, classes + 1], the last for "none of them"."""
    features: Tensor
    """[N, d]"""

    @property
    def array(self) -> NDArray[np.float64]:
        """The features in float64."""
        return self.features.double().numpy()


@dataclass(frozen=True)
class Drawn:
    """Latents to decode, and the label whose pool each came from."""

    latents: Tensor
    """[N, *latent_shape]"""
    labels: Tensor | None = None
    """[N]"""


class Yardstick:
    """The held-out images, ready to measure samples by."""

    def __init__(self, judge: Judge, held_out: Tensor, label_shares: Tensor, *, seed: int) -> None:
        """``held_out`` [N, C, H, W] in [0, 1]; ``label_shares`` [classes] of real images; seed of subsets."""
        self.judge = judge
        self.label_shares = label_shares
        self.seed = seed
        self.real = Looks(*judge.look(held_out))
        self.manifold = Manifold.around(self.real.features)

    def distances(self, looks: Looks) -> Row:
        """``fd``, ``kid`` with its spread over subsets, ``precision``, ``recall``."""
        kid, spread = kernel_distance(looks.array, self.real.array, seed=self.seed)
        return {
            "fd": frechet_distance(looks.array, self.real.array),
            "kid": kid,
            "kid_sd": spread,
            "precision": self.manifold.share_inside(looks.features),
            "recall": Manifold.around(looks.features).share_inside(self.real.features),
        }

    def classes(self, looks: Looks) -> Row:
        """``trash_rate``, and ``class_kl``: KL(classes found ‖ labels of real images) in nats."""
        rate = float(self.judge.is_trash(looks.probabilities, looks.features).float().mean())
        found = torch.bincount(likeliest_class(looks.probabilities), minlength=len(self.label_shares))
        shares = found.double() / found.sum()
        divergence = torch.special.xlogy(shares, shares / self.label_shares).sum()
        error = math.sqrt(rate * (1 - rate) / len(looks.features))
        return {"trash_rate": rate, "trash_rate_se": error, "class_kl": float(divergence)}


def samples_group(evaluated: EvaluatedModel) -> Group:
    """The samples of the prior and of the labels' pools, mixed by weight, and the reconstructions.

    Raises:
        TrainingError: images without labels, or fewer than 10 held-out ones.
    """
    began = time.perf_counter()
    if len(evaluated.held_out) < FEWEST_IMAGES:
        raise TrainingError(
            f"--samples: want at least {FEWEST_IMAGES} {evaluated.split} images, "
            f"came {len(evaluated.held_out)}"
        )
    features = features_for(evaluated.dataset, seed=evaluated.seed)
    yardstick = yardstick_for(evaluated, features.judge)
    sources = {"real": real_row(evaluated, yardstick)}
    pools: Table = {}
    for name, drawn in _drawn(evaluated).items():
        looks = look_at_decoded(evaluated.model, features.judge, drawn.latents)
        sources[name] = yardstick.distances(looks) | yardstick.classes(looks)
        if drawn.labels is not None:
            pools = pool_rows(features.judge, looks, drawn.labels, evaluated.dataset.label_names)
            sources[name]["fidelity"] = float(np.mean([row["fidelity"] for row in pools.values()]))
    protocol = (
        evaluated.protocol | protocol_of(evaluated, features) | {"seconds": time.perf_counter() - began}
    )
    return Group(protocol=protocol, tables={"samples": sources, "pools": pools})


def yardstick_for(evaluated: EvaluatedModel, judge: Judge) -> Yardstick:
    """Of the held-out images; classes are compared with the labels of the training images."""
    labels = evaluated.dataset.train.labels
    assert labels is not None  # features_for has seen to it
    # Half an image more in each class: a class without one would make the divergence infinite.
    counts = torch.bincount(labels, minlength=len(evaluated.dataset.label_names)).double() + 0.5
    held_out = to_unit(evaluated.held_out.images)
    return Yardstick(judge, held_out, counts / counts.sum(), seed=evaluated.seed_for(Use.SUBSETS))


def real_row(evaluated: EvaluatedModel, yardstick: Yardstick) -> Row:
    """Distances of training images from the held-out ones; trash rate and classes of the held-out ones.

    The network knows the training images by heart, so their trash rate would be too good.
    """
    train = evaluated.subset(evaluated.dataset.train, evaluated.limit)
    looks = Looks(*yardstick.judge.look(to_unit(train.images)))
    return yardstick.distances(looks) | yardstick.classes(yardstick.real)


@torch.inference_mode()
def look_at_decoded(model: VAE, judge: Judge, latents: Tensor) -> Looks:
    """Decode latents [N, *latent_shape] and look at the images, not all of which need fit into memory."""
    portions = latents.split(images_at_once(model.data_shape, most=DECODED_AT_ONCE))
    decoded = (model.likelihood.mean(model.decoder(rows)) for rows in portions)
    probabilities, features = zip(*(judge.look(images) for images in decoded), strict=True)
    return Looks(torch.cat(probabilities), torch.cat(features))


@torch.inference_mode()
def prior_latents(evaluated: EvaluatedModel, count: int) -> Tensor:
    """[count, *latent_shape] of p(z); an autoencoder, which has none, is sampled from N(0, I)."""
    shape = (count, *evaluated.model.latent_shape)
    latents: Tensor = evaluated.model.prior(torch.randn(shape, generator=evaluated.generator(Use.PRIOR)))
    return latents


def pool_latents(evaluated: EvaluatedModel, count: int) -> Drawn:
    """``count`` latents of the labels' pools, each label as often as it is in the training images."""
    labels = evaluated.dataset.train.labels
    assert labels is not None
    names = evaluated.dataset.label_names
    entries, pools = fit_pools(evaluated.train_latents.mean, labels.numpy(), names)
    rows = [i for i, entry in enumerate(entries) if entry.name != AGGREGATE]
    weights = np.array([entries[i].rows for i in rows], np.float64)
    draw = np.random.default_rng(evaluated.seed_for(Use.POOLS))
    chosen = draw.choice(rows, size=count, p=weights / weights.sum())
    noise = draw.standard_normal((count, pools.mean.shape[1]), dtype=np.float32)
    latents = np.empty_like(noise)
    for row in rows:
        own = chosen == row
        latents[own] = drawn_from(pools, row, noise[own])
    label_of = np.array([names.index(entry.name) if entry.name in names else -1 for entry in entries])
    shaped = torch.from_numpy(latents).unflatten(1, evaluated.model.latent_shape)
    return Drawn(shaped, torch.from_numpy(label_of[chosen]))


def pool_rows(judge: Judge, looks: Looks, labels: Tensor, names: tuple[str, ...]) -> Table:
    """By label: share of its pool's samples that look most like it (``fidelity``), and their trash rate."""
    found = likeliest_class(looks.probabilities)
    trash = judge.is_trash(looks.probabilities, looks.features)
    return {
        names[label]: {
            "samples": int((labels == label).sum()),
            "fidelity": float((found[labels == label] == label).float().mean()),
            "trash_rate": float(trash[labels == label].float().mean()),
        }
        for label in labels.unique().tolist()
    }


def _drawn(evaluated: EvaluatedModel) -> Mapping[str, Drawn]:
    means = torch.from_numpy(evaluated.held_out_latents.mean).unflatten(1, evaluated.model.latent_shape)
    return {
        "reconstructions": Drawn(means),
        "prior": Drawn(prior_latents(evaluated, evaluated.limit)),
        "pools": pool_latents(evaluated, evaluated.limit),
    }


def protocol_of(evaluated: EvaluatedModel, features: Features) -> dict[str, Any]:
    """How samples are measured."""
    return {
        "samples": evaluated.limit,
        "real_images": min(evaluated.limit, len(evaluated.dataset.train)),
        "pixels": "means of p(x|z), in [0, 1]",
        "prior": "N(0, I)" if evaluated.model.prior.name == "standard_normal" else evaluated.model.prior.name,
        "features": features.name,
        "feature_width": FEATURES,
        "classifier_accuracy": features.judge.accuracy,
        "kid": f"(x·y/d + 1)³, {SUBSETS} subsets of at most {SUBSET_IMAGES}",
        "precision_neighbours": precision_recall.NEIGHBOURS,
        "trash": f"best class below {CONFIDENT}, or distance to the nearest number {NEIGHBOURS} of the "
        f"training images beyond the {QUANTILE:.0%} quantile of validation images",
        "class_kl": "nats, from the labels of the training images",
    }
