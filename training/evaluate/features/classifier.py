"""A judge of samples: a network trained on the real labelled images, and what it says of generated ones.

A sample is trash if the network is not sure which class it belongs to, or if it lies where no real image
lies in the network's features (neighbourhoods as in Kynkäänniemi et al. 2019, arXiv:1904.06991). A network
that has seen real images alone is sure of anything, noise included; so this one also learns a class "none of
them" from spoiled images (outlier exposure, Hendrycks et al. 2019, arXiv:1812.04606).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.portions import images_at_once
from training.training_error import TrainingError

FEATURES = 128
"""Width of the penultimate layer, in which distances are measured."""
CONFIDENT = 0.9
"""A sample whose best class has less probability than this is trash."""
FEWEST_IMAGES = 8
NEIGHBOURS = 5
"""A sample's distance to the real images is that to its fifth nearest."""
QUANTILE = 0.99
"""A sample farther away than this share of real images is trash."""
PALER = 0.2
"""Share of the contrast that a tiny image may lose; means of a decoder of 8x8 digits lost 0.04 on average."""
MAX_REAL = 10_000
"""Real images kept to measure distances to."""


class Classifier(nn.Module):
    """Convolutions down to at most 7×7 pixels, then two linear layers; for images of any shape."""

    def __init__(self, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        stride = 2 if max(height, width) > 14 else 1  # else this layer would take most of the time
        layers = [*_convolution(channels, 32, kernel=5, stride=stride)]
        height, width = math.ceil(height / stride), math.ceil(width / stride)
        channels = 32
        while max(height, width) > 7:
            layers += [*_convolution(channels, 64), nn.MaxPool2d(2, ceil_mode=True)]
            channels, height, width = 64, math.ceil(height / 2), math.ceil(width / 2)
        self.convolutions = nn.Sequential(*layers, *_convolution(channels, 64), nn.Flatten(), nn.Dropout(0.2))
        self.penultimate = nn.Linear(64 * height * width, FEATURES)
        self.last = nn.Linear(FEATURES, classes + 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] in [0, 1] → logits [B, classes + 1], features [B, 128]; the last class is "none"."""
        features = F.relu(self.penultimate(self.convolutions(image)))
        return self.last(features), features


def _convolution(channels: int, out: int, *, kernel: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(out), nn.ReLU()


def train_classifier(
    images: Tensor, labels: Tensor, *, classes: int, seed: int = 0, steps: int = 1000, batch_size: int = 128
) -> Classifier:
    """Train on images [N, C, H, W] in [0, 1] and labels [N]; the same seed gives the same network on a CPU.

    Adam on a one-cycle schedule; each image is shifted by up to a tenth of its size and softened a little
    (up to 14 pixels also made paler), and beside them are half as many spoiled ones.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier((images.shape[1], images.shape[2], images.shape[3]), classes)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
        order = torch.empty(0, dtype=torch.int64)
        network.train()
        for _ in range(steps):
            if len(order) < min(batch_size, len(images)):
                order = torch.cat([order, torch.randperm(len(images))])
            batch, order = order[:batch_size], order[batch_size:]
            real, label = _shifted(images[batch]), labels[batch]
            spoiled = _spoiled(real, label)
            logits, _ = network(_shown(real, spoiled))
            loss = F.cross_entropy(logits, torch.cat([label, label.new_full((len(spoiled),), classes)]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _shifted(images: Tensor) -> Tensor:
    """The batch moved by one random offset, the edges repeated."""
    height, width = images.shape[2:]
    reach = (max(1, round(height / 14)), max(1, round(width / 14)))
    padded = F.pad(images, (reach[1], reach[1], reach[0], reach[0]), mode="replicate")
    top = int(torch.randint(2 * reach[0] + 1, ()))
    left = int(torch.randint(2 * reach[1] + 1, ()))
    return padded[:, :, top : top + height, left : left + width]


def _shown(real: Tensor, spoiled: Tensor) -> Tensor:
    """Both [., C, H, W], softened: a decoder gives means, which are softer than images.

    Of tiny images half are left as they are, and the spoiled ones are softened too. Else softness would tell
    the network which are real, since there a stroke is a pixel wide.
    """
    if _blur_reach(real):
        return torch.cat([_softened(real), spoiled])
    both = torch.cat([real, spoiled])
    return torch.where(_one_each(both) < 0.5, _softened_tiny(both), both)


def _blur_reach(images: Tensor) -> int:
    """Pixels to each side; 0 for tiny images, up to 14 pixels."""
    return round(min(images.shape[2:]) / 28)


def _softened(images: Tensor) -> Tensor:
    """Blurred a little, each by its own amount."""
    return torch.lerp(images, _blurred(images, _blur_reach(images)), _one_each(images))


def _softened_tiny(images: Tensor) -> Tensor:
    """Blurred by a share of a pixel and made paler, each by its own amounts.

    A blur by a whole pixel would leave no shape of 8x8 pixels; what a stroke of a pixel loses in a mean is
    contrast.
    """
    share = min(images.shape[2:]) / 28
    blurred = torch.lerp(images, _blurred(images, 1), share * _one_each(images))
    return blurred * (1 - PALER * _one_each(images))


def _blurred(images: Tensor, reach: int) -> Tensor:
    return F.avg_pool2d(images, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)


def _spoiled(images: Tensor, labels: Tensor) -> Tensor:
    """At most half as many images that are none of the classes, in equal parts of four kinds."""
    first, second, third, fourth = images[: 4 * (len(images) // 8)].chunk(4)
    others = torch.randperm(len(first))
    unlike = labels[: len(first)] != labels[: len(first)][others]
    overlaid = torch.lerp(first, first[others], 0.35 + 0.3 * _one_each(first))[unlike]
    faint = torch.lerp(second, _one_each(second), 0.7 + 0.25 * _one_each(second))
    grain = int(torch.randint(2, max(images.shape[2:]) + 1, ()))
    noise = torch.rand((len(third), images.shape[1], grain, grain))
    clouds = F.interpolate(noise, size=images.shape[2:], mode="bilinear") * _one_each(third)
    return torch.cat([overlaid, faint, clouds, _torn(fourth)])


def _one_each(images: Tensor) -> Tensor:
    """A random number in [0, 1] for each image, of a shape that fits its pixels."""
    return torch.rand((len(images), 1, 1, 1))


def _torn(images: Tensor) -> Tensor:
    """Rolled by a third to two thirds of both sizes, so that the middle lies at the corners."""
    height, width = (int(size / 3 + torch.rand(()) * size / 3) for size in images.shape[2:])
    return images.roll((height, width), dims=(2, 3))


@dataclass(frozen=True)
class Judge:
    """A trained classifier with the real images' features to compare with."""

    classifier: Classifier
    real: Tensor
    """[M, 128] features of training images."""
    limit: float
    """Distance to the fifth nearest of ``real`` that 99 % of held-out real images keep within."""
    accuracy: float
    """Share of held-out real images put into the right class."""

    @torch.inference_mode()
    def look(self, images: Tensor, *, rows: int = 512) -> tuple[Tensor, Tensor]:
        """Probabilities [N, classes + 1], the last for "none", and features [N, 128]; images in [0, 1]."""
        return _look(self.classifier, images, rows=rows)

    def pool_fidelity(self, images: Tensor, label: int) -> float:
        """Share of samples of one label's pool that look more like that label than like any other.

        Whether they look like any of them is the trash rate's question.
        """
        probabilities, _ = self.look(images)
        return float((likeliest_class(probabilities) == label).float().mean())

    def trash_rate(self, images: Tensor) -> float:
        """Share of samples that are no clear member of any class, or lie where no real image lies."""
        return float(self.is_trash(*self.look(images)).float().mean())

    def is_trash(self, probabilities: Tensor, features: Tensor) -> Tensor:
        """[N] bool, from what ``look`` gives of N images.

        Trash has a best class below 0.9, or is farther from the real images than 99 % of held-out real
        images are.
        """
        unsure = probabilities[:, :-1].amax(dim=1) < CONFIDENT
        remote = neighbour_distance(features, self.real) > self.limit
        return unsure | remote


def likeliest_class(probabilities: Tensor) -> Tensor:
    """[N] of probabilities [N, classes + 1]: the best class, "none of them" left out."""
    return probabilities[:, :-1].argmax(dim=1)


def train_judge(
    train: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    *,
    classes: int,
    seed: int = 0,
    steps: int = 1000,
) -> Judge:
    """Train a classifier on ``train`` (images, labels) and calibrate it on ``held_out``.

    Raises:
        TrainingError: fewer than two classes, or too few images to measure a neighbourhood.
    """
    if classes < 2 or len(train[0]) < FEWEST_IMAGES or len(held_out[0]) == 0:
        raise TrainingError(
            f"classifier: want 2 classes, {FEWEST_IMAGES} images to train on and 1 to test on, "
            f"came {classes} classes, {len(train[0])} and {len(held_out[0])} images"
        )
    classifier = train_classifier(*train, classes=classes, seed=seed, steps=steps)
    return calibrated(classifier, train[0], held_out)


def calibrated(classifier: Classifier, train: Tensor, held_out: tuple[Tensor, Tensor]) -> Judge:
    """A judge from a trained classifier; samples are compared with ``train`` [N, C, H, W].

    The limit of their distance, and the accuracy, come from ``held_out`` (images, labels).
    """
    _, real = _look(classifier, train[:MAX_REAL])
    probabilities, features = _look(classifier, held_out[0])
    limit = torch.quantile(neighbour_distance(features, real), QUANTILE)
    accuracy = (probabilities.argmax(dim=1) == held_out[1]).float().mean()
    return Judge(classifier, real, float(limit), float(accuracy))


@torch.inference_mode()
def neighbour_distance(features: Tensor, real: Tensor, *, rows: int = 1000) -> Tensor:
    """Euclidean distance [N] of each feature vector to its fifth nearest in ``real``."""
    chunks = [torch.cdist(chunk, real).kthvalue(NEIGHBOURS, dim=1).values for chunk in features.split(rows)]
    return torch.cat(chunks)


@torch.inference_mode()
def _look(classifier: Classifier, images: Tensor, *, rows: int = 512) -> tuple[Tensor, Tensor]:
    outputs = [classifier(batch) for batch in images.split(images_at_once(images.shape[1:], most=rows))]
    return torch.cat([F.softmax(logits, dim=1) for logits, _ in outputs]), torch.cat([f for _, f in outputs])
