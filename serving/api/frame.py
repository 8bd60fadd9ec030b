"""Around every call of our API: authenticate, parse, count, time, turn what goes wrong into an error of ours.

A call is admitted before its message is read, for what is refused should have cost nothing. The message is
raw bytes, so that one that is no protobuf message is the caller's error like any other. Which transport a
call came by is the door's business (``serving.doors``).
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from serving.api.status import InternalError, code_of, code_of_cut
from serving.errors import CallerLeft, InvalidInput, ServingError, ShuttingDown, TooManyCalls, Unauthenticated
from serving.metrics.registry import UNKNOWN, CallMetrics, Metrics
from serving.models.repository import Repository
from serving.wire.message_bounds import NO_RECORDS, RecordBounds, Unparsable, check_bounds

log = logging.getLogger(__name__)

_WITHOUT_MODEL = ""
"""Label of a call that is about no model."""
_RETRY_AFTER_S = 0.1
"""Of a call that is one too many: by then others have ended."""
_WIDE_ROW = 1 << 14
"""Cells besides: of a row that is far too wide it is told which column the table has not."""
_DRAIN_POLL_S = 0.02
_QUIET_S = 0.1
_SETTLE_S = 2.0
"""The sockets close when no call has come for the former, or after the latter."""


class Call(Protocol):
    """What a door tells of a call; gRPC's servicer context is one."""

    def time_remaining(self) -> float | None:
        """Seconds to the caller's deadline."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """Keys in small letters."""

    async def read(self) -> bytes:
        """The request's message. Raises InvalidInput if there is none, RequestUnfinished, TooManyCalls."""

    async def next(self) -> bytes | None:
        """Of a method that takes several messages the next one; None after the last."""

    async def write(self, response: bytes) -> None:
        """Send one of several responses, once the reader can take it. Raises CallerLeft."""


Behaviour = Callable[[Any, Call], Awaitable[bytes | None]]
"""Request and call to the serialised response; None if it was written."""
Answer = Callable[[Call], Awaitable[bytes | None]]
"""The same, request and all. Raises ServingError or CallerLeft."""


@dataclass(frozen=True)
class Method:
    """An RPC of a service."""

    service: str
    name: str
    request_type: Any
    """The class of its message; None of a method that reads its messages itself."""
    behave: Behaviour
    model_of: Callable[[Any], str] | None
    """The name of the model that a request is about; None of a method that is about no model."""
    writes: bool = False
    """Whether it writes its responses, instead of returning one."""
    pauses: bool = False
    """Whether its caller may pause between the messages that it reads."""
    is_open: bool = False
    """Whether it is answered without a token, and by a server that drains: probes ask for it."""

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"


