"""Modules of other libraries, as they come, become a bundle."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from training.export import export_bundle
from training.export.adapters import DecoderAdapter, EncoderAdapter, check_given
from training.training_error import TrainingError

SHAPE = (1, 6, 4)
LATENTS = 3


class ModelOutput(OrderedDict):
    """The container of pythae and transformers: a dict whose entries are attributes too."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        super().__setattr__(key, value)


class Encoder(nn.Module):
    """Returns its two halves as ``form`` makes it."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(24, 2 * LATENTS), nn.Dropout(0.5))

    def forward(self, x):
        return self.form(*self.layers(x).chunk(2, dim=1))


class Decoder(nn.Module):
    def __init__(self, form, squash=torch.sigmoid):
        super().__init__()
        self.form, self.squash = form, squash
        self.linear = nn.Linear(LATENTS, 24)

    def forward(self, z):
        return self.form(self.squash(self.linear(z)).reshape(-1, *SHAPE))


def pythae_encoder(mean, log_var):
    output = ModelOutput()
    output["embedding"], output["log_covariance"] = mean, log_var
    return output


def pythae_decoder(image):
    output = ModelOutput()
    output["reconstruction"] = image
    return output


def export(tmp_path, encoder=pythae_encoder, decoder=pythae_decoder, images=None, **squash):
    torch.manual_seed(0)
    images = torch.rand(12, *SHAPE) if images is None else images
    modules = Encoder(encoder), Decoder(decoder, **squash)
    return modules, export_bundle(*modules, repository=str(tmp_path / "models"), name="mine", images=images)


def test_modules_of_pythae_become_a_bundle(tmp_path):
    """Modules in training mode, with nothing said of them but their images: sealed, and left in their mode."""
    modules, sealed = export(tmp_path)
    assert sealed.manifest.latent_shape == (LATENTS,)
    assert (sealed.manifest.kind, sealed.manifest.training.dataset) == ("vae", "unknown")
    assert all(module.training for half in modules for module in half.modules())


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        pytest.param(lambda m, v: {"mu": m, "logvar": v}, lambda x: {"sample": x}, id="dict"),
        pytest.param(lambda m, v: [m, v], lambda x: (x,), id="sequences"),
    ],
)
def test_containers_of_other_libraries_are_understood(encoder, decoder):
    """The tensors come out as they went in."""
    image, latent = torch.rand(2, *SHAPE), torch.rand(2, LATENTS)
    halves, pixels = Encoder(encoder).eval(), Decoder(decoder)
    mean, log_var = EncoderAdapter(halves)(image)
    torch.testing.assert_close(torch.cat([mean, log_var], dim=1), halves.layers(image))
    assert DecoderAdapter(pixels)(latent).shape == (2, *SHAPE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"encoder": lambda m, v: m}, r"encoder: want \(mean, log_var\), .* came a tensor", id="one tensor"),
        pytest.param({"encoder": lambda m, v: (m, v, m)}, "encoder: .* came tuple of 3", id="three tensors"),
        pytest.param({"encoder": lambda m, v: {"mu": m, "std": v}}, "called log_var or .* there are mu, std", id="no log-variance"),
        pytest.param({"decoder": lambda x: {"x": x}}, "decoder: want a tensor called image or .* there are x", id="no image"),
        pytest.param({"decoder": lambda x: (x, x)}, "decoder: want an image tensor, came tuple of 2", id="two images"),
        pytest.param({"squash": lambda x: 4 * x}, r"decoder: pixels: want values in \[0, 1\], .* sigmoid or a clamp", id="range of decoder"),
        pytest.param({"images": torch.rand(12, *SHAPE) * 255}, r"images: want values in \[0, 1\], came .* to 2", id="range of images"),
        pytest.param({"images": torch.rand(12, 24)}, r"images: want at least 2, \[N, C, H, W\], came \[12, 24\]", id="flat images"),
        pytest.param({"images": torch.rand(12, *SHAPE).double()}, "images: want uint8 or float32, came torch.float64", id="float64"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_one_line(tmp_path, given, message):
    """Which half or the images, what was wanted, what came; nothing is written."""
    with pytest.raises(TrainingError, match=message):
        export(tmp_path, **given)
    assert not list((tmp_path / "models").rglob("*"))


def test_a_module_on_another_device_is_refused():
    """Graphs are made on the CPU; a module elsewhere would fail deep inside torch."""
    with pytest.raises(TrainingError, match="encoder: want it on the CPU, came meta"):
        check_given(torch.rand(2, *SHAPE), encoder=nn.Linear(2, 2, device="meta"))
