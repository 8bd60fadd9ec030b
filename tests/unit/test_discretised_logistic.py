"""Probabilities of 256 levels: against the definition in exact arithmetic, at every scale, in every form."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from training.config import FitConfig
from training.evaluate import estimate
from training.evaluate.metrics import BITS, Protocol, summarise
from training.export.graphs import to_onnx
from training.export.parity import cpu_session
from training.fit.losses import elbo
from training.modalities import build_model
from training.modalities.image.networks.likelihoods import TOP_LEVEL, DiscretisedLogistic

LIKELIHOOD = DiscretisedLogistic()
LEVELS = (torch.arange(256) / 255).view(256, 1, 1, 1)
"""An image of one pixel for each level."""
EXTREME = [(0, 0), (0.3, -3), (-1, 20), (1, -20), (-1, -20), (0.001, -20), (4, -20), (100, 100), (-500, -1e4)]
LOGITS = st.tuples(st.floats(-30, 30, width=32), st.floats(-30, 30, width=32))


def pixel(location: float, scale: float) -> Tensor:
    """Logits [1, 3, 1, 1]; a single component has all the weight, whatever its logit."""
    return torch.tensor([7.0, float(location), float(scale)]).view(1, 3, 1, 1)


def parameters(logits: Tensor) -> tuple[float, float]:
    """Location and scale of a pixel, in levels."""
    _, location, log_scale = LIKELIHOOD.parameters_of(logits)
    return location.item(), log_scale.double().exp().item()


def by_definition(level: int, location: float, scale: float) -> float:
    """log of the difference of two logistic distribution functions, in 60 digits, in the tail that is small."""
    side = 1 if level < location else -1
    with localcontext() as context:
        context.prec = 60

        def beyond(edge: float) -> Decimal:
            return 1 / (1 + (side * (Decimal(location) - Decimal(edge)) / Decimal(scale)).exp())

        near = 1 if (level, side) in ((0, -1), (255, 1)) else beyond(level + side / 2)
        far = 0 if (level, side) in ((0, 1), (255, -1)) else beyond(level - side / 2)
        return float((near - far).ln())


@pytest.mark.parametrize("logits", EXTREME, ids=str)
def test_log_prob_is_that_of_the_definition(logits):
    """Of every 15th level, to 1e-5 of the nats or what rounding the location to float32 costs."""
    location, scale = parameters(pixel(*logits))
    found = LIKELIHOOD.log_prob(LEVELS, pixel(*logits))
    for level in range(0, 256, 15):
        wanted = by_definition(level, location, scale)
        assert found[level].item() == pytest.approx(wanted, rel=1e-5, abs=1e-4), level


@given(LOGITS)
def test_probabilities_of_the_levels_sum_to_one(logits):
    """Whatever the decoder says; and none is above 1."""
    log_prob = LIKELIHOOD.log_prob(LEVELS, pixel(*logits))
    assert log_prob.max() <= 1e-6
    assert log_prob.double().exp().sum().item() == pytest.approx(1, abs=1e-4)


@given(LOGITS)
def test_the_mean_is_that_of_the_levels(logits):
    """E[x|z] by its closed form: within half a level of the sum, within 1/100 from a scale of 1 on."""
    _, scale = parameters(pixel(*logits))
    chances = LIKELIHOOD.log_prob(LEVELS, pixel(*logits)).double().exp()
    exact = (chances * torch.arange(256)).sum().item()
    found = LIKELIHOOD.mean(pixel(*logits)).item()
    assert 0 <= found <= 1
    assert abs(255 * found - exact) <= (0.011 if scale >= 1 else 0.501)


@pytest.mark.parametrize("logits", EXTREME, ids=str)
def test_gradients_are_finite(logits):
    """At every level, for any logits; they are those of the same formula in float64."""
    given_logits = pixel(*logits).requires_grad_()
    (found,) = torch.autograd.grad(LIKELIHOOD.log_prob(LEVELS, given_logits).sum(), given_logits)
    assert found.isfinite().all()
    (of_mean,) = torch.autograd.grad(LIKELIHOOD.mean(given_logits).sum(), given_logits)
    assert of_mean.isfinite().all()


def test_gradients_are_differences_of_the_log_probability():
    """Of location and scale, at levels inside and at both ends."""
    for level in (0, 1, 100, 254, 255):
        image = torch.full((1, 1, 1, 1), level / 255)
        logits = pixel(0.2, -0.7).requires_grad_()
        (found,) = torch.autograd.grad(LIKELIHOOD.log_prob(image, logits).sum(), logits)
        assert found[0, 0].item() == 0
        for plane in (1, 2):
            step = torch.zeros(1, 3, 1, 1)
            step[0, plane] = 1e-2
            ends = [LIKELIHOOD.log_prob(image, logits.detach() + way * step).item() for way in (-1, 1)]
            assert found[0, plane].item() == pytest.approx((ends[1] - ends[0]) / 2e-2, rel=0.02, abs=0.02)


@pytest.mark.parametrize("components", [1, 4])
@pytest.mark.parametrize("leading", [(), (7,)], ids=["one sample", "k samples"])
def test_a_mixture_is_the_weighted_sum_of_its_components(leading, components):
    """P(pixel) = Σ weight · Π over its colours, each by a single logistic; pixels are independent."""
    mixture = DiscretisedLogistic(components)
    image = torch.randint(0, 256, (2, 3, 4, 5)) / 255
    logits = torch.randn(*leading, 2, mixture.planes(3), 4, 5)
    found = mixture.log_prob(image, logits)
    assert found.shape == (*leading, 2)
    weights, location, log_scale = logits.split([components, 3 * components, 3 * components], dim=-3)
    terms = []
    for k, weight in enumerate(weights.softmax(dim=-3).unbind(dim=-3)):
        colours = weight.double().log()
        for c in range(3):
            of_one = location[..., 3 * k + c, :, :] + mixture.spread[k], log_scale[..., 3 * k + c, :, :]
            single = torch.stack([weight, *of_one], dim=-1).reshape(-1, 3, 1, 1)
            value = image[:, c].expand_as(weight).reshape(-1, 1, 1, 1)
            colours = colours + LIKELIHOOD.log_prob(value, single).double().reshape(weight.shape)
        terms.append(colours)
    wanted = torch.stack(terms).logsumexp(dim=0).sum(dim=(-2, -1))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-3)


@given(st.integers(2, 6), st.integers(0, 2**31))
def test_a_mixture_of_levels_sums_to_one_and_has_their_mean(components, seed):
    """For any logits, wide and narrow; the mean to half a level."""
    mixture = DiscretisedLogistic(components)
    source = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(1, mixture.planes(1), 1, 1, generator=source)
    chances = mixture.log_prob(LEVELS, logits).double().exp()
    assert chances.sum().item() == pytest.approx(1, abs=1e-4)
    exact = (chances * torch.arange(256)).sum().item()
    assert abs(255 * mixture.mean(logits).item() - exact) <= 0.501


def test_components_begin_apart():
    """Of logits of 0 no two have one location, around the middle of the range; a single one is in it."""
    _, location, _ = DiscretisedLogistic(5).parameters_of(torch.zeros(1, 35, 2, 2))
    assert len(location[0, :, 0, 0, 0].unique()) == 5
    assert location.mean().item() == pytest.approx(127.5)
    assert parameters(pixel(0, 0)) == (127.5, pytest.approx(32))


@given(st.integers(0, 255), st.floats(-0.49, 0.49))
def test_an_image_between_levels_is_the_nearest_one(level, beside):
    """Floats from the wire are no 8-bit values: they are scored as the level that they are next to."""
    logits = pixel(0.1, -1)
    exact = LIKELIHOOD.log_prob(torch.full((1, 1, 1, 1), level / 255), logits)
    near = LIKELIHOOD.log_prob(torch.full((1, 1, 1, 1), (level + beside) / 255), logits)
    assert torch.equal(exact, near)


def test_it_computes_in_float32_under_autocast():
    """bfloat16 logits have the likelihood of the float32 ones with their values."""
    image, logits = torch.randint(0, 256, (4, 3, 5, 5)) / 255, torch.randn(4, 35, 5, 5).bfloat16()
    mixture = DiscretisedLogistic(5)
    with torch.autocast("cpu", torch.bfloat16):
        found, mean = mixture.log_prob(image, logits), mixture.mean(logits)
    assert found.dtype == mean.dtype == torch.float32
    torch.testing.assert_close(found, mixture.log_prob(image, logits.float()), rtol=0, atol=0)
    torch.testing.assert_close(mean, mixture.mean(logits.float()), rtol=0, atol=0)


class BothEnds(nn.Module):
    def __init__(self, likelihood: DiscretisedLogistic) -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, image: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        return self.likelihood.log_prob(image, logits), self.likelihood.mean(logits)


@pytest.mark.parametrize("components", [1, 3])
def test_graph_computes_the_same(components):
    """log p(x|z) and the mean in ONNX Runtime are PyTorch's, at extremes as well."""
    module = BothEnds(DiscretisedLogistic(components))
    ends = [pixel(*pair).repeat_interleave(components, dim=1) for pair in EXTREME]
    logits = torch.cat([*ends, 3 * torch.randn(23, 3 * components, 1, 1)]).repeat(16, 1, 1, 1)
    rows = {"image": LEVELS.repeat(2, 1, 1, 1), "logits": logits}
    content = to_onnx(module, rows, ("log_prob", "mean"), label="likelihood")
    came = cpu_session(content).run(None, {name: tensor.numpy() for name, tensor in rows.items()})
    for found, wanted in zip(came, module(**rows), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_moved_locations_move_alone():
    """By fractions of the whole range, of all components; weights and scales stay."""
    mixture = DiscretisedLogistic(3)
    logits = torch.randn(2, 21, 4, 4)
    moved = mixture.moved(logits, torch.full((2, 3, 4, 4), 10 / 255))
    before, after = (mixture.parameters_of(part) for part in (logits, moved))
    torch.testing.assert_close(after[1], before[1] + 10, rtol=0, atol=1e-3)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[2], before[2])


