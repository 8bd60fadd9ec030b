"""Memory is bounded: what the networks are given at once does not grow with samples, pixels or images."""

import math

import pytest
import torch
from torch import Tensor

from training.config import FitConfig
from training.data import Split
from training.evaluate import estimate
from training.evaluate.latents.aggregate_posterior import _posterior
from training.evaluate.samples.sample_quality import look_at_decoded
from training.export.held_out_scores import held_out_scores
from training.fit.losses import objective
from training.fit.minibatches import Stream, generator
from training.fit.step import validate
from training.modalities import build_model
from training.models import VAE
from training.models.portions import PIXELS_AT_ONCE, images_at_once
from training.models.score import Score
from training.pools import posterior

SMALL, LARGE = (1, 28, 28), (3, 320, 320)


def model(shape: tuple[int, int, int], **options: object) -> VAE:
    values = {"network": "mlp", "width": 4, "latent": 3, "likelihood": "bernoulli", "steps": 1, **options}
    torch.manual_seed(0)
    return build_model(FitConfig.parse(values), shape).eval()


class Watched:
    """Pixels that a network was given or gave in its largest call."""

    def __init__(self, *networks: torch.nn.Module) -> None:
        self.largest = self.rows = 0
        for network in networks:
            network.register_forward_hook(self._look)

    def _look(self, _: object, inputs: tuple[Tensor], output: object) -> None:
        tensors = [inputs[0], output] if isinstance(output, Tensor) else [inputs[0]]
        pixels = max(tensor.numel() for tensor in tensors)
        if pixels > self.largest:
            self.largest, self.rows = pixels, len(inputs[0])


@pytest.mark.parametrize("samples", [1, 7, 5000])
def test_portions_hold_what_fits_and_at_least_one(samples):
    """As many images as fit with their samples, at most what is asked for, one where not even that fits."""
    for shape in (SMALL, LARGE, (3, 4000, 4000)):
        rows = images_at_once(shape, samples=samples)
        assert rows == 1 or rows * samples * math.prod(shape) <= PIXELS_AT_ONCE
        assert (rows + 1) * samples * math.prod(shape) > PIXELS_AT_ONCE
        assert images_at_once(shape, most=3, samples=samples) == min(3, rows)


@pytest.mark.parametrize(
    ("shape", "samples", "images"),
    [(SMALL, 1, 600), (SMALL, 20, 70), (SMALL, 2500, 2), (LARGE, 5, 3), (LARGE, 1, 5)],
    ids=str,
)
def test_validation_decodes_no_more_than_fits(shape, samples, images):
    """For any k, any size and any number of images; the same noise each time gives the same figures."""
    watched_model = model(shape, model="iwae" if samples > 1 else "vae", importance_samples=samples)
    watched = Watched(watched_model.decoder, watched_model.encoder)
    split = Split(torch.rand(images, *shape).round(), None)
    terms = validate(watched_model, split, seed=0, beta=1.0)
    assert terms == validate(watched_model, split, seed=0, beta=1.0)
    assert watched.largest <= max(PIXELS_AT_ONCE, math.prod(shape))


@pytest.mark.parametrize("samples", [20, 3000])
def test_validation_in_parts_is_the_bound_of_all_samples(samples, monkeypatch):
    """Parts join into −log (1/k) Σ w, and means over all samples, of the noise that they were given."""
    one = model(SMALL, model="iwae", importance_samples=samples)
    image = torch.rand(1, *SMALL, generator=torch.Generator().manual_seed(1)).round()
    terms = validate(one, Split(image, None), seed=5, beta=1.0)
    source, parts, left = generator(5, Stream.VALIDATION), [], samples
    while left:
        count = min(left, images_at_once(SMALL))
        parts.append(torch.randn(one.noise_shape(1, samples=count), generator=source))
        left -= count
    assert len(parts) == math.ceil(samples / 1000)
    with torch.no_grad():
        wanted = objective(one, image, torch.cat(parts), beta=1.0)
    assert list(terms.values()) == pytest.approx([float(term) for term in wanted], rel=1e-5)


def test_evaluation_decodes_no_more_than_fits():
    """Whatever k and the size; images in bytes give what they give as fractions."""
    for shape, k in ((SMALL, 50), (LARGE, 3)):
        watched_model = model(shape)
        watched = Watched(watched_model.decoder, watched_model.encoder)
        images = torch.randint(0, 2, (66, *shape), dtype=torch.uint8) * 255
        found = estimate(watched_model, images[: 66 if shape == SMALL else 3], k=k, seed=0)
        assert watched.largest <= max(PIXELS_AT_ONCE, math.prod(shape))
        if shape == SMALL:
            again = estimate(watched_model, images / 255, k=k, seed=0)
            assert torch.equal(found.log_likelihood, again.log_likelihood)


def test_large_images_are_looked_at_few_at_a_time():
    """Encoding for pools, drawing samples, the aggregate posterior and the quantiles of the score."""
    made = model(LARGE)
    watched = Watched(made.decoder, made.encoder)
    images = torch.rand(5, *LARGE)
    posterior(made.encoder, images)
    _posterior(made, images)
    held_out_scores(Score(made.encoder, made.decoder, made.likelihood, made.prior), images, (3,))

    class Judge:
        def look(self, rows: Tensor) -> tuple[Tensor, Tensor]:
            return rows[:, 0, 0], rows[:, 0, 0]

    look_at_decoded(made, Judge(), torch.randn(5, 3))
    assert watched.largest <= 4 * math.prod(LARGE)  # the quantiles take four draws of an image
