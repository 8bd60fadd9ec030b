"""Presets for tables, and what of a config their size decides."""

from typing import TYPE_CHECKING, Any

from training.config import FitConfig
from training.modalities.resolution import Preset, described, explicit_values, fitting, settled
from training.training_error import TrainingError

if TYPE_CHECKING:
    from training.data import Dataset

PRESETS = {
    "table": Preset(
        "tables of any size",
        {"network": "residual", "likelihood": "columns", "binarisation": "none", "prior": "flow"}
        | {"latent": 24, "width": 256, "depth": 2, "couplings": 8, "coupling_width": 128}
        | {"optimizer": "muon", "learning_rate": 2e-3, "weight_decay": 0.01, "batch_size": 1024}
        | {"steps": 3000, "warmup": 0.1, "following": 0.3, "checkpoint_every": 250, "clip": 50.0},
    ),
}


def resolve(config: FitConfig, dataset: "Dataset", *, processes: int = 1) -> FitConfig:
    """See ``training.modalities.resolve``."""
    explicit = explicit_values(config)
    _check(explicit)
    preset = explicit.get("preset", "table")
    defaults = fitting(PRESETS[preset].values, explicit, processes)
    values = FitConfig.parse(defaults | explicit | {"preset": preset}).model_dump()
    if values["likelihood"] == "auto":
        values["likelihood"] = "columns"
    if values["binarisation"] == "auto":
        values["binarisation"] = "none"
    return settled(values, rows=len(dataset.train))


def _check(explicit: dict[str, Any]) -> None:
    wanted: dict[str, tuple[Any, ...]] = {
        "preset": tuple(PRESETS),
        "network": ("residual",),
        "likelihood": ("columns", "auto"),
    }
    for name, values in wanted.items():
        if name in explicit and explicit[name] not in values:
            raise TrainingError(f"--{name} {explicit[name]}: a table wants {values[0]}")
    if isinstance(explicit.get("latent"), tuple | list):
        came = "x".join(map(str, explicit["latent"]))
        raise TrainingError(f"--latent {came}: a table wants a number of latents")


def describe_presets() -> str:
    """For ``--help``."""
    return described(PRESETS)
