"""The map that a bundle has of its latent space: where images lie that the model was not trained on.

N is the number of points, Z of latents.
"""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from serving.bundle import PoolEntry, Pools, Projection
from serving.bundle.projection import LARGEST, MOST_LABELS, PROJECTION
from training.data import Split
from training.evaluate.latents.planes import mapped
from training.pools import Latents, posterior
from training.pools.labelled import Fitted
from training.pools.unknown_pool import pools_density
from training.training_error import TrainingError

MOST_IMAGES = 2_000
FEWEST_IMAGES = 20
"""Fewer are no map."""
MOST_LATENT_BYTES = 2 << 20
"""Of all points together: where latents are large there are fewer points."""
MOST_LABEL_BYTES = 512 << 10
"""Of all names together."""
_ROWS = 256
"""Images that are copied at once."""
_SEED = 0

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

log = logging.getLogger(__name__)


def held_out_map(
    encoder: nn.Module,
    held_out: Split,
    label_names: Sequence[str],
    latents: Latents,
    *,
    scored: tuple[Indices, Floats] | None = None,
) -> Projection | None:
    """The projection of at most 2,000 held-out images, each label with its share of them.

    None, which is logged, where there are too few images, latents are too large, or not finite.

    Args:
        encoder: image [B, C, H, W] → (mean, log_var), in evaluation mode.
        latents: the pools that the points are told by.
        scored: rows of ``held_out`` and the quantile of each's score, 0 to 1; points are of these rows alone.

    Raises:
        TrainingError: labels that are not indices into ``label_names``, one an image.
    """
    labels = labels_of_map(held_out.labels, len(held_out), label_names)
    rows = np.arange(len(held_out)) if scored is None else scored[0]
    chosen = rows_of_map(None if labels is None else labels[rows], len(rows), latents.posterior.mean.shape[1])
    if chosen is None:
        return None
    taken = rows[chosen]
    return projection_of(
        _means(encoder, held_out, taken),
        None if labels is None else labels[taken],
        label_names,
        (latents.entries, latents.pools),
        quantile=None if scored is None else scored[1][chosen],
    )


def rows_of_map(labels: Indices | None, count: int, size: int) -> Indices | None:
    """Which of ``count`` images, with their ``labels`` [count], are points; None where there can be no map.

    Args:
        size: Z.
    """
    most = min(MOST_IMAGES, MOST_LATENT_BYTES // (4 * size))
    if most < FEWEST_IMAGES:
        fitting = MOST_LATENT_BYTES // (4 * FEWEST_IMAGES)
        _leave_out(f"want at most {fitting} latents, came {size}")
        return None
    if count < FEWEST_IMAGES:
        _leave_out(f"want at least {FEWEST_IMAGES} images that are held out, came {count}")
        return None
    return stratified(labels, count, most)


def projection_of(
    mean: Floats,
    labels: Indices | None,
    label_names: Sequence[str],
    fitted: Fitted,
    *,
    quantile: Floats | None = None,
) -> Projection | None:
    """Of posterior means [N, Z], as callers see latents, with label, pools and quantile [N] of each.

    None, which is logged, where they are not finite, or no server would take them.
    """
    if not (np.abs(mean) <= LARGEST).all():  # written so that NaN is left out
        _leave_out(f"want finite posterior means of at most {LARGEST:g}, came others")
        return None
    return Projection(
        points=mapped(mean),
        latents=mean,
        labels=() if labels is None else tuple(label_names),
        label_of=None if labels is None else labels.astype(np.int32),
        pool_of=most_probable_pool(mean, *fitted),
        quantile=quantile,
    )


def stratified(labels: Indices | None, count: int, most: int) -> Indices:
    """At most ``most`` of ``count`` rows, in an order that says nothing.

    With ``labels`` [count] each has its share of them; the rarest has one, where there is room for all.
    """
    draw = np.random.default_rng(_SEED)
    order = draw.permutation(count)
    if labels is not None:
        shuffled = labels[order]
        by_label = np.argsort(shuffled, kind="stable")
        sizes = np.bincount(shuffled)
        places = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # among those of the label
        share = np.empty(count)
        share[by_label] = places / np.repeat(sizes, sizes)
        order = order[np.argsort(share, kind="stable")]
    return draw.permutation(order[:most])


def most_probable_pool(
    mean: Floats, entries: tuple[PoolEntry, ...], pools: Pools
) -> NDArray[np.int32] | None:
    """[N] index into the pools, as Encode's probabilities have it; None where all the data are one pool."""
    kinds = [index for index, entry in enumerate(entries) if not entry.aggregate]
    if not kinds:
        return None
    density = pools_density(entries, pools, mean.astype(np.float64))
    return np.asarray(np.array(kinds, np.int32)[density.argmax(axis=1)])


def labels_of_map(given: Tensor | None, count: int, label_names: Sequence[str]) -> Indices | None:
    """Those of ``count`` images; None, which is logged, where there are more names than a map may have.

    Raises:
        TrainingError: labels that are not indices into ``label_names``, one an image.
    """
    if given is None:
        return None
    labels: Indices = given.numpy()
    if labels.shape != (count,) or not np.isin(labels, np.arange(len(label_names))).all():
        want = f"one label an image ({count}), an index into {len(label_names)} names"
        fits = labels.shape == (count,)
        came = f"{labels.min()} to {labels.max()}" if fits else f"{list(labels.shape)}"
        raise TrainingError(f"held_out: want {want}, came {came}")
    size = sum(len(name.encode()) for name in label_names)
    if len(label_names) > MOST_LABELS or size > MOST_LABEL_BYTES:
        most = f"{MOST_LABELS} names of {MOST_LABEL_BYTES} bytes"
        log.warning("map: without labels; want at most %s, came %d of %d", most, len(label_names), size)
        return None
    return labels


def _means(encoder: nn.Module, held_out: Split, rows: Indices) -> Floats:
    """[N, Z] of posteriors; a part at a time, for the images may be larger than the memory."""
    parts = [rows[first : first + _ROWS] for first in range(0, len(rows), _ROWS)]
    return np.concatenate([posterior(encoder, held_out.images[part])[1].mean for part in parts])


def _leave_out(reason: str) -> None:
    log.warning("map: %s is left out; %s", PROJECTION, reason)
