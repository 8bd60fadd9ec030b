"""What a graph must do before it may serve: answer in the shapes of the manifest and with finite values,
whatever the number of rows. Golden rows prove more, but of one number of rows, and a bundle may lack them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.batching.batch import Outputs
from serving.bundle import BundleError, Manifest, Role
from serving.errors import plain
from serving.finite import all_finite
from serving.latent.pool_set import PoolSet
from serving.modalities import Modality
from serving.runtime.session import Session

Rows = NDArray[np.float32]
Shape = tuple[int, ...]

BLOCK = 16
"""Samples of one row of data in a row of the queue ``score``."""
_POOLS_TRIED = 64
_FAR = 10.0
"""Standard deviations that noise does not reach: once in 10^23 values."""


@dataclass(frozen=True)
class Queue:
    """What a row of one queue takes and gives."""

    name: str
    role: Role
    weight: int
    """Rows of the decoder that one row stands for."""
    takes: tuple[Shape, ...]
    gives: tuple[Shape, ...]
    modality: Modality

    def zeros(self, rows: int) -> list[Rows]:
        return [np.zeros((rows, *shape), np.float32) for shape in self.takes]

    def examples(self, rows: int) -> list[Rows]:
        """Rows of all values they may have, latents and noise from N(0, I); always the same."""
        rng = np.random.default_rng(rows)
        made = [rng.standard_normal((rows, *shape), np.float32) for shape in self.takes]
        if self.role in ("encoder", "score"):
            made[0] = self.modality.examples(rng, rows)
        return made


def queues_of(manifest: Manifest, modality: Modality) -> dict[str, Queue]:
    """The queues that a bundle may have, by name; of its graphs it may lack some."""
    by_column = ((len(modality.columns),),) if modality.columns else ()
    row, decoded, latent = modality.takes.shape, modality.gives.shape, manifest.latent_shape
    shapes: dict[str, tuple[Role, int, tuple[Shape, ...], tuple[Shape, ...]]] = {
        "encoder": ("encoder", 1, (row,), (latent, latent)),
        "decoder": ("decoder", 1, (latent,), (decoded,)),
        "prior": ("prior", 1, (latent,), (latent,)),
        "score": ("score", BLOCK, (row, (BLOCK, *latent)), ((), (), (BLOCK,), *by_column)),
        "score_single": ("score", 1, (row, (1, *latent)), ((), (), (1,), *by_column)),
    }
    if modality.byte_form:
        shapes["pixels"] = ("decoder", 1, (latent,), modality.byte_form.gives)
    return {name: Queue(name, *parts, modality) for name, parts in shapes.items()}


def run(session: Session, queue: Queue, batch: list[Rows]) -> Outputs:
    """Raises MemoryError, or BundleError if the graph cannot run the batch, or answers in other shapes."""
    rows = len(batch[0])
    try:
        outputs = session(*batch)
    except MemoryError:
        raise
    except Exception as exc:  # ONNX Runtime's exceptions share no other base
        words = plain(" ".join(str(exc).split()), 200)
        raise BundleError(f"the {queue.name} cannot run a batch of {rows} rows", words) from None
    for came, shape in zip(outputs, queue.gives, strict=True):
        if came.shape != (rows, *shape):
            raise BundleError(
                f"the {queue.name} answers {rows} rows with {came.shape}, want {(rows, *shape)}"
            )
    return outputs


def try_out(session: Session, queue: Queue, most_rows: int, *, is_fast: bool) -> None:
    """Numbers of rows that are no power of two, in values as they come. Raises BundleError."""
    for rows in {min(3, most_rows), most_rows - 1 if is_fast else 0} - {0}:
        _want_finite(queue.name, run(session, queue, queue.examples(rows)))


def try_pools(pools: PoolSet, manifest: Manifest, decoder: Session, queue: Queue, at_once: int) -> None:
    """Whatever is drawn from a pool is finite in float32, and the decoder decodes it. Raises BundleError."""
    latents, scale, shift = manifest.latent_shape, manifest.latent_scale, manifest.latent_shift

    def drawn(noise: float) -> Rows:
        row = np.full((1, math.prod(latents)), noise)
        draws = [pools.latents(entry.name, row) for entry in pools.entries]
        return np.concatenate(draws).astype(np.float32)

    with np.errstate(all="ignore"):  # what is not finite is looked for
        near = drawn(1.0)
        decoded = near / np.float32(scale) + np.float32(shift)
        farthest = drawn(_FAR) / np.float32(scale) + np.float32(shift)
        probabilities = pools.probabilities(near[:_POOLS_TRIED].astype(np.float64)) if pools.kinds else near
    _want_finite("pools.safetensors: draws", [decoded, farthest])
    _want_finite("pools.safetensors: densities", [probabilities])
    tried = decoded[:_POOLS_TRIED].reshape(-1, *latents)
    for start in range(0, len(tried), at_once):
        _want_finite("decoder", run(decoder, queue, [tried[start : start + at_once]]))


def _want_finite(what: str, arrays: Outputs) -> None:
    if not all(all_finite(array) for array in arrays):
        raise BundleError(f"{what}: want finite values, came others")
