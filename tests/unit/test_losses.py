"""The loss: scale, closed forms against another implementation, β."""

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal, kl_divergence

from tests.support.reference import log_weights
from training.fit.losses import elbo, loss_in_words, objective_in_words
from training.modalities.image.networks.likelihoods import Bernoulli, Gaussian
from training.models import VAE
from training.models.gaussians import gaussian_kl, gaussian_kl_per_dimension
from training.models.priors import StandardNormal


class Linear(nn.Module):
    """One latent per row of pixels; enough of a network to do the sums by hand."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean = image.mean(dim=(1, 3))
        return mean, mean - 1


class Repeat(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, latent: Tensor) -> Tensor:
        return latent[:, None, :, None].expand(-1, 1, -1, self.width)


def toy(width: int, *, kind: str = "vae", likelihood: nn.Module | None = None) -> VAE:
    return VAE(
        Linear(),
        Repeat(width),
        likelihood or Bernoulli(),
        StandardNormal((4,)),
        kind=kind,
        image_shape=(1, 4, width),
        latent_shape=(4,),
    )


@pytest.fixture
def image() -> Tensor:
    return torch.bernoulli(torch.full((3, 1, 4, 6), 0.3), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def noise() -> Tensor:
    return torch.randn((3, 4), generator=torch.Generator().manual_seed(1))


def test_kl_equals_torch_distributions():
    """The closed form is that of torch.distributions, per latent and summed, for several latent axes too."""
    mean, log_var = torch.randn(2, 5, 3, 2, 2)
    other = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(gaussian_kl_per_dimension(mean, log_var), other)
    torch.testing.assert_close(gaussian_kl(mean, log_var), other.sum(dim=(1, 2, 3)))


@pytest.mark.parametrize("leading", [(), (7,)], ids=["one sample", "k samples"])
def test_likelihoods_equal_torch_distributions(leading, image):
    """log p(x|z) is that of torch.distributions, summed over pixels, with and without leading axes."""
    logits = torch.randn(*leading, *image.shape)
    gaussian = Gaussian(sigma=0.3)
    expected = Normal(torch.sigmoid(logits), 0.3).log_prob(image).sum(dim=(-3, -2, -1))
    torch.testing.assert_close(gaussian.log_prob(image, logits), expected, rtol=1e-4, atol=1e-3)
    expected = TorchBernoulli(logits=logits).log_prob(image.expand_as(logits)).sum(dim=(-3, -2, -1))
    torch.testing.assert_close(Bernoulli().log_prob(image, logits), expected)
    assert gaussian.sigma == pytest.approx(0.3, rel=1e-5)


def test_scale_is_per_image(image, noise):
    """Twice the pixels is twice the distortion; twice the batch changes nothing."""
    one = elbo(toy(6), image, noise, beta=1)
    wide = elbo(toy(12), image.repeat(1, 1, 1, 2), noise, beta=1)
    many = elbo(toy(6), image.repeat(2, 1, 1, 1), noise.repeat(2, 1), beta=1)
    torch.testing.assert_close(wide.distortion, 2 * one.distortion)
    torch.testing.assert_close(wide.rate, one.rate)
    torch.testing.assert_close(many, one)


def test_beta_weighs_the_rate_and_nothing_else(image, noise):
    """loss = distortion + β · rate, with distortion and rate the same for every β."""
    one, four = (elbo(toy(6), image, noise, beta=beta) for beta in (1, 4))
    assert (four.distortion, four.rate) == (one.distortion, one.rate)
    torch.testing.assert_close(four.loss, one.distortion + 4 * one.rate)
    assert four.loss > one.loss


def test_autoencoder_has_no_rate_and_no_noise(image, noise):
    """An autoencoder decodes the mean: noise changes nothing and the loss is the distortion."""
    model = toy(6, kind="ae")
    terms = elbo(model, image, noise, beta=1)
    assert terms.loss == terms.distortion == elbo(model, image, 2 * noise, beta=1).loss
    assert terms.rate == 0


def test_log_weights_are_the_terms_of_the_bound(image):
    """Each log weight is log p(x|z) + log p(z) - log q(z|x), by torch.distributions; their mean is the ELBO."""
    model, noise = toy(6), torch.randn(2000, 3, 4)
    found = log_weights(model, image, noise)
    mean, log_var = model.encoder(image)
    posterior = Normal(mean, (0.5 * log_var).exp())
    latent = mean + posterior.scale * noise
    logits = latent[:, :, None, :, None].expand(-1, -1, 1, -1, 6)
    likelihood = TorchBernoulli(logits=logits).log_prob(image.expand_as(logits)).sum(dim=(2, 3, 4))
    ratio = (Normal(0.0, 1.0).log_prob(latent) - posterior.log_prob(latent)).sum(dim=2)
    torch.testing.assert_close(found, likelihood + ratio, rtol=1e-4, atol=1e-4)
    closed = likelihood.mean() - gaussian_kl(mean, log_var).mean()
    torch.testing.assert_close(found.mean(), closed, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("options", "objective"),
    [
        ({}, "elbo"),
        ({"beta": 4}, "beta_elbo"),
        ({"beta": 0}, "beta_elbo"),
        ({"model": "ae"}, "distortion"),
        ({"model": "iwae", "importance_samples": 7}, "iwae, k = 7, doubly reparameterised gradients (DReG)"),
        (
            {"model": "iwae", "importance_from": 0.8},
            "iwae, k = 5 after 80% of the steps, doubly reparameterised gradients (DReG)",
        ),
        ({"model": "iwae"}, "iwae, k = 5, doubly reparameterised gradients (DReG)"),
        ({"free_bits": 0.25}, "elbo, 0.25 free nats per latent"),
        ({"beta": 2, "beta_cycles": 4}, "beta_elbo, beta in 4 cycles"),
        ({"beta_cycles": 4, "warmup": 0}, "elbo"),
        ({"prior": "flow"}, "elbo"),
    ],
    ids=str,
)
def test_objectives_are_called_what_they_are(options, objective):
    """An importance-weighted bound is no ELBO, nor is a weighted one; free bits and cycles are told."""
    from training.config import FitConfig
    from training.modalities import load, resolve

    config = FitConfig.parse({"preset": "demo", **options})
    assert objective_in_words(resolve(config, load(config))) == objective


@pytest.mark.parametrize(
    ("kind", "formula"),
    [("vae", "distortion + β · rate"), ("beta_vae", "distortion + β · rate"), ("ae", "distortion")],
)
def test_the_loss_has_the_formula_of_its_kind(kind, formula):
    """As the report shows it beside the curve; that of an IWAE has its k in it."""
    model = toy(6)
    model.kind = kind
    assert loss_in_words(model) == formula
    model.kind, model.importance_samples = "iwae", 8
    assert loss_in_words(model) == "−log (1/8) Σ p(x, z) / q(z|x)"
