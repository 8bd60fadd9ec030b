"""What fits into one call, and into the client's memory at once."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from serving.client.listing import Call, Listing, Operation
from serving.client.results import Samples
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb

MOST_BYTES = 16 * 2**30
"""Of one result. Beyond it, a job is one for ``sample_stream``, or for several calls."""
_REMEMBERED_S = 5.0
"""How long the client goes by a limit that the server told: one that is started anew may have another."""

_NOTHING_TOLD = (models_pb2.Model(), -math.inf)


class Splitting(Listing):
    """Jobs in parts that the server takes."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, int], tuple[models_pb2.Model, float]] = {}
        """What the server told of a model and version, and when."""

    def _answers(
        self,
        method: str,
        request: Any,
        rows: int,
        fill: Callable[[slice], None],
        *,
        each: int = 1,
        first_row: int = 0,
    ) -> Operation[list[Any]]:
        """One call a part of the rows, after ``fill`` has put it into the request.

        ``each`` is the work that one row makes, in rows. What the server chose for the first part, version
        and seed, is asked for in the others.
        """
        responses: list[Any] = []
        parts = yield from self._parts(request.model, rows, each)
        model, _ = self._told.get((request.model.name, request.model.version), _NOTHING_TOLD)
        if model.modality == "table" and "record_format" in request.DESCRIPTOR.fields_by_name:
            request.record_format = tensors_pb2.RECORD_FORMAT_COLUMNS  # which is read fastest
        for part in parts:
            fill(part)
            response = yield Call(method, request, first_row + part.start)
            if not responses and part.stop < rows:  # more to come, of which this is a measure
                check_result_size(rows, response.ByteSize() / (part.stop - part.start))
            request.model.version = response.model.version
            if method in ("Sample", "Encode", "Score", "Impute"):
                request.seed = response.seed
            responses.append(response)
        return responses

    def _parts(self, model: models_pb2.ModelRef, rows: int, each: int) -> Operation[Iterator[slice]]:
        """``rows`` in parts that one request may have; an impossible number is left to the server."""
        if rows <= 1:
            return iter([slice(0, rows)])
        key = (model.name, model.version)
        known, told = self._told.get(key, _NOTHING_TOLD)
        if time.monotonic() - told > _REMEMBERED_S:
            response: pb.GetModelResponse = yield Call("GetModel", pb.GetModelRequest(model=model))
            known = response.model
            self._told[key] = known, time.monotonic()
        size = max(1, known.max_rows // max(1, each))
        return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def check_result_size(rows: int, row_bytes: float) -> None:
    """Raises ValueError for a result that would fill the memory; ``row_bytes`` are those of one that came."""
    if rows * row_bytes > MOST_BYTES:
        most = max(1, int(MOST_BYTES / row_bytes))
        raise ValueError(
            f"count: want at most {most:,} rows of {row_bytes:,.0f} bytes at once "
            f"({MOST_BYTES / 2**30:.0f} GiB), came {rows:,}; take them in parts: sample_stream, or first_row"
        )


def gathered(stream: Iterable[Samples], count: int) -> list[Samples]:
    """All parts of a stream of ``count`` rows, if the first tells that they fit into memory.

    Raises:
        ValueError: they do not.
    """
    parts: list[Samples] = []
    for part in stream:
        if not parts:
            latents = 0 if part.latents is None else part.latents.nbytes
            check_result_size(count, (part.images.nbytes + latents) / max(1, len(part.images)))
        parts.append(part)
    return parts