class Frame:
    """See the module."""

    def __init__(self, repository: Repository, metrics: Metrics, *, max_calls: int, max_rows: int) -> None:
        self._repository = repository
        self._metrics = metrics
        self._credentials: bytes | None = None
        self._active = 0
        self._max_calls = max_calls
        self._max_rows = max_rows
        self._draining = False
        self._released: asyncio.Event | None = None
        """While the sockets close: set once nothing can come any more."""
        self._newest = 0.0
        self._series = cache(partial(CallMetrics, metrics))
        self._give_up: list[Callable[[ServingError], None]] = []

    def require(self, token: str | None) -> None:
        """What calls must carry from here on, if anything."""
        self._credentials = f"Bearer {token}".encode() if token else None

    def when_draining(self, give_up: Callable[[ServingError], None]) -> None:
        """How a door ends the calls whose message is not here yet."""
        self._give_up.append(give_up)

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls and wait for those in progress, at most ``grace_s`` seconds.

        A call that gRPC holds but has not handed over when the server stops is cancelled by gRPC, and
        its client cannot know whether it was begun. So at the end calls are not refused at once, for then
        others come in their place, but held until ``release``, as many as may be in progress.
        """
        self._draining = True
        for give_up in self._give_up:
            give_up(ShuttingDown("this server is shutting down"))
        end = time.monotonic() + grace_s
        while self._active and time.monotonic() < end:  # noqa: ASYNC110  # an event would cost every call
            await asyncio.sleep(_DRAIN_POLL_S)
        self._released = asyncio.Event()
        settled = self._newest = time.monotonic()
        while time.monotonic() < min(self._newest + _QUIET_S, settled + _SETTLE_S):  # noqa: ASYNC110  # for quiet
            await asyncio.sleep(_DRAIN_POLL_S)

    def release(self) -> None:
        """Refuse the calls that ``drain`` has held; the door hands over no more."""
        if self._released:
            self._released.set()

    def answer(self, method: Method, *, transport: str, is_part: bool = False) -> Answer:
        """The method with all that is around a call; ``transport`` is the door's name, for the metrics.

        ``is_part``: it answers one message of a call that is in progress already.
        """
        behave, request_type, model_of = method.behave, method.request_type, method.model_of
        label, counts, parse = self._repository.label, int(not is_part), self._parser(request_type)
        admit, series_of = _anyone if method.is_open else self.admit, self._series

        async def answer(call: Call) -> bytes | None:
            started = time.perf_counter()
            series: CallMetrics | None = None
            code = "CANCELLED"
            self._active += counts
            try:
                if self._released and self._active <= self._max_calls:
                    self._newest = time.monotonic()
                    await self._released.wait()
                admit(call)
                if counts and self._active > self._max_calls:
                    raise TooManyCalls(
                        f"{self._max_calls} calls are in progress, as many as may be", _RETRY_AFTER_S
                    )
                request = parse(await call.read()) if request_type else None
                name = (label(model_of(request)) or UNKNOWN) if model_of else _WITHOUT_MODEL
                series = series_of(name, method.name)
                series.inflight += 1
                response = await behave(request, call)
                code = "OK"
                return response
            except ServingError as exc:
                code = code_of(exc)
                if isinstance(exc, TooManyCalls):
                    self._metrics.rejected.labels(UNKNOWN, "calls").inc()
                raise
            except (CallerLeft, asyncio.CancelledError):
                code = code_of_cut(call)
                raise
            except Exception:
                log.exception("%s failed", method.name)
                code = "INTERNAL"
                raise InternalError from None
            finally:
                self._active -= counts
                if series:
                    series.inflight -= 1
                series = series or series_of(UNKNOWN, method.name)
                series.done(code, transport, time.perf_counter() - started)

        return answer

    def _parser(self, request_type: Any) -> Callable[[bytes], Any]:
        return partial(parsed, request_type, max_rows=self._max_rows, records=self.record_bounds)

    def record_bounds(self) -> RecordBounds:
        """Of a request's rows, for the tables that are served."""
        tables = [model for model in self._repository.models if model.modality.cells]
        if not tables:
            return NO_RECORDS
        return RecordBounds(
            _WIDE_ROW + max(model.max_rows * model.modality.cells for model in tables),
            max(model.max_rows * model.modality.row_bytes for model in tables),
        )

    def admit(self, call: Call) -> None:
        """Raises ShuttingDown, Unauthenticated."""
        if self._draining:
            raise ShuttingDown("this server is shutting down")
        if self._credentials is None:
            return
        came = dict(call.invocation_metadata()).get("authorization", "")
        if not hmac.compare_digest(str(came).encode(), self._credentials):
            raise Unauthenticated("authorization: want 'Bearer <token>' with the server's token")


def _anyone(call: Call) -> None:
    """May call."""


def parsed(
    request_type: Any,
    raw: bytes,
    max_rows: int = 0,
    records: Callable[[], RecordBounds] = lambda: NO_RECORDS,
) -> Any:
    """Raises InvalidInput for what is no message of this type, or one of too many parts."""
    try:
        check_bounds(raw, request_type.DESCRIPTOR, max_rows, records)
        return request_type.FromString(raw)
    except (DecodeError, Unparsable):
        raise InvalidInput("request", "want a protobuf message of this method, came other bytes") from None
