"""A table in a bundle."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from serving.bundle.tables import SCHEMA, Schema
from training.training_error import TrainingError


class TableForm:
    """See ``training.modalities.data_form.DataForm``."""

    data = "features"
    decoded = "parameters"
    scores = ("distortion", "rate", "log_weight", "column_distortion")

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def check_data(self, label: str, rows: Tensor) -> None:
        """Raises TrainingError unless they are features [N, F] of the schema."""
        wanted = self._schema.features
        if rows.ndim != 2 or rows.shape[1] != wanted or rows.dtype != torch.float32:
            raise TrainingError(
                f"{label}: want features [N, {wanted}] in float32, came {list(rows.shape)} in {rows.dtype}"
            )

    def check_decoded(self, rows: Tensor, decoded: Tensor) -> None:
        """Raises TrainingError unless they are the parameters of the schema's columns."""
        if decoded.shape[1:] != (self._schema.parameters,):
            raise TrainingError(
                f"decoder: want {self._schema.parameters} parameters, came {list(decoded.shape[1:])}"
            )

    def manifest(self, rows: Tensor) -> Mapping[str, Any]:
        return {"format": 2, "modality": "table", "image": None}

    def files(self) -> Mapping[str, bytes]:
        return {SCHEMA: self._schema.to_bytes()}
