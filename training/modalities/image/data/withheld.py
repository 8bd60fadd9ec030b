"""Kinds of images that a model is not to see: ``--without``."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from training.data.dataset import Dataset, Split
from training.data.label_names import composed
from training.training_error import TrainingError

FEWEST_KINDS = 2


def without(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The data set with these labels gone from all splits; ``withheld`` has those of the test split, if any.

    The other labels are numbered anew, and the checksum is another one: a different data set.

    Raises:
        TrainingError: no labels, unknown ones, too few left, or images mapped from disk.
    """
    came = f"--without {','.join(names)}"
    names = [composed(name) for name in names]
    if dataset.train.labels is None:
        raise TrainingError(f"{came}: the data have no labels")
    if dataset.mapped:
        raise TrainingError(f"{came}: want the images in memory (--in-memory yes)")
    unknown = sorted({*names} - {*dataset.label_names})
    if unknown:
        known = ", ".join(dataset.label_names[:20])
        raise TrainingError(f"{came}: want labels of the data ({known}), came {', '.join(unknown)}")
    kept = [name for name in dataset.label_names if name not in names]
    if len(kept) < FEWEST_KINDS:
        raise TrainingError(f"{came}: want at least {FEWEST_KINDS} labels left, came {len(kept)}")
    # -1 for what is withheld, else the new number of the label.
    numbers = torch.tensor([kept.index(n) if n in kept else -1 for n in dataset.label_names])
    digest = hashlib.sha256(f"{dataset.sha256} without {sorted(names)}".encode()).hexdigest()
    withheld = _rows(dataset.test, numbers[_labels(dataset.test)] < 0)
    return replace(
        dataset,
        train=_kept("train on", dataset.train, numbers),
        val=_kept("validate on", dataset.val, numbers),
        test=_kept("test on", dataset.test, numbers),
        label_names=tuple(kept),
        sha256=digest,
        withheld=withheld if len(withheld) else None,
    )


def _kept(use: str, split: Split, numbers: Tensor) -> Split:
    renumbered = numbers[_labels(split)]
    kept = _rows(Split(split.images, renumbered), renumbered >= 0)
    if not len(kept):
        raise TrainingError(f"--without: nothing left to {use}")
    return kept


def _rows(split: Split, mask: Tensor) -> Split:
    return Split(split.images[mask], _labels(split)[mask])


def _labels(split: Split) -> Tensor:
    if split.labels is None:
        raise TypeError("want a labelled split")
    return split.labels
