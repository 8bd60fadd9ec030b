"""Muon: its steps are orthogonal, of AdamW's size, and learn."""

import pytest
import torch
from torch import nn

from training.config import FitConfig
from training.fit.optimizers import build_optimizers
from training.fit.optimizers.choice import hidden_weights
from training.fit.optimizers.muon import Muon, _by_square, _plain, orthogonalised
from training.modalities import build_model


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 16, 96), (2, 96, 16), (1, 8, 20)])
def test_singular_values_come_near_one(shape, precision):
    """Of matrices with a singular value a hundredth of the largest, wide, tall and square."""
    torch.manual_seed(0)
    left, values, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.linspace(1, 0.01, values.shape[-1]).expand_as(values)
    found = orthogonalised(left @ torch.diag_embed(values) @ right, precision)
    assert found.shape == shape
    assert found.dtype == torch.float32
    assert 0.6 < torch.linalg.svdvals(found).min() < torch.linalg.svdvals(found).max() < 1.25
    direction = (left @ right * found).sum() / (left @ right).norm() / found.norm()
    assert direction > 0.97


def test_both_ways_of_the_iteration_agree():
    """The one on the small side's square computes the same polynomial."""
    torch.manual_seed(0)
    x = torch.randn(2, 12, 60)
    x = x / x.norm(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(_by_square(x), _plain(x), rtol=1e-3, atol=1e-4)


def test_a_zero_gradient_moves_nothing():
    """No division by zero: residual branches begin with one."""
    weight = nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=0.1).step()
    assert torch.equal(weight, torch.ones(4, 4))


@pytest.mark.parametrize("rate", [0.5, torch.tensor(0.5)])
@pytest.mark.parametrize("shape", [(8, 8), (8, 4, 3, 3)])
def test_a_small_problem_is_learned(shape, rate):
    """Weights come to the target; entries of a step have a root mean square of about 0.2 times the rate."""
    torch.manual_seed(0)
    weight, target = nn.Parameter(torch.zeros(shape)), torch.randn(shape)
    optimizer = Muon([weight], lr=rate)
    for step in range(200):
        optimizer.zero_grad()
        (weight - target).square().sum().backward()
        optimizer.step()
        if step == 0:
            assert 0.1 * 0.5 < weight.square().mean().sqrt() < 0.3 * 0.5
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * 0.98
    assert (weight - target).abs().max() < 0.05


def test_weight_decay_shrinks_by_its_share():
    """Decoupled: the rate times the decay."""
    weight = nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 4), 0.95))


@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_every_weight_has_one_optimiser(network):
    """Biases, and what touches pixels or latents, are AdamW's; all others are Muon's."""
    config = FitConfig(
        network=network, width=8, depth=2, latent=4, likelihood="bernoulli", prior="flow", coupling_width=16,
        optimizer="muon",
    )  # fmt: skip
    model = build_model(config, (1, 12, 12))
    optimizers = build_optimizers(model, config)
    taken = [id(p) for each in optimizers.values() for group in each.param_groups for p in group["params"]]
    assert sorted(taken) == sorted(id(parameter) for parameter in model.parameters())
    hidden = {id(weight) for weight in hidden_weights(model)}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in hidden}
    assert all(name.endswith("weight") for name in names)
    assert not any("head" in name or "decoder.features" in name for name in names)
    assert "prior.blocks.0.first.network.2.weight" in names
    assert ("encoder.features.weight" in names) == (network == "conv")
