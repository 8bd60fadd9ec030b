"""A model leased to one request, which is counted and timed under the version that answers it.

The frame around a call counts by model; to compare a new version with the one before it wants this.
"""

import time
from types import TracebackType

from serving.api.status import code_of
from serving.errors import CallerLeft, ServingError
from serving.models.model import Model


class Lease:
    """As a context manager it gives the model."""

    __slots__ = ("_began", "_model")

    def __init__(self, model: Model) -> None:
        self._model = model
        self._began = 0.0

    def __enter__(self) -> Model:
        self._began = time.perf_counter()
        return self._model.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model.__exit__()
        self._model.answers.done("OK" if exc is None else _code(exc), time.perf_counter() - self._began)


def _code(exc: BaseException) -> str:
    """As the frame has it."""
    if isinstance(exc, ServingError):
        return code_of(exc)
    has_left = isinstance(exc, CallerLeft) or not isinstance(exc, Exception)
    return "CANCELLED" if has_left else "INTERNAL"
