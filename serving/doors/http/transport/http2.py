"""A connection of HTTP/2 (RFC 9113), by h2, which keeps the state of its streams and knows no sockets."""

import asyncio
from collections import deque
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, ProtocolError, TooManyStreamsError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from serving.doors.http.transport.connection import LONGEST_HEAD, Connection, Terms
from serving.doors.http.transport.exchange import Exchange
from serving.doors.http.transport.http2_exchange import Http2Exchange
from serving.doors.http.transport.http2_frames import Frames

_STREAMS = SettingCodes.MAX_CONCURRENT_STREAMS
_OPEN_STREAMS = 200
"""Those that wait among them; more end the connection."""
_LARGEST_TABLE = 4096
"""Bytes of headers that are remembered of what was sent."""
_STREAM_WINDOW, _CONNECTION_WINDOW = 256 << 10, 1 << 20
"""Bytes that a caller may send before they are read."""
_IDLE_FRAMES = 1000
"""Frames that ask for nothing, resets among others, after which a caller is sent away."""
_BYTES_A_FRAME = 1 << 10
"""Of an answer, for which its reader may send a frame: many say some times in 64 KiB that they take more."""
_PATIENCE_S = 5.0
_HIGHEST_STREAM = 2**31 - 1


class Http2Connection(Connection):
    """See the module."""

    def __init__(self, transport: asyncio.Transport, terms: Terms) -> None:
        super().__init__(transport, terms)
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        told = {
            _STREAMS: terms.max_streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: LONGEST_HEAD,
            SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
        }
        self.h2.local_settings = Settings(client=False, initial_values=told)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(_CONNECTION_WINDOW)
        self.streams: dict[int, Http2Exchange] = {}
        # In use one may have this many streams; what a caller opens before it has heard so waits.
        self.h2.local_settings = Settings(client=False, initial_values={**told, _STREAMS: _OPEN_STREAMS})
        self.h2.decoder.max_header_list_size = LONGEST_HEAD
        self._frames = Frames()
        self._waiting: deque[Http2Exchange] = deque()
        self._has_turn = False
        """Whether what came is looked at later."""
        self._leaves_at: float | None = None
        """When a caller who goes on asking is told, once the connection is to end."""
        self._has_said_so = False
        self.flush()

    @property
    def is_in_head(self) -> bool:
        return False  # what has no request for long is idle

    def receive(self, data: bytes) -> None:
        if self.is_lost or self.is_ending:
            return
        self._frames.add(data)
        if not self._has_turn:
            self._work()

    def _work(self) -> None:
        """Through some of what came; the rest has its turn after the others'."""
        self._has_turn = False
        if self.is_lost or self.is_ending:
            return
        try:
            for event in self.h2.receive_data(self._frames.take(self.streams)):
                self._on(event)
        except ProtocolError as exc:  # h2 has written why
            self._leave(_why(exc))
            return
        self.flush()
        if self._frames.has_said_goodbye:
            self.retire()
        if self._frames.idle > _IDLE_FRAMES:
            self._leave("flood", ErrorCodes.ENHANCE_YOUR_CALM)
        elif self._frames.is_next_beyond(self.h2.max_inbound_frame_size):
            self._leave("malformed", ErrorCodes.FRAME_SIZE_ERROR)
        elif self._frames.has_more:
            self._has_turn = True
            self.transport.pause_reading()
            self.loop.call_soon(self._work)
        else:
            self.transport.resume_reading()

    def _on(self, event: Any) -> None:
        match event:
            case events.RequestReceived():
                self._begin(event)
            case events.DataReceived():
                self._receive_body(event)
            case events.StreamEnded():
                if exchange := self.streams.get(event.stream_id):
                    exchange.feed_end()
            case events.StreamReset():
                self._reset(event.stream_id)
            case events.WindowUpdated() | events.RemoteSettingsChanged():
                encoder = self.h2.encoder  # its table is the other end's wish, and our memory
                encoder.header_table_size = min(encoder.header_table_size, _LARGEST_TABLE)
                for exchange in self.streams.values():
                    exchange.may_write()

    def _begin(self, event: events.RequestReceived) -> None:
        pseudo: dict[str, str] = {}
        headers: dict[str, str] = {}
        assert event.headers is not None
        for name, value in event.headers:
            key, text = str(name), str(value)
            chosen = pseudo if key.startswith(":") else headers
            chosen[key] = f"{chosen[key]}, {text}" if key in chosen else text
        if ":authority" in pseudo:
            headers.setdefault("host", pseudo[":authority"])
        number = event.stream_id
        assert number is not None
        exchange = Http2Exchange(self, number, pseudo[":method"], pseudo.get(":path", ""), headers)
        self.streams[number] = exchange
        if len(self.tasks) < self.terms.max_streams:
            self.start(exchange)
        else:
            self._waiting.append(exchange)

    def _receive_body(self, event: events.DataReceived) -> None:
        exchange = self.streams.get(event.stream_id)
        size = event.flow_controlled_length or 0
        if exchange is None:  # it was answered already
            self.h2.acknowledge_received_data(size, event.stream_id)
            return
        exchange.feed(event.data or b"")
        exchange.received(size)

    def _reset(self, number: int | None) -> None:
        if (waiting := self.streams.get(number or 0)) and waiting in self._waiting:
            self._waiting.remove(waiting)
            self._forget(waiting)
        for task, exchange in list(self.tasks.items()):
            if isinstance(exchange, Http2Exchange) and exchange.number == number:
                exchange.is_reset = True
                exchange.may_write()
                task.cancel()

    def sent(self, size: int) -> None:
        """Bytes of an answer."""
        self._frames.idle = max(0.0, self._frames.idle - size / _BYTES_A_FRAME)

    def flush(self) -> None:
        """Hand over what h2 has to say."""
        if (data := self.h2.data_to_send()) and not self.is_ending:
            self.transport.write(data)

    def close_when_idle(self) -> None:
        """GOAWAY comes last: clients that are made with h2, as httpx is, take no answer after it.

        Only to one that is never idle it is said before, by hand, for h2 itself would then say no more.
        """
        if self._leaves_at is None:
            self._leaves_at = self.loop.time() + _PATIENCE_S
        if not self.tasks:
            self.h2.close_connection(ErrorCodes.NO_ERROR)
            self.flush()
            self.linger()  # or what the other end says meanwhile would reset it before it has read the last
        elif self.loop.time() > self._leaves_at and not self._has_said_so:
            self._has_said_so = True
            farewell = GoAwayFrame(0, last_stream_id=_HIGHEST_STREAM)
            self.transport.write(farewell.serialize())

    def _leave(self, why: str, code: ErrorCodes | None = None) -> None:
        """At once: what the other end says makes no sense, or too little. h2 may have written why."""
        self.terms.refused(why)
        if code is not None:
            self.h2.close_connection(code)
        self.flush()
        self.lost()
        self.linger()

    def _forget(self, exchange: "Http2Exchange") -> None:
        """Its stream has ended; what is unread of it counts no more against the connection's window."""
        self.streams.pop(exchange.number, None)
        exchange.settle()
        self.flush()

    def _left(self, exchange: Exchange) -> None:
        assert isinstance(exchange, Http2Exchange)
        exchange.reset(ErrorCodes.CANCEL)

    def _done(self, exchange: Exchange) -> None:
        assert isinstance(exchange, Http2Exchange)
        self._forget(exchange)
        if not exchange.has_answer:
            exchange.reset(ErrorCodes.CANCEL)
        elif not exchange.is_read:
            exchange.reset(ErrorCodes.NO_ERROR)  # the answer is whole, the rest of the request is not wanted
        else:
            self._frames.idle = 0.0
        if self._waiting:
            self.start(self._waiting.popleft())
        if self.is_old or self._leaves_at is not None:
            self.close_when_idle()


def _why(error: ProtocolError) -> str:
    """See ``Refused``."""
    if isinstance(error, DenialOfServiceError):  # raised for nothing else
        return "head_too_large"
    return "flood" if isinstance(error, TooManyStreamsError) else "malformed"
