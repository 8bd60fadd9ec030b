"""Networks of large images, maps of latents, and what a step takes of the memory."""

import json
import math
import subprocess
import sys

import pytest
import torch

from training.config import FitConfig
from training.data import Dataset, Split
from training.export.graphs import to_onnx
from training.export.parity import parity
from training.fit.minibatches import Batch
from training.fit.state import State
from training.fit.step import train_step
from training.modalities import build_model, resolve
from training.modalities.image.networks import conv, patches
from training.modalities.image.networks.codec import ImageDecoder, ImageEncoder
from training.modalities.image.presets import LARGE_STEPS
from training.models.step_memory import bytes_of_weights, bytes_per_image, free_bytes
from training.training_error import TrainingError

CPU = torch.device("cpu")


def config(**values: object) -> FitConfig:
    base = {"likelihood": "gaussian", "network": "patches", "width": 4, "latent": 5, "steps": 10}
    return FitConfig.parse(base | values)


def dataset(shape: tuple[int, int, int], count: int = 6) -> Dataset:
    split = Split(torch.randint(0, 256, (count, *shape), dtype=torch.uint8), None)
    return Dataset("noise", split, split, split, (), "0" * 64)


@pytest.mark.parametrize("latent", [7, "map"], ids=str)
@pytest.mark.parametrize(
    "shape", [(3, 96, 70), (1, 65, 130), (3, 193, 201), (1, 16, 300), (3, 33, 4), (2, 5, 5)], ids=str
)
def test_any_shape_goes_through(shape, latent):
    """Odd and thin images come back as they went in, with a vector of latents or a map of them."""
    if latent == "map":
        share = 8 if math.prod(shape[1:]) > 8192 else 2
        latent = f"2x{-(-shape[1] // share)}x{-(-shape[2] // share)}"
    model = build_model(config(latent=latent, depth=2), shape)
    image = torch.rand(3, *shape)
    mean, log_var = model.encoder(image)
    logits = model.decoder(mean)
    assert mean.shape == log_var.shape == (3, *model.latent_shape)
    assert logits.shape == image.shape
    torch.testing.assert_close(model.decoder(model.encoder(image[1:2])[0]), logits[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", ["32x32", "16x16", "4x4"])
def test_a_map_of_latents_looks_at_its_place(size):
    """A pixel far away changes nothing of a latent: a map is not a vector in disguise."""
    model = build_model(config(latent=f"4x{size}"), (3, 256, 256))
    image = torch.rand(1, 3, 256, 256)
    other = image.clone()
    other[..., -2:, -2:] = 1 - other[..., -2:, -2:]
    changed = (model.encoder(image)[0] != model.encoder(other)[0]).any(dim=1)[0]
    assert changed[-1, -1]
    assert not changed[0, 0]


@pytest.mark.parametrize(
    ("latent", "message"),
    [
        (
            "4x30x30",
            r"--latent 4x30x30: images of 256x256 .* want one of 4x128x128, 4x64x64, 4x32x32, .*4x2x2$",
        ),
        ("4x32x31", r"--latent 4x32x31: images of 256x256"),
        ("4x64x64", r"--latent: want 1 to 4096 latents in all; came 4x64x64"),
        ("0x8x8", r"--latent: want 1 to 4096 latents in all; came 0x8x8"),
        ("4x8", r"--latent: want a number of latents, like 40, or CxHxW, like 4x32x32; came '4x8'"),
        ("x", r"--latent: want a number of latents"),
        ("-4x8x8", r"--latent: want a number of latents"),
        ("1e3", r"--latent: want a number of latents"),
        ("9" * 400, r"--latent: want a number of latents"),
        ("0", r"--latent: want 1 to 4096 latents in all; came 0"),
        ([4, 4], r"--latent: want a number of latents, .* came '4x4'"),
    ],
)
def test_a_map_that_does_not_fit_is_refused_by_name(latent, message):
    """The flag, what was wanted and what came, before anything is built."""
    with pytest.raises(TrainingError, match=message):
        resolve(FitConfig.parse({"latent": latent}), dataset((3, 256, 256)))


@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_other_networks_have_no_map(network):
    """Asked for together they are an error; left out, the network follows from the latents, of any size."""
    with pytest.raises(TrainingError, match=f"--latent 4x8x8: .* wants --network patches, came {network}"):
        resolve(FitConfig.parse({"latent": "4x8x8", "network": network}), dataset((3, 32, 32)))
    chosen = resolve(FitConfig.parse({"latent": "4x8x8", "preset": "standard"}), dataset((3, 32, 32)))
    assert (chosen.network, chosen.latent, chosen.prior) == ("patches", (4, 8, 8), "normal")
    assert FitConfig.model_validate_json(chosen.model_dump_json()) == chosen
    assert resolve(chosen, dataset((3, 32, 32))) == chosen


def test_the_network_follows_the_size_unless_it_is_named():
    """Up to 64×64 nothing changes, nor for what was saved before; above, what a step costs counts."""
    small, large = dataset((3, 64, 64)), dataset((3, 64, 65))
    assert resolve(FitConfig(), small).network == "conv"
    chosen = resolve(FitConfig(), large)
    assert (chosen.network, chosen.width, chosen.latent) == ("patches", 32, (4, 8, 9))
    for preset in LARGE_STEPS:  # what is dear with small batches stays with small images
        slower = resolve(FitConfig(preset=preset), large)
        assert (slower.model, slower.optimizer, slower.steps) == ("vae", "adamw", LARGE_STEPS[preset])
    assert resolve(FitConfig(network="conv"), large).network == "conv"
    saved = resolve(FitConfig(network="conv", batch_size=4), large)
    assert resolve(FitConfig.model_validate_json(saved.model_dump_json()), large) == saved
    assert resolve(FitConfig(), dataset((1, 8, 4096))).network == "conv"


@pytest.mark.parametrize("shape", [(3, 65, 65), (3, 300, 200), (1, 16, 300), (3, 4096, 4096)], ids=str)
def test_the_default_map_fits_the_image_and_the_pools(shape):
    """It is one that the network has, of at most 1,024 latents."""
    latent = patches.default_map(shape)
    patches.check_map(latent, shape)
    assert math.prod(latent) <= patches.MOST_IN_POOLS


@pytest.mark.parametrize("prior", ["normal", "flow"])
@pytest.mark.parametrize("model", ["vae", "iwae", "ae"])
def test_maps_of_latents_train_with_every_objective(model, prior):
    """A step moves the weights whatever the objective; a flow takes the map as a vector."""
    if (model, prior) == ("ae", "flow"):
        pytest.skip("an autoencoder has no prior")
    samples = {"importance_samples": 3} if model == "iwae" else {}
    settings = config(model=model, prior=prior, latent="2x4x4", **samples)
    state = State.fresh(settings, (3, 16, 16), CPU)
    before = [weight.clone() for weight in state.model.encoder.parameters()]
    batch = Batch(torch.rand(4, 3, 16, 16), torch.randn(state.model.noise_shape(4)))
    for _ in range(3):  # residual branches begin at zero
        terms = train_step(state, [batch], settings, beta=1, learning_rate=1e-3)
    assert torch.isfinite(terms.loss)
    assert all(not torch.equal(a, b) for a, b in zip(before, state.model.encoder.parameters(), strict=True))


def test_a_large_image_costs_less_than_before():
    """Multiplications a pixel of 256×256 colour: at most a tenth of those of the network for small images."""
    shape = (3, 256, 256)
    with torch.device("meta"):
        new = patches.Encoder(shape, (64,), 32, 1), patches.Decoder(shape, (64,), 32, 1)
        old = conv.Encoder(shape, 64, 32, 1), conv.Decoder(shape, 64, 32, 1)
    assert 10 * _multiplications(*new) < _multiplications(*old)


def _multiplications(encoder: torch.nn.Module, decoder: torch.nn.Module) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        decoder(encoder(torch.empty(1, 3, 256, 256, device="meta"))[0])
    return int(counter.get_total_flops())


MEASURED = """
import json, re, sys, torch
from pathlib import Path
from training.config import FitConfig
from training.fit.minibatches import Batch
from training.fit.state import State
from training.fit.step import train_step
torch.set_num_threads(1)

def most():  # the kernel's ru_maxrss has what the parent took as well
    return 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])

config, shape, batch = FitConfig.parse(json.loads(sys.argv[1])), tuple(json.loads(sys.argv[2])), 24
before = most()
state = State.fresh(config, shape, torch.device("cpu"))
noise = torch.randn(state.model.noise_shape(batch))
for _ in range(2):
    train_step(state, [Batch(torch.rand(batch, *shape), noise)], config, beta=1, learning_rate=1e-3)
print(most() - before)
"""


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ({"network": "patches", "latent": 256, "width": 32}, (3, 256, 256)),
        ({"network": "patches", "latent": [4, 16, 16], "width": 64}, (3, 128, 128)),
        ({"network": "conv", "latent": 64, "width": 32}, (3, 128, 128)),
    ],
    ids=["patches", "map", "conv"],
)
def test_what_a_step_takes_is_known_before_it(values, shape):
    """What is counted on the meta device is what a process takes: neither half as much nor twice."""
    values = {"likelihood": "gaussian", "steps": 2, **values}
    with torch.device("meta"):
        model = build_model(FitConfig.parse(values), shape)
    counted = bytes_of_weights(model) + 24 * bytes_per_image(model)
    arguments = [sys.executable, "-c", MEASURED, json.dumps(values), json.dumps(shape)]
    measured = int(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout)
    assert counted / 2 < measured < 2 * counted


def test_free_memory_is_that_of_the_narrowest_limit():
    """On Linux something is known of the machine, and ``ulimit -v`` counts where it is less."""
    free = free_bytes(CPU)
    assert free is not None
    assert free > 0
    script = "import resource; resource.setrlimit(resource.RLIMIT_AS, (8 << 30,) * 2)\n"
    script += "import torch; from training.models.step_memory import free_bytes\n"
    script += "print(free_bytes(torch.device('cpu')))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert 0 < int(run.stdout) < 8 << 30


@pytest.mark.parametrize("latent", [6, "2x18x16"], ids=str)
def test_graphs_compute_the_same(latent):
    """Padding, cropping and maps go into standard ONNX graphs with a dynamic batch, equal to PyTorch."""
    model = build_model(config(latent=latent), (3, 70, 61)).eval()
    images = torch.rand(4, 3, 70, 61)
    with torch.no_grad():
        mean, _ = model.encoder(images)
    for module, rows, outputs in (
        (ImageEncoder(model), {"image": images}, ("mean", "log_var")),
        (ImageDecoder(model), {"latent": mean}, ("image",)),
    ):
        graph = to_onnx(module, rows, outputs, label="network")
        assert max(parity(graph, module, rows).values()) < 1e-4
