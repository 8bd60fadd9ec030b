"""Tables: numbers, kinds, times and what is missing of them, in rows."""

from typing import TYPE_CHECKING

from training.modalities.table.table_names import is_table_name

if TYPE_CHECKING:
    from torch import nn

    from serving.bundle.tables import Schema
    from training.config import FitConfig
    from training.data import Dataset
    from training.modalities.data_form import DataForm
    from training.models import VAE


class Table:
    """See ``training.modalities.training_modality.Modality``; imports what it needs when it is needed."""

    name = "table"
    unit = "rows"
    refuses = frozenset(
        {
            *("data_dir", "cache_dir", "in_memory", "strict", "image_size", "channels", "without"),
            *("mixture_components", "deformation"),
        }
    )

    def takes(self, data: str) -> bool:
        return is_table_name(data)

    def load(self, config: "FitConfig", *, labelled: bool = True) -> "Dataset":
        from training.modalities.table.table_dataset import load

        return load(config, labelled=labelled)

    def announce(self, dataset: "Dataset", config: "FitConfig") -> None:
        from training.modalities.table.table_dataset import describe

        print(describe(dataset))

    def resolve(self, config: "FitConfig", dataset: "Dataset", *, processes: int = 1) -> "FitConfig":
        from training.modalities.table.table_presets import resolve

        return resolve(config, dataset, processes=processes)

    def describe_presets(self) -> str:
        from training.modalities.table.table_presets import describe_presets

        return describe_presets()

    def build_model(self, config: "FitConfig", spec: "Schema") -> "VAE":
        from training.modalities.table.table_model import build_model

        return build_model(config, spec)

    def encoder(self, model: "VAE") -> "nn.Module":
        return model.encoder

    def decoder(self, model: "VAE") -> "nn.Module":
        return model.decoder

    def score(self, model: "VAE") -> "nn.Module":
        from training.modalities.table.column_score import ColumnScore

        return ColumnScore(model)

    def form(self, spec: "Schema") -> "DataForm":
        from training.modalities.table.table_form import TableForm

        return TableForm(spec)

    def step_in_words(self, spec: "Schema") -> str:
        return f"--data: a step of one row of {len(spec.modelled)} columns"


TABLE = Table()
