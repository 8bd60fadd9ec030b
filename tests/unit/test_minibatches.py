"""Randomness as a function of seed and step."""

import pytest
import torch

from training.fit.minibatches import Batches, Stream, batch_rows, generator
from training.modalities.image.randomised.binarisation import binarise

COUNT, BATCH = 50, 8


def test_an_epoch_shows_each_image_at_most_once_and_all_in_the_long_run():
    """Full batches only; what an epoch leaves out, others show; each epoch has an order of its own."""
    epochs = [
        torch.cat(
            [batch_rows(3, epoch * (COUNT // BATCH) + step, COUNT, BATCH) for step in range(COUNT // BATCH)]
        )
        for epoch in range(10)
    ]
    assert all(len(epoch) == 48 == len(epoch.unique()) for epoch in epochs)
    assert torch.equal(torch.cat(epochs).unique(), torch.arange(COUNT))
    assert not torch.equal(epochs[0], epochs[1])


def test_streams_and_steps_do_not_repeat_each_other():
    """No two of (seed, use, step) give the same numbers."""
    draws = [
        tuple(torch.rand(2, generator=generator(seed, stream, step)).tolist())
        for seed in range(3)
        for stream in Stream
        for step in range(50)
    ]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_binarised_pixels_have_their_chance(dtype):
    """Each pixel is 1 with its own probability; 0 and 1 themselves never change."""
    levels = torch.tensor([0, 1, 51, 128, 254, 255], dtype=torch.uint8)
    chance = levels.float() / 255
    images = (levels if dtype == torch.uint8 else chance).repeat(200_000, 1)
    drawn = binarise(images, generator(0, Stream.STEP))
    assert drawn.unique().tolist() == [0, 1]
    torch.testing.assert_close(drawn.mean(dim=0), chance, rtol=0, atol=5e-3)
    assert drawn[:, 0].max() == 0
    assert drawn[:, -1].min() == 1


def batches(images: torch.Tensor, **options: object) -> Batches:
    return Batches(images, seed=1, batch_size=BATCH, binary=True, noise_shape=(BATCH, 2, 3), **options)


def test_a_step_depends_on_nothing_before_it():
    """The batch of a step is the same asked for first or last; another step differs in all three draws."""
    drawn = batches(torch.randint(0, 256, (COUNT, 1, 4, 4), dtype=torch.uint8))
    (first,) = drawn.at(41)
    for step in range(5):
        drawn.at(step)
    (again,), (other,) = drawn.at(41), drawn.at(42)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert first.noise.shape == (BATCH, 2, 3)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "as they are"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_shares_and_micro_batches_make_the_same_step(dtype, binary):
    """Two processes with two micro-batches each see, put together, what one process sees at once, bit for bit.

    The noise of importance samples, [k, B, Z], is cut along B too.
    """
    images = torch.randint(0, 256, (COUNT, 1, 4, 4), dtype=torch.uint8)
    images = images if dtype == torch.uint8 else images / 255
    options = {
        "seed": 1,
        "batch_size": BATCH,
        "binary": binary,
        "noise_shape": (5, BATCH, 3),
        "batch_axis": 1,
    }
    (whole,) = Batches(images, **options).at(7)
    cut = [
        part for rank in (0, 1) for part in Batches(images, **options, share=(rank, 2), accumulate=2).at(7)
    ]
    assert [part.noise.shape for part in cut] == [(5, BATCH // 4, 3)] * 4
    assert torch.equal(torch.cat([part.image for part in cut]), whole.image)
    assert torch.equal(torch.cat([part.noise for part in cut], dim=1), whole.noise)


def test_the_first_steps_may_take_one_sample_of_each_posterior():
    """The first of those they would take, of the same images; from there on every step takes all."""
    images = torch.randint(0, 256, (COUNT, 1, 4, 4), dtype=torch.uint8)
    options = {"seed": 1, "batch_size": BATCH, "binary": True, "noise_shape": (5, BATCH, 3), "batch_axis": 1}
    for step in (6, 7):
        (every,) = Batches(images, **options).at(step)
        (some,) = Batches(images, **options, single_steps=7).at(step)
        assert torch.equal(some.image, every.image)
        assert torch.equal(some.noise, every.noise[:1] if step < 7 else every.noise)
