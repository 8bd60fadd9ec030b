"""Does the score tell the model's own kind of image from foreign ones? (Out-of-distribution detection.)"""

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import Tensor

from training import modalities
from training.config import FitConfig
from training.data import Split, to_unit
from training.evaluate.estimates import FEWEST_DRAWS, estimate
from training.evaluate.evaluated_model import EvaluatedModel, Use
from training.evaluate.tables import Group, Row, Table
from training.training_error import TrainingError

SCORED_IMAGES = 2000
"""Of the held-out images and of each foreign set: a standard error of an AUROC below 0.01."""

Scores = dict[str, NDArray[np.float64]]


def foreign_group(evaluated: EvaluatedModel, path: Path | None) -> Group:
    """Foreign images against the held-out ones: noise, inverted and rotated ones, the labels that were
    withheld from the model and, with a path, those of the user.

    Raises:
        TrainingError: the path names no images.
    """
    began = time.perf_counter()
    held_out = evaluated.subset(evaluated.held_out, SCORED_IMAGES)
    own = to_unit(held_out.images)
    foreign = foreign_images(own, evaluated.generator(Use.NOISE))
    if evaluated.dataset.withheld is not None:
        withheld = evaluated.subset(evaluated.dataset.withheld, SCORED_IMAGES)
        foreign["withheld labels"] = to_unit(withheld.images)
    if path is not None:
        name = path.absolute().name
        own_name = f"{name} (--ood)" if name in foreign else name  # a folder may be called "noise"
        foreign = {own_name: read_foreign(path, evaluated)} | foreign
    real = scores(evaluated, own)
    tables: dict[str, Table] = {f"{name} as score": {} for name in real}
    for kind, images in foreign.items():
        for name, values in scores(evaluated, images).items():
            tables[f"{name} as score"][kind] = detection(real[name], values)
    counts = {f"images of {name}": len(images) for name, images in foreign.items()}
    protocol = {
        "held_out_images": len(own),
        "draws": FEWEST_DRAWS,
        "binarised": "once, foreign images too" if evaluated.binary else "no",
        "fpr95": "share of foreign images that score below the 95 % quantile of held-out images",
        "seconds": time.perf_counter() - began,
    }
    return Group(protocol=evaluated.protocol | counts | protocol, tables=tables)


def foreign_images(images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """What is no such image, made of images [N, C, H, W] in [0, 1]; only square ones can be turned."""
    made = {"noise": torch.rand(images.shape, generator=generator), "inverted": 1 - images}
    if images.shape[2] == images.shape[3]:
        made["rotated 90°"] = images.rot90(dims=(2, 3))
    return made


def read_foreign(path: Path, evaluated: EvaluatedModel) -> Tensor:
    """Images of a folder, scaled and centre-cropped to the model's size in its colours; or of an array file.

    Raises:
        TrainingError: nothing to read, or an array of another shape.
    """
    channels, height, width = evaluated.dataset.image_shape
    values: dict[str, object] = {"data": str(path.absolute())}  # never a data set of that name
    if path.is_dir():
        values |= {"image_size": (height, width), "channels": "grey" if channels == 1 else "rgb"}
    try:
        found = modalities.load(FitConfig.parse(values), labelled=False)
    except TrainingError as exc:
        raise TrainingError(str(exc).replace("--data", "--ood", 1)) from None
    if found.image_shape != evaluated.dataset.image_shape:
        wanted, came = evaluated.dataset.image_shape, found.image_shape
        raise TrainingError(f"--ood {path}: want images of shape {wanted}, came {came}")
    images = torch.cat([split.images for split in (found.train, found.val, found.test)])
    return to_unit(evaluated.subset(Split(images, None), SCORED_IMAGES).images)


def scores(evaluated: EvaluatedModel, images: Tensor) -> Scores:
    """Higher for what is less like the training images, in nats; an autoencoder has its distortion alone."""
    estimates = estimate(evaluated.model, evaluated.as_seen(images), k=1, seed=evaluated.seed_for(Use.SCORES))
    distortion = estimates.distortion
    if estimates.rate is None:
        return {"distortion": distortion.numpy()}
    parts = {"nelbo": distortion + estimates.rate, "distortion": distortion, "rate": estimates.rate}
    return {name: values.numpy() for name, values in parts.items()}


def detection(real: NDArray[np.float64], foreign: NDArray[np.float64]) -> Row:
    """Foreign images are the positives of ``auroc`` and ``aupr``.

    ``fpr95`` is the share of foreign images that pass when 95 % of the real ones do (Liang et al. 2018,
    arXiv:1706.02690).
    """
    is_foreign = np.repeat([0, 1], [len(real), len(foreign)])
    values = np.concatenate([real, foreign])
    passed, real_passed, _ = roc_curve(1 - is_foreign, -values, drop_intermediate=False)
    return {
        "auroc": float(roc_auc_score(is_foreign, values)),
        "aupr": float(average_precision_score(is_foreign, values)),
        "fpr95": float(passed[np.searchsorted(real_passed, 0.95)]),
    }
