"""p(x|z) of a table in torch: what ``serving.bundle.tables`` says of it in numpy, for gradients and for ONNX.

B is the batch, C the number of modelled columns, P of parameters of p(x|z). Features [B, 3C] are codes, then
scores, then states, as ``to_features`` makes them. Given the latents the columns are independent.
"""

import math
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.bundle.tables import (
    LARGEST_LOG_SIGMA,
    TAIL_RATE,
    BooleanColumn,
    Gaussian,
    Histogram,
    Modelled,
    Number,
    Schema,
)

_PARTS = ("places", "index", "padding")
"""Of a group of columns."""


class ColumnLikelihood(nn.Module):
    """Numbers by a histogram or a Gaussian of their scores, kinds by a softmax, missing cells by a Bernoulli.

    A cell that is unknown takes no part; one that is missing is explained by the chance that it is.
    """

    name: ClassVar[Literal["columns"]] = "columns"
    sigma = None
    volumes: Tensor
    first_volume: Tensor
    low_code: Tensor
    tails: Tensor
    missing: Tensor
    is_nullable: Tensor
    gaussians: Tensor
    first_moment: Tensor

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.columns = len(schema.modelled)
        groups = _groups(schema)
        self.groups = len(groups)
        for number, parts in enumerate(groups):
            for part, array in zip(_PARTS, parts, strict=True):
                self.register_buffer(f"{part}_{number}", torch.tensor(array), persistent=False)
        gaussians = [place for place, column in enumerate(schema.modelled) if _is_gaussian(column)]
        starts = [_logits_of(schema, place)[0] for place in gaussians]
        self.register_buffer("gaussians", torch.tensor(gaussians, dtype=torch.long), persistent=False)
        self.register_buffer("first_moment", torch.tensor(starts, dtype=torch.long), persistent=False)
        order = np.concatenate([*(places for places, _, _ in groups), gaussians]).astype(np.int64)
        self.register_buffer("order", torch.tensor(np.argsort(order)), persistent=False)
        for name, array in _tables(schema).items():
            self.register_buffer(name, torch.tensor(array), persistent=False)

    def log_prob(self, features: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|z) in nats, of numbers that are not whole a density: [..., B]."""
        return self.by_column(features, parameters).sum(dim=-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """A record has none: what a bundle's decoder gives are the parameters themselves."""
        return parameters

    def by_column(self, features: Tensor, parameters: Tensor) -> Tensor:
        """log p(cell|z) in nats, 0 of cells that are unknown.

        Shapes: features [B, 3C], parameters [..., B, P] -> [..., B, C].
        """
        parameters = parameters.float()
        codes, scores, states = features.split(self.columns, dim=-1)
        code = codes.long()
        given = self._chosen(code, scores, parameters) - self._volume(code) - self._beyond(codes, scores)
        # A missing logit of -inf would make 0 times infinity: columns without one read another's, unused.
        logit = torch.where(self.is_nullable, parameters.index_select(-1, self.missing), -30.0)
        observed = given - F.softplus(logit)
        gone = -F.softplus(-logit)
        known = torch.where(states > 0.5, observed, gone)
        return torch.where(states.abs() < 0.5, torch.zeros_like(known), known)

    def _chosen(self, code: Tensor, scores: Tensor, parameters: Tensor) -> Tensor:
        """log p of each cell's category, bin or tail, or the log density of its score: [..., B, C]."""
        parts = []
        padded = F.pad(parameters, (0, 1))  # the last one stands for a logit of 0: false of a boolean
        for number in range(self.groups):
            places, index, padding = (self.get_buffer(f"{part}_{number}") for part in _PARTS)
            logits = padded.index_select(-1, index.flatten()).unflatten(-1, index.shape) + padding
            mine = code.index_select(-1, places).unsqueeze(-1)
            picked = logits.gather(-1, mine.expand(*logits.shape[:-1], 1)).squeeze(-1)
            parts.append(picked - logits.logsumexp(dim=-1))
        if len(self.gaussians):
            parts.append(self._gaussian(scores.index_select(-1, self.gaussians), parameters))
        return torch.cat(parts, dim=-1).index_select(-1, self.get_buffer("order"))

    def _gaussian(self, scores: Tensor, parameters: Tensor) -> Tensor:
        """log N(score; mean, σ²): [..., B, G] for the scores [B, G] of the Gaussian columns."""
        mean = parameters.index_select(-1, self.first_moment)
        log_sigma = parameters.index_select(-1, self.first_moment + 1).clamp(
            -LARGEST_LOG_SIGMA, LARGEST_LOG_SIGMA
        )
        distance = (scores - mean) * torch.exp(-log_sigma)
        return -0.5 * distance.square() - log_sigma - 0.5 * math.log(2 * math.pi)

    def _volume(self, code: Tensor) -> Tensor:
        return self.volumes[self.first_volume + code]

    def _beyond(self, codes: Tensor, scores: Tensor) -> Tensor:
        """What a tail takes of a number's log density, by its distance."""
        below = torch.where(codes == self.low_code, self.tails[0] - scores, 0.0)
        above = torch.where(codes == self.low_code + 1, scores - self.tails[1], 0.0)
        return TAIL_RATE * (below + above).clamp(min=0)


def _groups(schema: Schema) -> list[tuple[Any, Any, Any]]:
    """Columns of like size together: their places [c], the indices of their logits [c, K], and what is added
    to those that a smaller column of the group lacks [c, K].

    A softmax for each column would be as many small operations; one for all would be as wide as the widest.
    """
    sizes: dict[int, list[int]] = {}
    for place, column in enumerate(schema.modelled):
        if _is_gaussian(column):
            continue
        count = 2 if isinstance(column, BooleanColumn) else column.logits
        sizes.setdefault(max(1, count - 1).bit_length(), []).append(place)
    groups = []
    for places in sizes.values():
        logits = [_logits_of(schema, place) for place in places]
        widest = max(map(len, logits))
        index = np.array([[*own, *[schema.parameters] * (widest - len(own))] for own in logits])
        padding = np.array([[0.0] * len(own) + [-1e30] * (widest - len(own)) for own in logits], np.float32)
        groups.append((np.array(places), index, padding))
    return groups


def _is_gaussian(column: Modelled) -> bool:
    return isinstance(column, Number) and isinstance(column.density, Gaussian)


def _logits_of(schema: Schema, place: int) -> list[int]:
    column = schema.modelled[place]
    span = schema.spans[column.name]
    own = list(range(span.start + column.nullable, span.stop))
    return [schema.parameters, *own] if isinstance(column, BooleanColumn) else own


def _tables(schema: Schema) -> dict[str, Any]:
    """What is looked up by column or by code; of kinds, volumes of 0 and a tail that no code is in."""
    volumes: list[Any] = []
    first, low_code, tails = [], [], []
    for column in schema.modelled:
        first.append(sum(len(own) for own in volumes))
        if isinstance(column, Number) and isinstance(column.density, Histogram):
            volumes.append(column.density.log_volumes)
            low_code.append(float(column.density.bins))
            tails.append(column.density.tail_scores)
        else:
            volumes.append(np.zeros(max(2, column.logits)))
            low_code.append(-2.0)
            tails.append((0.0, 0.0))
    return {
        "volumes": np.concatenate(volumes).astype(np.float32),
        "first_volume": np.array(first),
        "low_code": np.array(low_code, np.float32),
        "tails": np.array(tails, np.float32).T.copy(),
        "missing": np.array([schema.spans[c.name].start if c.nullable else 0 for c in schema.modelled]),
        "is_nullable": np.array([c.nullable for c in schema.modelled]),
    }
