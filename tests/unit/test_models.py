"""Networks built from the image shape, and what a state begins with."""

import pytest
import torch

from training.config import FitConfig
from training.fit.minibatches import Batch
from training.fit.state import State
from training.fit.step import train_step
from training.modalities import build_model
from training.modalities.image.networks.likelihoods import Gaussian
from training.models.posterior_head import LOG_VAR_RANGE

SHAPES = [(1, 4, 4), (1, 8, 8), (3, 5, 17), (2, 28, 20), (1, 33, 4), (4, 31, 45)]
CPU = torch.device("cpu")


def config(**values: object) -> FitConfig:
    return FitConfig(**{"likelihood": "bernoulli", "width": 8, "latent": 5, "steps": 10, **values})


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("depth", [1, 2])
def test_any_shape_goes_through(network, shape, depth):
    """Odd and non-square shapes come back as they went in, and each image is independent of its batch."""
    model = build_model(config(network=network, depth=depth), shape)
    image = torch.rand(3, *shape)
    mean, log_var = model.encoder(image)
    logits = model.decoder(mean)
    assert mean.shape == log_var.shape == (3, *model.latent_shape)
    assert logits.shape == image.shape
    torch.testing.assert_close(model.decoder(model.encoder(image[1:2])[0]), logits[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_log_variance_is_bounded_inside_the_encoder(network):
    """Wild inputs give a finite log-variance within the documented range."""
    model = build_model(config(network=network), (1, 8, 8))
    _, log_var = model.encoder(1e6 * torch.randn(16, 1, 8, 8))
    assert LOG_VAR_RANGE[0] <= log_var.min() < log_var.max() <= LOG_VAR_RANGE[1]


def test_weights_depend_on_the_seed_alone():
    """The same seed gives the same weights, another seed others; torch's global generator is left alone."""
    before = torch.random.get_rng_state()
    one, same, other = (State.fresh(config(seed=seed), (1, 8, 8), CPU).model for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_sigma_is_learned():
    """Gaussian σ is in the optimiser: on nearly constant images it falls, and the average follows."""
    state = State.fresh(config(likelihood="gaussian", network="mlp", ema=0.5), (3, 8, 8), CPU)
    likelihood, averaged = state.model.likelihood, state.ema.model.likelihood
    assert isinstance(likelihood, Gaussian)
    start = likelihood.sigma
    image = torch.full((16, 3, 8, 8), 0.5) + 0.01 * torch.randn(16, 3, 8, 8)
    for _ in range(60):
        train_step(state, [Batch(image, torch.randn(16, 5))], config(), beta=1, learning_rate=1e-2)
    assert 1 / 255 < likelihood.sigma < 0.5 * start
    assert averaged.sigma < 0.7 * start


def test_averaged_weights_follow_every_parameter_and_buffer():
    """After a step each floating-point tensor of the average lies between its old and its new value."""
    state = State.fresh(config(network="mlp"), (1, 8, 8), CPU)
    state.model.register_buffer("count", torch.tensor(0))
    state.ema.model.register_buffer("count", torch.tensor(0))
    old = {name: value.clone() for name, value in state.ema.model.state_dict().items()}
    state.model.count += 3
    batch = Batch(torch.rand(4, 1, 8, 8), torch.randn(4, 5))
    train_step(state, [batch], config(), beta=1, learning_rate=1e-2)
    decay = 0.1  # of the first step
    for name, new in state.model.state_dict().items():
        expected = decay * old[name] + (1 - decay) * new if new.is_floating_point() else new
        torch.testing.assert_close(state.ema.model.state_dict()[name], expected)
