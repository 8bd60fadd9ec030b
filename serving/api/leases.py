"""A model leased to one request, which is counted and timed under the version that answers it.

The frame around a call counts by model; to compare a new version with the one before it wants this.
"""

import time
from types import TracebackType

from serving.api.status import Timed, code_of, code_of_cut
from serving.errors import CallerLeft, ServingError
from serving.models.model import Model


class Lease:
    """As a context manager it gives the model."""

    __slots__ = ("_began", "_call", "_model")

    def __init__(self, model: Model, call: Timed) -> None:
        self._model, self._call = model, call
        self._began = 0.0

    def __enter__(self) -> Model:
        self._began = time.perf_counter()
        return self._model.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model.__exit__()
        self._model.answers.done("OK" if exc is None else self._code(exc), time.perf_counter() - self._began)

    def _code(self, exc: BaseException) -> str:
        """As the frame has it."""
        if isinstance(exc, ServingError):
            return code_of(exc)
        is_cut = isinstance(exc, CallerLeft) or not isinstance(exc, Exception)
        return code_of_cut(self._call) if is_cut else "INTERNAL"
