"""From what the user said to a config with nothing left open: what every kind of data shares of that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.config import FitConfig, flag

IMPORTANCE_SAMPLES = 5
"""Of an IWAE; where most of the gain for its cost is (arXiv:1509.00519, table 1)."""


@dataclass(frozen=True)
class Preset:
    """Values below those that the user gives; in steps, not in seconds, so a run is the same everywhere."""

    summary: str
    values: dict[str, Any]


def explicit_values(config: FitConfig) -> dict[str, Any]:
    """Those that the user gave."""
    return {name: value for name, value in config.model_dump(exclude_unset=True).items() if value is not None}


def fitting(values: dict[str, Any], explicit: dict[str, Any], processes: int) -> dict[str, Any]:
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
    if explicit.get("accumulate", 1) > 1 or processes > 1:
        left_out |= {"dropout", "input_noise"}
    if explicit.get("network") == "mlp":
        left_out.add("dropout")
    return {name: value for name, value in values.items() if name not in left_out}


def settled(values: dict[str, Any], *, rows: int) -> FitConfig:
    """The values of a config with what else is open decided; ``rows`` there are to train on.

    Raises:
        TrainingError: the result contradicts itself.
    """
    from training.models.devices import find_device, has_bfloat16

    values["batch_size"] = min(values["batch_size"], rows)
    if values["epochs"] is not None:
        values["steps"] = values["epochs"] * (rows // values["batch_size"])
        values["epochs"] = None
    if values["model"] == "iwae" and values["importance_samples"] is None:
        values["importance_samples"] = IMPORTANCE_SAMPLES
    if values["precision"] == "auto":
        fast = has_bfloat16(find_device(values["device"]))
        values["precision"] = "bfloat16" if fast else "float32"
    return FitConfig.parse(values)


def described(presets: Mapping[str, Preset]) -> str:
    """For ``--help``."""
    lines = []
    for name, preset in presets.items():
        flags = " ".join(f"{flag(key)} {value}" for key, value in preset.values.items())
        lines.append(f"  {name:<10}{preset.summary}: {flags}")
    return "\n".join(lines)
