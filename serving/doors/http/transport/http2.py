"""A connection of HTTP/2 (RFC 9113), by h2, which keeps the state of its streams and knows no sockets."""

import asyncio
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from serving.doors.http.transport.connection import LONGEST_HEAD, Connection, Terms
from serving.doors.http.transport.exchange import Exchange
from serving.doors.http.transport.http2_exchange import Http2Exchange

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What every connection begins with."""

_FRAME_HEAD = 9
_SLICE = 16 << 10
"""Bytes that are looked at in one turn of the event loop: of frames of 9 bytes they take some 30 ms."""
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
        self.h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: terms.max_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: LONGEST_HEAD,
                SettingCodes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
            },
        )
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(_CONNECTION_WINDOW)
        self.streams: dict[int, Http2Exchange] = {}
        self._pending = bytearray()
        """What came and was not looked at."""
        self._preface_bytes = len(PREFACE)
        """Of it still to come."""
        self._has_turn = False
        """Whether it comes later."""
        self._idle_frames = 0.0
        self._leaves_at: float | None = None
        """When a caller who goes on asking is told, once the connection is to end."""
        self._has_said_so = False
        self.flush()

    @property
    def is_in_head(self) -> bool:
        return False  # what has no request for long is idle

    def receive(self, data: bytes) -> None:
        self._pending += data
        if not self._has_turn:
            self._work()

    def _work(self) -> None:
        """Through some of what came; the rest has its turn after the others'."""
        self._has_turn = False
        if self.is_lost:
            return
        size = self._whole_frames()
        try:
            for event in self.h2.receive_data(bytes(self._pending[:size])):
                self._on(event)
        except ProtocolError:  # h2 has written why
            self._leave()
            return
        del self._pending[:size]
        self.flush()
        if self._idle_frames > _IDLE_FRAMES:
            self._leave(ErrorCodes.ENHANCE_YOUR_CALM)
        elif self._next_is_too_large():
            self._leave(ErrorCodes.FRAME_SIZE_ERROR)
        elif self._whole_frames():
            self._has_turn = True
            self.transport.pause_reading()
            self.loop.call_soon(self._work)
        else:
            self.transport.resume_reading()

    def _whole_frames(self) -> int:
        """Bytes of those to look at next. h2 keeps up to 16 MiB of one before it says it is too large."""
        end = 0
        if self._preface_bytes:
            end = min(len(self._pending), self._preface_bytes)
            self._preface_bytes -= end
        while end + _FRAME_HEAD <= len(self._pending) and end < _SLICE:
            following = end + _FRAME_HEAD + int.from_bytes(self._pending[end : end + 3])
            if following > len(self._pending):
                break
            end = following
        return end

    def _next_is_too_large(self) -> bool:
        said = int.from_bytes(self._pending[:3]) if len(self._pending) >= _FRAME_HEAD else 0
        return said > self.h2.max_inbound_frame_size

    def _on(self, event: Any) -> None:
        match event:
            case events.RequestReceived():
                self._begin(event)
            case events.DataReceived():
                self._idle_frames += not event.data
                self._receive_body(event)
            case events.StreamEnded():
                if exchange := self.streams.get(event.stream_id):
                    exchange.feed_end()
            case events.StreamReset():
                self._idle_frames += 10
                self._reset(event.stream_id)
            case events.WindowUpdated() | events.RemoteSettingsChanged():
                self._idle_frames += 1
                for exchange in self.streams.values():
                    exchange.may_write()
            case _:
                self._idle_frames += 1

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
        self.start(exchange)

    def _receive_body(self, event: events.DataReceived) -> None:
        exchange = self.streams.get(event.stream_id)
        size = event.flow_controlled_length or 0
        if exchange is None:  # it was answered already
            self.h2.acknowledge_received_data(size, event.stream_id)
            return
        exchange.feed(event.data or b"")
        exchange.received(size)

    def _reset(self, number: int | None) -> None:
        for task, exchange in list(self.tasks.items()):
            if isinstance(exchange, Http2Exchange) and exchange.number == number:
                exchange.is_reset = True
                exchange.may_write()
                task.cancel()

    def sent(self, size: int) -> None:
        """Bytes of an answer."""
        self._idle_frames = max(0.0, self._idle_frames - size / _BYTES_A_FRAME)

    def flush(self) -> None:
        """Hand over what h2 has to say."""
        if data := self.h2.data_to_send():
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
            self.close()
        elif self.loop.time() > self._leaves_at and not self._has_said_so:
            self._has_said_so = True
            farewell = GoAwayFrame(0, last_stream_id=_HIGHEST_STREAM)
            self.transport.write(farewell.serialize())

    def _leave(self, code: ErrorCodes | None = None) -> None:
        """At once: what the other end says makes no sense, or too little. h2 may have written why."""
        if code is not None:
            self.h2.close_connection(code)
        self.flush()
        self._pending.clear()
        self.lost()
        self.linger()

    def _left(self, exchange: Exchange) -> None:
        assert isinstance(exchange, Http2Exchange)
        exchange.reset(ErrorCodes.CANCEL)

    def _done(self, exchange: Exchange) -> None:
        assert isinstance(exchange, Http2Exchange)
        self.streams.pop(exchange.number, None)
        if not exchange.has_answer:
            exchange.reset(ErrorCodes.CANCEL)
        elif not exchange.is_read:
            exchange.reset(ErrorCodes.NO_ERROR)  # the answer is whole, the rest of the request is not wanted
        else:
            self._idle_frames = 0.0
        if self.is_old or self._leaves_at is not None:
            self.close_when_idle()