@pytest.mark.parametrize("network", ["mlp", "conv", "patches"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "discretised_logistic"])
def test_decoders_give_as_many_planes_as_the_likelihood_wants(network, likelihood):
    """Whatever the network, a bound comes of it and a mean image of the image's own shape."""
    shape = (3, 9, 14)
    config = FitConfig(likelihood=likelihood, network=network, width=8, latent=5, steps=1)
    model = build_model(config, shape)
    image = torch.randint(0, 256, (4, *shape)) / 255
    bound = elbo(model, image, torch.randn(4, 5), beta=1)
    bound.loss.backward()
    assert all(
        parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None
    )
    logits = model.decoder(torch.randn(4, 5))
    assert logits.shape == (4, model.likelihood.planes(3), *shape[1:])
    mean = model.likelihood.mean(logits)
    assert (mean.shape, bool((mean >= 0).all()), bool((mean <= 1).all())) == (image.shape, True, True)


def test_bits_per_dimension_are_those_of_256_levels():
    """A decoder that knows nothing pays 8 bits a value; the figures say that they compare with others."""
    model = build_model(
        FitConfig(likelihood="discretised_logistic", network="mlp", width=8, steps=1), (1, 4, 4)
    )
    images = torch.randint(0, 256, (50, 1, 4, 4), dtype=torch.uint8)
    found = estimate(model.eval(), images, k=5, seed=0)
    values = {"likelihood": "discretised_logistic", "k": 5, "images": 50, "images_in_split": 50}
    values |= {"dataset": "noise", "split": "test", "binarisation": "none", "model_seed": 0, "step": 1}
    values |= {"evaluation_seed": 0, "seconds": 1.0, "images_per_second": 50.0}
    timed = dict.fromkeys(("training_seconds", "training_images_per_second"))
    figures = summarise(found, Protocol.model_validate(values | timed), pixels=16).figures
    assert figures["bits_per_dim"].value == pytest.approx(figures["nelbo"].value / (16 * math.log(2)))
    assert figures["bits_per_dim_nll"].value == pytest.approx(figures["nll_5"].value / (16 * math.log(2)))
    assert figures["bits_per_dim"].standard_error == pytest.approx(
        figures["nelbo"].standard_error / (16 * math.log(2))
    )
    assert 8 < figures["bits_per_dim"].value < 10
    assert "bits_per_dim_density" not in figures
    assert {name for name, words in BITS.items() if "of 256 levels" in words} <= set(figures)
    assert TOP_LEVEL == 255
