"""A map of a bundle's latent space in two dimensions: where held-out data lie (``projection.safetensors``).

A bundle may lack it: nothing is served from it but the map itself. N is the number of points, Z of latents.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from safetensors.numpy import save

from serving.bundle.archive import Bundle
from serving.bundle.latent_statistics import Floats, tensors_of
from serving.bundle.manifest import Label
from serving.bundle.sealed_files import BundleError

Integers = NDArray[np.int32]

PROJECTION: Final = "projection.safetensors"
MOST_POINTS = 10_000
MOST_BYTES = 3 << 20
"""Of the file: the map is sent in one message, and gRPC's clients take 4 MiB unless told otherwise."""
MOST_LABELS = 4096
LARGEST = 1e18
"""Of a coordinate: squares of distances are finite in float32."""
_BETWEEN_NAMES = "\n"
_NAMES = TypeAdapter(Annotated[tuple[Label, ...], Field(max_length=MOST_LABELS)])


@dataclass(frozen=True)
class Projection:
    """Points of the plane with their latents, and what is known of each."""

    points: Floats
    """[N, 2]; of a model with two latents these are the latents."""
    latents: Floats
    """[N, Z] posterior means of images that the model was not trained on, as callers see latents."""
    labels: tuple[str, ...] = ()
    """Names that the images have, each once."""
    label_of: Integers | None = None
    """[N] index into ``labels``, -1 where it is not known; None without labels."""
    pool_of: Integers | None = None
    """[N] index into the manifest's pools, -1 where it is not known; None without pools."""
    quantile: Floats | None = None
    """[N] place of the point's score among those of the validation images, 0 to 1; None without scores."""

    def to_bytes(self) -> bytes:
        known = {name: tensor for name, tensor in vars(self).items() if isinstance(tensor, np.ndarray)}
        if self.labels:
            names = _BETWEEN_NAMES.join(self.labels).encode()
            known["labels"] = np.frombuffer(names, np.uint8)
        return bytes(save({name: np.ascontiguousarray(tensor) for name, tensor in known.items()}))

    @classmethod
    def from_bytes(cls, content: bytes, *, latents: int, pools: int) -> Self:
        """Raises BundleError unless the tensors fit together and the manifest."""
        tensors = tensors_of(PROJECTION, content)
        count = len(tensors["points"]) if tensors.get("points", np.empty(())).ndim else 0
        if not 1 <= count <= MOST_POINTS:
            raise BundleError(f"{PROJECTION}: points: want 1 to {MOST_POINTS} of them, came {count}")
        names = _names(tensors.get("labels"))
        if bool(names) != ("label_of" in tensors):
            raise BundleError(f"{PROJECTION}: want labels and label_of, or neither of them")
        made = cls(
            points=_bounded(tensors, "points", (count, 2), LARGEST),
            latents=_bounded(tensors, "latents", (count, latents), LARGEST),
            labels=names,
            label_of=_indices(tensors, "label_of", count, len(names)),
            pool_of=_indices(tensors, "pool_of", count, pools),
            quantile=_bounded(tensors, "quantile", (count,), 1.0) if "quantile" in tensors else None,
        )
        if made.quantile is not None and (made.quantile < 0).any():
            raise BundleError(f"{PROJECTION}: quantile: want values from 0 to 1, came lower ones")
        return made


def read_projection(bundle: Bundle, *, latents: int) -> Projection | None:
    """That of a bundle; None if it has none. Raises BundleError."""
    entry = bundle.manifest.files.get(PROJECTION)
    if entry is None:
        return None
    if entry.size > MOST_BYTES:  # before it is read
        raise BundleError(f"{PROJECTION}: want at most {MOST_BYTES} bytes, came {entry.size}")
    content = bundle.content(PROJECTION)
    return Projection.from_bytes(content, latents=latents, pools=len(bundle.manifest.pools))


def _checked(tensors: dict[str, Any], name: str, shape: tuple[int, ...], dtype: type[Any]) -> NDArray[Any]:
    tensor = tensors.get(name)
    if tensor is None or tensor.shape != shape or tensor.dtype != dtype:
        came = "nothing" if tensor is None else f"{tensor.dtype} {tensor.shape}"
        raise BundleError(f"{PROJECTION}: {name}: want {np.dtype(dtype)} {shape}, came {came}")
    return np.asarray(tensor)


def _bounded(tensors: dict[str, Any], name: str, shape: tuple[int, ...], most: float) -> Floats:
    values = _checked(tensors, name, shape, np.float32)
    if not (np.abs(values) <= most).all():  # written so that NaN is refused
        raise BundleError(f"{PROJECTION}: {name}: want finite values of at most {most:g}, came others")
    return values


def _indices(tensors: dict[str, Any], name: str, count: int, end: int) -> Integers | None:
    if name not in tensors:
        return None
    indices = _checked(tensors, name, (count,), np.int32)
    if ((indices < -1) | (indices >= end)).any():
        raise BundleError(f"{PROJECTION}: {name}: want -1 or an index below {end}, came others")
    return indices


def _names(tensor: NDArray[Any] | None) -> tuple[str, ...]:
    if tensor is None:
        return ()
    if tensor.dtype != np.uint8 or tensor.ndim != 1:
        raise BundleError(f"{PROJECTION}: labels: want uint8 of one axis, came {tensor.dtype} {tensor.shape}")
    try:
        names = _NAMES.validate_python(tuple(tensor.tobytes().decode().split(_BETWEEN_NAMES)))
    except (UnicodeDecodeError, ValidationError):
        wanted = f"want at most {MOST_LABELS} names of 1 to 128 characters in UTF-8, a line each"
        raise BundleError(f"{PROJECTION}: labels: {wanted}, came something else") from None
    if len(set(names)) < len(names):
        raise BundleError(f"{PROJECTION}: labels: want names that differ")
    return names
