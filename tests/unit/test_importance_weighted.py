"""The importance-weighted objective: its value is the bound, its gradient the bound's in expectation."""

import pytest
import torch
from torch import Tensor, nn

from tests.support.reference import log_weights
from training.fit.losses import elbo, importance_weighted, objective
from training.modalities.image.networks.likelihoods import Bernoulli
from training.models import VAE
from training.models.priors import StandardNormal

LATENTS = 2


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2 * LATENTS)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.linear(image.flatten(1)).chunk(2, dim=1)
        return mean, log_var


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LATENTS, 4)

    def forward(self, latent: Tensor) -> Tensor:
        return self.linear(latent).unflatten(1, (1, 2, 2))


@pytest.fixture
def model() -> VAE:
    torch.manual_seed(0)
    return VAE(
        Encoder(),
        Decoder(),
        Bernoulli(),
        StandardNormal((LATENTS,)),
        kind="iwae",
        image_shape=(1, 2, 2),
        latent_shape=(LATENTS,),
        importance_samples=4,
    )


IMAGE = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]], [[[0.0, 0.0], [1.0, 0.0]]]])


def test_value_is_the_bound(model):
    """The loss is -log (1/k) Σ w, w from the function that evaluation uses; k = 1 is a one-sample ELBO."""
    noise = torch.randn(model.noise_shape(2))
    assert noise.shape == (4, 2, LATENTS)
    bound = log_weights(model, IMAGE, noise).logsumexp(dim=0) - torch.tensor(4.0).log()
    torch.testing.assert_close(objective(model, IMAGE, noise, beta=1).loss, -bound.mean())
    one = importance_weighted(model, IMAGE, noise[:1], beta=1)
    torch.testing.assert_close(one.loss, one.distortion + one.rate)
    torch.testing.assert_close(one.distortion, elbo(model, IMAGE, noise[0], beta=1).distortion)


def test_gradient_is_that_of_the_bound(model):
    """Over many draws, the mean gradient of every weight equals automatic differentiation of the bound.

    Both are unbiased; with 60,000 draws they agree to 0.003.
    """
    draws = 60_000
    noise = torch.randn((4, 2 * draws, LATENTS), generator=torch.Generator().manual_seed(3))
    images = IMAGE.repeat(draws, 1, 1, 1)
    parameters = list(model.parameters())
    plain = -(log_weights(model, images, noise).logsumexp(dim=0) - torch.tensor(4.0).log()).mean()
    expected = torch.autograd.grad(plain, parameters)
    came = torch.autograd.grad(importance_weighted(model, images, noise, beta=1).loss, parameters)
    for want, have in zip(expected, came, strict=True):
        torch.testing.assert_close(have, want, rtol=0, atol=3e-3)


def test_beta_weighs_the_rate(model):
    """With β = 0 the bound is that of the likelihood alone: the rate costs nothing."""
    noise = torch.randn(model.noise_shape(2))
    free = importance_weighted(model, IMAGE, noise, beta=0)
    torch.testing.assert_close(
        importance_weighted(model, IMAGE, noise[:1], beta=0).loss, free_of(model, noise)
    )
    assert free.loss < importance_weighted(model, IMAGE, noise, beta=1).loss


def free_of(model: VAE, noise: Tensor) -> Tensor:
    return importance_weighted(model, IMAGE, noise[:1], beta=1).distortion


def test_free_bits_cost_no_less(model):
    """A latent whose rate is below the free bits costs exactly them, and its rate is reported as it is."""
    model.kind = "vae"
    noise = torch.randn(2, LATENTS)
    plain, free = (elbo(model, IMAGE, noise, beta=1, free_bits=bits) for bits in (0.0, 50.0))
    torch.testing.assert_close(free.rate, plain.rate)
    torch.testing.assert_close(free.loss, free.distortion + 50 * LATENTS)
    (gradient, *_) = torch.autograd.grad(free.loss - free.distortion, [model.encoder.linear.weight])
    assert gradient.abs().max() == 0
