"""Training images that are a little deformed."""

import pytest
import torch

from training.fit.minibatches import Batches
from training.modalities.image.randomised.deformation import moved, places

SHAPE = (6, 2, 12, 9)


def images(dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    drawn = torch.randint(0, 256, SHAPE, dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    return drawn if dtype == torch.uint8 else drawn.float() / 255


def deformed(given: torch.Tensor, *, seed: int = 0, strength: float = 1.0) -> torch.Tensor:
    return moved(given, places(tuple(given.shape), torch.Generator().manual_seed(seed), strength))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_every_channel_keeps_its_levels(dtype):
    """Pixels move; which levels there are, and how often each, stays, so that nothing is blurred."""
    given = images(dtype)
    came = deformed(given, strength=2.0)
    assert came.dtype == dtype
    assert torch.equal(came.flatten(2).sort().values, given.flatten(2).sort().values)
    assert not torch.equal(came, given)


def test_no_strength_is_no_deformation():
    """To the bit, and the stronger, the further away."""
    given = images()
    assert torch.equal(deformed(given, strength=0.0), given)
    lines = torch.zeros(64, 1, 28, 28)
    lines[:, :, :, 14:16] = 1.0
    apart = [(deformed(lines, strength=s) - lines).abs().mean() for s in (0.25, 1.0, 4.0)]
    assert apart == sorted(apart)
    assert apart[0] > 0


def test_each_image_is_deformed_in_its_own_way():
    """And otherwise by another seed."""
    same = images()[:1].repeat(4, 1, 1, 1)
    came = deformed(same)
    assert all(not torch.equal(came[0], other) for other in came[1:])
    assert not torch.equal(came, deformed(same, seed=1))


def test_shift_and_turn_are_small_at_strength_one():
    """A dot in the middle stays within two pixels of it: what comes out could have been in the data."""
    dots = torch.zeros(500, 1, 28, 28)
    dots[:, :, 13:15, 13:15] = 1.0
    came = deformed(dots)
    far = came.clone()
    far[:, :, 10:18, 10:18] = 0.0
    assert far.sum() / came.sum() < 0.01


def batches(**options: object) -> Batches:
    given = torch.randint(
        0, 256, (32, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return Batches(given, seed=1, batch_size=8, binary=False, noise_shape=(8, 2), **options)


def test_the_last_steps_see_the_images_as_they_are():
    """Until then each step in its own way, the same whenever it is asked for."""
    plain, other = batches(), batches(deformation=1.0, deformed_steps=5)
    for step in range(8):
        (wanted,), (came,) = plain.at(step), other.at(step)
        assert torch.equal(came.image, wanted.image) == (step >= 5)
        assert torch.equal(came.noise, wanted.noise)
    (again,), (once,) = other.at(2), other.at(2)
    assert torch.equal(again.image, once.image)


def test_processes_see_parts_of_the_same_step():
    """However many there are, and in however many micro-batches."""
    options = {"deformation": 1.0, "deformed_steps": 9}
    (whole,) = batches(**options).at(4)
    parts = [p for rank in (0, 1) for p in batches(**options, share=(rank, 2), accumulate=2).at(4)]
    assert torch.equal(torch.cat([part.image for part in parts]), whole.image)
