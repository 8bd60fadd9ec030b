"""Writes autoencoder_kl/: a tiny diffusers AutoencoderKL as Hugging Face Optimum exports it, with its outputs.

Needs diffusers and optimum-onnx, which the project itself does not: made with diffusers 0.39.0, optimum-onnx
0.1.0 and torch 2.13.0 on a CPU. The weights are random; the scaling and shift factors are those of FLUX.1.
"""

from pathlib import Path
from types import SimpleNamespace

import torch
from diffusers import AutoencoderKL
from optimum.exporters.onnx.convert import export_models
from optimum.exporters.utils import get_diffusion_models_for_export
from safetensors.torch import save_file

FOLDER = Path(__file__).with_name("autoencoder_kl")
IMAGES, HEIGHT, WIDTH = 4, 16, 24


def tiny_vae() -> AutoencoderKL:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=2,
        sample_size=16,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    ).eval()
    with torch.no_grad():
        vae.quant_conv.bias[2] = -31.0  # below what diffusers clamps log-variances to
        vae.decoder.conv_out.weight *= 3  # pixels beyond [-1, 1], which diffusers clamps too
    return vae


@torch.no_grad()
def expected(vae: AutoencoderKL) -> dict[str, torch.Tensor]:
    """What diffusers' pipelines make of images and latents (``VaeImageProcessor`` clamps the images)."""
    scale, shift = vae.config.scaling_factor, vae.config.shift_factor
    image = torch.rand(IMAGES, 3, HEIGHT, WIDTH) * 2 - 1
    posterior = vae.encode(image).latent_dist
    latent = torch.randn_like(posterior.mean)
    return {
        "image": image,
        "mean": posterior.mean,
        "log_var": posterior.logvar,
        "scaled_mean": (posterior.mean - shift) * scale,
        "scaled_latent": latent,
        "decoded": vae.decode(latent / scale + shift).sample.clamp(-1, 1),
    }


def main() -> None:
    vae = tiny_vae()
    parts = get_diffusion_models_for_export(SimpleNamespace(vae=vae), exporter="onnx")
    for name in parts:
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
    export_models(parts, FOLDER, opset=18, output_names=[f"{name}/model.onnx" for name in parts])
    for name in parts:
        vae.save_config(FOLDER / name)
    tensors = {name: tensor.contiguous() for name, tensor in expected(vae).items()}
    save_file(tensors, FOLDER / "expected.safetensors")


if __name__ == "__main__":
    main()
