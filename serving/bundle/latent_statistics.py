"""The tensors of a bundle: pools and reference statistics in latent space.

Z is the number of latents, that is the product of the latent shape; P the number of pools.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from serving.bundle.sealed_files import BundleError

Floats = NDArray[np.float32]

_POOLS = "pools.safetensors"
_REFERENCE = "reference.safetensors"
_LONGEST_HEADER = 1 << 20
"""Bytes. There are a few tensors in a file."""


@dataclass(frozen=True)
class Pools:
    """One Gaussian a pool, fitted to the posterior means of its images (``pools.safetensors``)."""

    weight: Floats
    """[P] share of the training set."""
    mean: Floats
    """[P, Z]"""
    cholesky: Floats
    """[P, Z, Z] lower triangular L with covariance L Lᵀ."""

    def to_bytes(self) -> bytes:
        return save({"weight": self.weight, "mean": self.mean, "cholesky": self.cholesky})

    @classmethod
    def from_bytes(cls, content: bytes, *, pools: int, latents: int) -> Self:
        """Raises BundleError unless shapes fit the manifest and each is a Gaussian that can be drawn from."""
        shapes = {"weight": (pools,), "mean": (pools, latents), "cholesky": (pools, latents, latents)}
        made = cls(**_checked(_POOLS, content, shapes))
        if (made.weight < 0).any():
            raise BundleError(f"{_POOLS}: weight: want no negative share")
        diagonal = np.diagonal(made.cholesky, axis1=1, axis2=2)
        if not (diagonal > 0).all() or np.triu(made.cholesky, 1).any():
            raise BundleError(f"{_POOLS}: cholesky: want lower triangles with a positive diagonal")
        return made


@dataclass(frozen=True)
class Reference:
    """What the training set looks like in latent space (``reference.safetensors``).

    The served model compares live traffic with it (drift), and the score of an image (its quantile).
    """

    mean: Floats
    """[Z] mean over images of the posterior means."""
    covariance: Floats
    """[Z, Z] covariance over images of the posterior means."""
    posterior_variance: Floats
    """[Z] mean over images of the posterior variance."""
    kl: Floats
    """[Z] nats, mean over images of KL(q(z_j|x) ‖ N(0, 1)); not the rate where the prior is learned."""
    score_quantiles: Floats | None = None
    """[Q] nats, ascending: evenly spaced quantiles, from 0 to 1, of -ELBO over the validation images as a
    server sees them; None without a score graph or with few such images, and in bundles from before there was
    one. Bundles sealed before 2026-11-26 have those of the training images."""

    def to_bytes(self) -> bytes:
        return save({name: tensor for name, tensor in vars(self).items() if tensor is not None})

    @classmethod
    def from_bytes(cls, content: bytes, *, latents: int) -> Self:
        """Raises BundleError unless shapes fit the manifest and every value is finite."""
        z = (latents,)
        shapes = {"mean": z, "covariance": (latents, latents), "posterior_variance": z, "kl": z}
        quantiles = tensors_of(_REFERENCE, content).get("score_quantiles")
        if quantiles is not None:
            shapes["score_quantiles"] = (max(2, quantiles.size),)
        checked = _checked(_REFERENCE, content, shapes)
        if quantiles is not None and (np.diff(quantiles) < 0).any():
            raise BundleError(f"{_REFERENCE}: score_quantiles: want them ascending")
        return cls(**checked)


def tensors_of(file: str, content: bytes) -> dict[str, Floats]:
    """What is in a safetensors file. Raises BundleError, whatever is wrong with it."""
    header = int.from_bytes(content[:8], "little")
    if header > _LONGEST_HEADER:
        raise BundleError(f"{file}: not a safetensors file: its header would have {header} bytes")
    try:
        return load(content)
    except Exception as exc:  # a type that numpy does not have is a KeyError, and so on
        raise BundleError(f"{file}: not a safetensors file", f"{type(exc).__name__} {exc}") from None


def _checked(file: str, content: bytes, shapes: dict[str, tuple[int, ...]]) -> dict[str, Floats]:
    tensors = tensors_of(file, content)
    for name, shape in shapes.items():
        tensor = tensors.get(name)
        if tensor is None or tensor.shape != shape or tensor.dtype != np.float32:
            came = "nothing" if tensor is None else f"{tensor.dtype} {tensor.shape}"
            raise BundleError(f"{file}: {name}: want float32 {shape}, came {came}")
        if not np.isfinite(tensor).all():
            raise BundleError(f"{file}: {name}: want finite values")
    return {name: tensors[name] for name in shapes}
