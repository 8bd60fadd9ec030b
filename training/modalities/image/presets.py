"""Presets, and the way from what the user said to a config with nothing left open."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training.config import FitConfig, as_shape, flag

if TYPE_CHECKING:  # so that --help needs no torch
    from training.data import Dataset


@dataclass(frozen=True)
class Preset:
    """Values below those that the user gives; in steps, not in seconds, so a run is the same everywhere."""

    summary: str
    values: dict[str, Any]


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
IMPORTANCE_SAMPLES = 5
"""Of an IWAE; where most of the gain for its cost is (arXiv:1509.00519, table 1)."""


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


def _fitting(values: dict[str, Any], explicit: dict[str, Any], processes: int) -> dict[str, Any]:
    """A preset's values, but for those that do not go with what the user set, or with several processes."""
    left_out = set()
    if "epochs" in explicit:
        left_out.add("steps")
    if explicit.get("model") == "ae" or explicit.get("latent") == 1 or explicit.get("free_bits"):
        left_out.add("prior")
    if explicit.get("free_bits") or explicit.get("beta", 1.0) != 1:
        left_out.add("model")
    model = explicit.get("model", "vae" if "model" in left_out else values.get("model", "vae"))
    if model != "iwae":
        left_out.add("importance_from")
    if explicit.get("network") == "mlp" or explicit.get("accumulate", 1) > 1 or processes > 1:
        left_out.add("dropout")
    return {name: value for name, value in values.items() if name not in left_out}


def resolve(config: FitConfig, dataset: "Dataset", *, processes: int = 1) -> FitConfig:
    """The config as it will be run and saved: a preset below what was set explicitly, nothing "auto".

    Resolving a resolved config changes nothing. ``processes``: that share the training.

    Raises:
        TrainingError: the result contradicts itself.
    """
    from training.modalities.image.networks import check_latents
    from training.models.devices import find_device, has_bfloat16

    explicit = {
        name: value for name, value in config.model_dump(exclude_unset=True).items() if value is not None
    }
    preset = config.preset or choose(dataset)
    defaults = _fitting(_preset_values(preset, dataset.image_shape, explicit), explicit, processes)
    values = FitConfig.parse(defaults | explicit | {"preset": preset}).model_dump()
    values["batch_size"] = min(values["batch_size"], len(dataset.train))
    if values["epochs"] is not None:
        values["steps"] = values["epochs"] * (len(dataset.train) // values["batch_size"])
        values["epochs"] = None
    check_latents(as_shape(values["latent"]), values["network"], dataset.image_shape)
    if values["width"] is None:
        values["width"] = DEFAULT_WIDTH[values["network"]]
    if values["model"] == "iwae" and values["importance_samples"] is None:
        values["importance_samples"] = IMPORTANCE_SAMPLES
    if values["likelihood"] == "auto":
        values["likelihood"] = "bernoulli" if dataset.image_shape[0] == 1 else "gaussian"
    if values["clip"] is None:
        per_image = 10.0 * math.prod(dataset.image_shape)  # Gaussian gradients grow with the pixels and 1/σ²
        values["clip"] = 200.0 if values["likelihood"] == "bernoulli" else per_image
    if values["binarisation"] == "auto":
        values["binarisation"] = "dynamic" if values["likelihood"] == "bernoulli" else "none"
    if values["precision"] == "auto":
        values["precision"] = "bfloat16" if has_bfloat16(find_device(config.device)) else "float32"
    return FitConfig.parse(values)


def describe_presets() -> str:
    """For ``--help``."""
    lines = []
    for name, preset in PRESETS.items():
        flags = " ".join(f"{flag(key)} {value}" for key, value in preset.values.items())
        lines.append(f"  {name:<10}{preset.summary}: {flags}")
    return "\n".join(lines)
