"""Presets for images, and what of a config their shape decides."""

import math
from typing import TYPE_CHECKING, Any

from training.config import FitConfig, as_shape
from training.modalities.resolution import Preset, described, explicit_values, fitting, settled

if TYPE_CHECKING:  # so that --help needs no torch
    from training.data import Dataset


MANY_IMAGES: dict[str, Any] = {
    "latent": 40,
    "prior": "flow",
    "precision": "auto",
    "model": "iwae",
    "optimizer": "muon",
}
SEVERAL_SAMPLES_LAST = {"importance_from": 0.8}
"""On a CPU several samples cost several times as much: for the last fifth of the steps only."""

PRESETS = {
    "demo": Preset(
        "up to 20,000 tiny images (16×16 pixels)",
        # Tiny images come from larger ones: their grey levels are averages, not the chance of black or white.
        # And they are not worth a second thread: on a busy machine two took 3.3 times as long as one.
        # Few of them, too: without deformations and dropout it learns them by heart within 1,500 steps.
        {"likelihood": "gaussian", "steps": 3000, "latent": 12, "width": 32, "batch_size": 64, "threads": 1}
        | {"prior": "flow", "couplings": 8, "coupling_width": 128, "deformation": 0.7, "dropout": 0.2},
    ),
    "small": Preset(
        "up to 20,000 images of any size",
        # Looks at the validation images often: a few hundred images are learned by heart within 200 steps.
        {"steps": 2000, "latent": 64, "precision": "auto", "checkpoint_every": 100},
    ),
    "standard": Preset(
        "more images; tuned on MNIST",
        MANY_IMAGES
        | SEVERAL_SAMPLES_LAST
        | {"steps": 3200, "warmup": 0.15, "learning_rate": 0.0015, "checkpoint_every": 800},
    ),
    "quality": Preset(
        "the same, five times as long, with deformed images",
        MANY_IMAGES
        | SEVERAL_SAMPLES_LAST
        | {"steps": 16_000, "warmup": 0.05, "weight_decay": 0.05, "ema": 0.9995, "checkpoint_every": 1000}
        | {"deformation": 1.0},
    ),
    "gpu": Preset(
        "IWAE with a larger network and deformed images, for a GPU; MNIST in about four minutes",
        MANY_IMAGES
        | {"steps": 13_000, "warmup": 0.05, "batch_size": 256, "width": 64, "depth": 2}
        | {"couplings": 8, "coupling_width": 512}
        | {"weight_decay": 0.05, "ema": 0.9995, "checkpoint_every": 500}
        | {"deformation": 1.0},
    ),
}
LARGE: dict[str, Any] = {"network": "patches", "prior": "normal"}
"""In place of a preset's values where the images are large: a step costs what it costs by its pixels."""
LARGE_BATCH = 16
FOR_SMALL_IMAGES = {
    *("model", "importance_from", "optimizer", "learning_rate"),
    *("deformation", "ema", "weight_decay"),
}
"""What a preset with steps for large images leaves at its default there: Muon halves their speed."""
LARGE_STEPS = {"small": 2000, "standard": 3000, "quality": 13_500}
SMALLEST_SIDE = 16
"""Thinner images have no patches."""
LARGE_PIXELS = 64 * 64
"""More than this is large; see docs/decisions/training.md for what was measured on both sides."""
FEW_IMAGES = 20_000
TINY_PIXELS = 16 * 16

DEFAULT_WIDTH = {"mlp": 512, "conv": 32, "patches": 32}


def choose(dataset: "Dataset") -> str:
    """The preset for users who named none."""
    _, height, width = dataset.image_shape
    if len(dataset.train) > FEW_IMAGES:
        return "standard"
    return "demo" if height * width <= TINY_PIXELS else "small"


def _preset_values(
    preset: str, image_shape: tuple[int, int, int], explicit: dict[str, Any]
) -> dict[str, Any]:
    """Those of a preset for images of this size; a map of latents has no flow unless it is asked for."""
    from training.modalities.image.networks.patches import default_map

    values = PRESETS[preset].values
    if isinstance(explicit.get("latent"), tuple | list):
        values = values | LARGE
    _, height, width = image_shape
    if height * width <= LARGE_PIXELS or min(height, width) < SMALLEST_SIDE or "network" in explicit:
        return values
    if preset in LARGE_STEPS:
        values = {name: value for name, value in values.items() if name not in FOR_SMALL_IMAGES}
        values |= {"steps": LARGE_STEPS[preset], "batch_size": LARGE_BATCH}
    return values | LARGE | {"latent": default_map(image_shape)}


def resolve(config: FitConfig, dataset: "Dataset", *, processes: int = 1) -> FitConfig:
    """See ``training.modalities.resolve``."""
    from training.modalities.image.networks import check_latents

    explicit = explicit_values(config)
    preset = config.preset or choose(dataset)
    defaults = fitting(_preset_values(preset, dataset.image_shape, explicit), explicit, processes)
    values = FitConfig.parse(defaults | explicit | {"preset": preset}).model_dump()
    check_latents(as_shape(values["latent"]), values["network"], dataset.image_shape)
    if values["width"] is None:
        values["width"] = DEFAULT_WIDTH[values["network"]]
    if values["likelihood"] == "auto":
        values["likelihood"] = "bernoulli" if dataset.image_shape[0] == 1 else "gaussian"
    if values["clip"] is None:
        per_image = 10.0 * math.prod(dataset.image_shape)  # Gaussian gradients grow with the pixels and 1/σ²
        values["clip"] = 200.0 if values["likelihood"] == "bernoulli" else per_image
    if values["binarisation"] == "auto":
        values["binarisation"] = "dynamic" if values["likelihood"] == "bernoulli" else "none"
    return settled(values, rows=len(dataset.train))


def describe_presets() -> str:
    """For ``--help``."""
    return described(PRESETS)
