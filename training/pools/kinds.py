"""Which kind each training image is of, kept in the run folder once found.

``pools.json``         how the kinds were found, and what they are called
``pools.safetensors``  the kind of each training image
"""

import json
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from training.pools.mixture import Clustering
from training.training_error import TrainingError


class Point(BaseModel):
    """One point of the BIC curve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    covariance: Literal["full", "tied", "diag"]
    components: int
    bic: float
    """Nats per image."""


class Kind(BaseModel):
    """One pool that was found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    label: str | None = None
    """What the examples say it is."""
    examples: float = 0.0
    """How many of them fell into it, by responsibility."""
    agreement: float = 0.0
    """The share of these that have the label."""

    @property
    def shown(self) -> str:
        return self.label or self.name


class FoundKinds(BaseModel):
    """``pools.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    format: Literal[1] = 1
    step: int
    """Optimiser steps of the model whose posterior means these are."""
    count: int | None
    """Pools asked for; null where each component of the mixture is one."""
    seed: int
    covariance: Literal["full", "tied", "diag"]
    components: int
    stability: float
    curve: tuple[Point, ...]
    kinds: tuple[Kind, ...]

    @classmethod
    def of(cls, found: Clustering, *, step: int, count: int | None, seed: int) -> Self:
        """Called "pool-1" … from the largest on."""
        rows = np.bincount(found.assignment).tolist()
        return cls(
            step=step,
            count=count,
            seed=seed,
            covariance=found.covariance,
            components=found.components,
            stability=found.stability,
            curve=tuple(
                Point(covariance=p.covariance, components=p.components, bic=p.bic) for p in found.curve
            ),
            kinds=tuple(Kind(name=pool_name(index), rows=images) for index, images in enumerate(rows)),
        )

    def named(self, assignment: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """[N] index into the names, pools of the same label being one; and the names."""
        names = tuple(dict.fromkeys(kind.shown for kind in self.kinds))
        index = np.array([names.index(kind.shown) for kind in self.kinds])
        return index[assignment], names


def pool_name(index: int) -> str:
    return f"pool-{index + 1}"


def write_kinds(folder: Path, kinds: FoundKinds, assignment: NDArray[np.int64]) -> None:
    """Into a run folder, ``pools.json`` last."""
    content = save({"assignment": assignment.astype(np.int32)})
    document = (kinds.model_dump_json(indent=2) + "\n").encode()
    for name, written in (("pools.safetensors", content), ("pools.json", document)):
        partial = folder / f".{name}.partial"
        try:
            partial.write_bytes(written)
            partial.replace(folder / name)
        except OSError as exc:
            partial.unlink(missing_ok=True)
            raise TrainingError(f"{folder / name}: cannot be written: {exc.strerror}") from None


def read_kinds(folder: Path, *, step: int, images: int) -> tuple[FoundKinds, NDArray[np.int64]] | None:
    """What ``write_kinds`` wrote; None where there is nothing, or it is of other weights.

    Raises:
        TrainingError: the files are broken or do not fit together.
    """
    file = folder / "pools.json"
    if not file.is_file():
        return None
    try:
        kinds = FoundKinds.model_validate_json(file.read_bytes())
        if kinds.step != step:
            return None
        assignment = load((folder / "pools.safetensors").read_bytes())["assignment"].astype(np.int64)
    except (OSError, SafetensorError, KeyError, ValidationError, json.JSONDecodeError) as exc:
        reason = str(exc).splitlines()[0]
        raise TrainingError(f"{file}: not what `vae-train pools` writes: {reason}; remove it") from None
    wanted = [kind.rows for kind in kinds.kinds]
    if assignment.shape != (images,) or np.bincount(assignment, minlength=len(wanted)).tolist() != wanted:
        fits = f"pools.safetensors and the {images} training images"
        raise TrainingError(f"{file}: want it to fit {fits}; remove it")
    return kinds, assignment


def describe(kinds: FoundKinds) -> str:
    """The BIC curve, the stability, and each pool with its name and how sure that is."""
    best = min(point.bic for point in kinds.curve)
    lines = ["BIC, nats per image above the best:"]
    for covariance in dict.fromkeys(point.covariance for point in kinds.curve):
        points = [point for point in kinds.curve if point.covariance == covariance]
        lines.append(f"  {covariance:<5}" + "  ".join(f"{p.components}: {p.bic - best:.2f}" for p in points))
    merged = f", merged into {kinds.count} pools by overlap" if kinds.count else ""
    lines.append(f"mixture   {kinds.components} components, {kinds.covariance} covariance{merged}")
    lines.append(f"stability adjusted Rand index {kinds.stability:.2f} between fits from different starts")
    for kind in kinds.kinds:
        sure = f"  {kind.agreement:.0%} of {kind.examples:.1f} examples" if kind.label else ""
        lines.append(f"  {kind.name:<9}{kind.rows:>8,} images  {kind.label or 'no name yet':<12}{sure}")
    return "\n".join(lines)
