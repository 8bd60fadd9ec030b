"""Images of real size: ``python -m benchmarks.training.real_size --data FOLDER``.

Images/s of training, and what came of it in equal time: PSNR and bits/dim of held-out images,
for our network of large images, the one it replaced, pythae's (which exist for 64×64 alone) and an
``AutoencoderKL`` of diffusers with a map of latents like ours. All train alike: same images, batches, AdamW
and Gaussian pixels with a learned σ, in their own default width or, of diffusers, a small one. A library that
cannot be imported is left out, which is said; ``--peers`` is a folder to look for them in.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from training import modalities
from training.config import FitConfig
from training.data import Dataset, to_unit
from training.fit.loop import batches_of
from training.fit.losses import elbo
from training.fit.state import State
from training.fit.step import train_step
from training.modalities import build_model, resolve
from training.modalities.image.networks.likelihoods import Gaussian
from training.models import VAE
from training.models.priors import StandardNormal

CPU = torch.device("cpu")
HELD_OUT = 64
PYTHAE_SIDE = 64
Shape = tuple[int, int, int]


class Contender(NamedTuple):
    name: str
    build: Callable[[FitConfig, Shape], VAE]
    """Raises ImportError where its library is not there."""
    sides: tuple[int, ...] = (64, 128, 256)


class _Kl(nn.Module):
    """One direction of an AutoencoderKL, in the form of our networks."""

    def __init__(self, whole: nn.Module, *, encodes: bool) -> None:
        super().__init__()
        self.whole, self.encodes = whole, encodes

    def forward(self, x: Tensor) -> Any:
        if not self.encodes:
            return self.whole.decode(x).sample  # type: ignore[operator]
        found = self.whole.encode(x).latent_dist  # type: ignore[operator]
        return found.mean, found.logvar


class _Pythae(nn.Module):
    def __init__(self, network: nn.Module, *, encodes: bool) -> None:
        super().__init__()
        self.network, self.encodes = network, encodes

    def forward(self, x: Tensor) -> Any:
        found = self.network(x)
        if self.encodes:
            return found.embedding, found.log_covariance
        return torch.logit(found.reconstruction.clamp(1e-4, 1 - 1e-4))  # it ends in a sigmoid


def ours(config: FitConfig, shape: Shape) -> VAE:
    return build_model(config, shape)


def before(config: FitConfig, shape: Shape) -> VAE:
    values = {"network": "conv", "latent": 64, "width": 32}
    return build_model(FitConfig.parse(config.model_dump() | values), shape)


def diffusers(config: FitConfig, shape: Shape) -> VAE:
    from diffusers import AutoencoderKL

    latent = config.latent if isinstance(config.latent, tuple) else (4, shape[1] // 8, shape[2] // 8)
    halvings = round(math.log2(shape[1] / latent[1]))
    widths = [min(128, 32 * 2**stage) for stage in range(halvings + 1)]
    whole = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        block_out_channels=widths,
        latent_channels=latent[0],
        norm_num_groups=8,
        mid_block_add_attention=False,
    )
    return _as_vae(_Kl(whole, encodes=True), _Kl(whole, encodes=False), shape, latent)


def pythae(config: FitConfig, shape: Shape) -> VAE:
    from pythae.models import VAEConfig
    from pythae.models.nn.benchmarks.celeba import Decoder_Conv_AE_CELEBA, Encoder_Conv_VAE_CELEBA

    settings = VAEConfig(input_dim=shape, latent_dim=64)
    encoder, decoder = Encoder_Conv_VAE_CELEBA(settings), Decoder_Conv_AE_CELEBA(settings)
    return _as_vae(_Pythae(encoder, encodes=True), _Pythae(decoder, encodes=False), shape, (64,))


def _as_vae(encoder: nn.Module, decoder: nn.Module, shape: Shape, latent: tuple[int, ...]) -> VAE:
    parts = (encoder, decoder, Gaussian(), StandardNormal(latent))
    return VAE(*parts, kind="vae", image_shape=shape, latent_shape=latent)


CONTENDERS = (
    Contender("ours", ours),
    Contender("ours, conv (before)", before),
    Contender("diffusers AutoencoderKL 32–128", diffusers),
    Contender("pythae CelebA networks", pythae, (PYTHAE_SIDE,)),
)


def rows(folder: Path, side: int, seconds: float) -> Iterator[tuple[str, str]]:
    """Contender and what to say of it, one after the other."""
    # Also for 64×64, where users get the network of small images unless they ask for this one.
    given = {"data": folder, "image_size": side, "batch_size": 16, "tensorboard": False}
    if side <= PYTHAE_SIDE:
        given["latent"] = f"4x{side // 4}x{side // 4}"
    config = FitConfig.parse({name: str(value) for name, value in given.items()})
    dataset = modalities.load(config)
    config = resolve(config, dataset)
    for contender in CONTENDERS:
        if side not in contender.sides:
            continue
        try:
            torch.manual_seed(0)
            model = contender.build(config, dataset.image_shape)
        except ImportError as exc:
            yield contender.name, f"left out: {exc}"
            continue
        yield contender.name, _trained(model, dataset, config, seconds)


def _trained(model: VAE, dataset: Dataset, config: FitConfig, seconds: float) -> str:
    state = State.of(model, config)
    batches = batches_of(state, dataset, config)
    began, steps = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        rate = config.learning_rate * (0.01 + 0.99 * math.cos(spent / seconds * math.pi / 2))
        train_step(state, batches.at(steps), config, beta=1.0, learning_rate=rate)
        steps += 1
    psnr, bits = _judged(state.ema.model if steps > 100 else model, dataset)
    return f"{steps * config.batch_size / spent:8.1f} images/s  {psnr:6.2f} dB  {bits:6.3f} bits/dim"


@torch.inference_mode()
def _judged(model: VAE, dataset: Dataset) -> tuple[float, float]:
    """Mean PSNR in dB of the means' reconstructions, bits/dim of the density of 8-bit values."""
    image = to_unit(dataset.val.images[:HELD_OUT])
    model.eval()
    squared, nats = [], []
    for rows_at_once in image.split(8):
        mean, _ = model.encoder(rows_at_once)
        error = model.likelihood.mean(model.decoder(mean)) - rows_at_once
        squared.append(error.square().mean(dim=(1, 2, 3)))
        noise = torch.randn(model.noise_shape(len(rows_at_once)), generator=torch.Generator().manual_seed(0))
        nats.append(elbo(model, rows_at_once, noise, beta=1.0).loss)
    psnr = float((-10 * torch.cat(squared).log10()).mean())
    return psnr, float(torch.stack(nats).mean()) / image[0].numel() / math.log(2) + 8


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.real_size", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of images, scaled to each side")
    parser.add_argument("--sides", default="64,128,256")
    parser.add_argument("--seconds", type=float, default=30.0, help="of training, for each")
    parser.add_argument("--peers", type=Path, help="folder with diffusers and pythae")
    options = parser.parse_args()
    if options.peers:
        sys.path.append(str(options.peers))
    for side in map(int, options.sides.split(",")):
        for name, said in rows(options.data, side, options.seconds):
            print(f"{side:4} {name:32} {said}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
