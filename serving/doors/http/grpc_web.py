"""gRPC-Web: gRPC's frames in an HTTP body, the trailers in the last of them.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md
"""

import base64
import re
from urllib.parse import quote

from google.rpc import status_pb2

from serving.api.frame import Answer
from serving.api.status import to_status
from serving.doors.bodies import Bodies
from serving.doors.grpc_call import DETAILS_KEY
from serving.doors.http.codecs import ProtoCodec
from serving.doors.http.framing import framed, only_message
from serving.doors.http.http_call import HttpCall
from serving.doors.http.http_status import NO_STORE
from serving.doors.http.transport.exchange import Exchange
from serving.errors import InvalidInput, ServingError, Unsupported, quoted
from serving.host.background import Background
from serving.wire import base64_pieces

_TRAILERS = 0x80
"""Flag of the frame that holds them."""
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
"""What a message in a trailer may have as it is; the rest is percent-encoded."""


class GrpcWebMethod:
    """One method, unary or with several responses."""

    def __init__(self, answer: Answer, bodies: Bodies, background: Background, *, limit: int) -> None:
        """``limit``: bytes that a request may have."""
        self._answer, self._bodies, self._background, self._limit = answer, bodies, background, limit

    async def post(self, exchange: Exchange) -> None:
        """In binary."""
        await self._answered(exchange, is_text=False)

    async def post_text(self, exchange: Exchange) -> None:
        """In base64."""
        await self._answered(exchange, is_text=True)

    async def _answered(self, exchange: Exchange, *, is_text: bool) -> None:
        timeout_s, problem = _timeout(exchange)
        limit = self._limit * 4 // 3 + 4 if is_text else self._limit
        codec = _Framed(self._background if is_text else None)
        call = HttpCall(exchange, self._bodies, codec, limit=limit, timeout_s=timeout_s)
        call.problem = problem
        kind = "application/grpc-web-text+proto" if is_text else "application/grpc-web+proto"

        async def coded(flags: int, content: bytes) -> bytes:
            frame = framed(flags, content)
            return await base64_pieces.encoded(frame, self._background) if is_text else frame

        async def send(message: bytes) -> None:
            if not exchange.has_answer:
                await exchange.begin(200, [("content-type", kind), NO_STORE])
            await exchange.write(await coded(0, message))

        call.send = send
        status = status_pb2.Status()
        try:
            response = await call.answered_by(self._answer)
        except ServingError as exc:
            response, status = b"", to_status(exc)
        else:
            response = response if exchange.has_answer else await coded(0, response)
        last = response + await coded(_TRAILERS, _trailers(status))
        del response
        if exchange.has_answer:
            await exchange.end(last)
        else:
            await exchange.respond(200, [("content-type", kind), NO_STORE], last)


class _Framed(ProtoCodec):
    """Requests in one frame."""

    def __init__(self, background: Background | None) -> None:
        """``background`` of those in base64."""
        self._background = background

    async def request(self, raw: bytes) -> bytes:
        if self._background:
            try:
                raw = await base64_pieces.decoded(raw, self._background)
            except ValueError:
                raise InvalidInput("request", "want base64, came something else") from None
        compressed = Unsupported("request: want a frame that is not compressed")
        return only_message(raw, "a frame", compressed)


def _trailers(status: status_pb2.Status) -> bytes:
    lines = [f"grpc-status: {status.code}"]
    if status.code:
        lines.append(f"grpc-message: {quote(status.message, safe=_PLAIN)}")
        details = base64.b64encode(status.SerializeToString()).rstrip(b"=").decode()
        lines.append(f"{DETAILS_KEY}: {details}")
    return "".join(f"{line}\r\n" for line in lines).encode()


def _timeout(exchange: Exchange) -> tuple[float | None, ServingError | None]:
    """Seconds, and what is wrong with what was said of them."""
    text = exchange.headers.get("grpc-timeout")
    if text is None:
        return None, None
    found = _TIMEOUT.fullmatch(text)
    if not found:
        return None, InvalidInput(
            "grpc-timeout", f"want up to 8 digits and one of HMSmun, came {quoted(text)}"
        )
    return int(found[1]) * _UNITS[found[2]], None
