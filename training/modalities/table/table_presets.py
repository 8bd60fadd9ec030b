"""Presets for tables, and what of a config their size decides."""

from typing import TYPE_CHECKING, Any

from training.config import FitConfig
from training.modalities.resolution import Preset, described, explicit_values, fitting, settled
from training.training_error import TrainingError

if TYPE_CHECKING:
    from training.data import Dataset

COMMON: dict[str, Any] = {
    "network": "residual",
    "likelihood": "columns",
    "binarisation": "none",
    "prior": "flow",
    "width": 256,
    "depth": 2,
    "optimizer": "muon",
    "learning_rate": 2e-3,
    "weight_decay": 0.01,
    "following": 0.3,
    "clip": 50.0,
}
PRESETS = {
    "small_table": Preset(
        "tables of fewer than 10,000 rows",
        # A few hundred rows are learned by heart soon: the weights kept are those of the best look.
        COMMON
        | {"latent": 16, "couplings": 4, "coupling_width": 64, "batch_size": 256}
        | {"learning_rate": 0.006, "input_noise": 0.3}
        | {"steps": 400, "ema": 0.99, "checkpoint_every": 50, "log_every": 25},
    ),
    "table": Preset(
        "tables of more rows",
        COMMON
        | {"latent": 24, "couplings": 8, "coupling_width": 128, "batch_size": 1024}
        | {"steps": 1500, "checkpoint_every": 250},
    ),
}
MANY_ROWS = 10_000


def choose(dataset: "Dataset") -> str:
    """The preset for users who named none."""
    rows = len(dataset.train) + len(dataset.val) + len(dataset.test)
    return "table" if rows >= MANY_ROWS else "small_table"


def _of_columns(preset: str, columns: int) -> dict[str, Any]:
    """Of few rows, as many latents as there are columns are enough; a flow wants two."""
    values = PRESETS[preset].values
    return values | {"latent": max(2, min(values["latent"], columns))} if preset == "small_table" else values


def resolve(config: FitConfig, dataset: "Dataset", *, processes: int = 1) -> FitConfig:
    """See ``training.modalities.resolve``."""
    explicit = explicit_values(config)
    _check(explicit)
    preset = explicit.get("preset") or choose(dataset)
    defaults = fitting(_of_columns(preset, len(dataset.schema.modelled)), explicit, processes)
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
        "binarisation": ("none", "auto"),
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
