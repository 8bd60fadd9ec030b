"""The latent explorer's addresses: the files of its page, the metrics that it shows, walks as GIF.

The page itself is open, for a browser asks for it without a token; all that it shows is behind the frame.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus

import numpy as np

from serving.api.frame import Call, Frame, Method
from serving.doors.bodies import Bodies
from serving.doors.http.codecs import Codec, ProtoCodec
from serving.doors.http.connect import call_of, compression, fields_of
from serving.doors.http.http_status import JSON, NO_STORE, refuse
from serving.doors.http.routes import Resource
from serving.doors.http.transport.exchange import Exchange, Headers
from serving.errors import InvalidInput, ServingError, StartupError
from serving.explorer import animation
from serving.explorer.animation import Animation, read_animation
from serving.explorer.page_files import INDEX, PageFile, read_page
from serving.host import sockets
from serving.host.background import Background
from serving.pb.vae.v1 import tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.settings import Settings

log = logging.getLogger(__name__)

_ROOT = "/explorer"
_GIF = "image/gif"
_METRICS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_FRESH_S = 0.25
"""For so long a page of metrics is given to whoever asks: they are for eyes."""
_METRICS_WORK = 1_000_000
"""Writing them, in steps of arithmetic on a value."""
_MOST_DRAWN = 2
"""Walks that are decoded and made into pictures at once: each holds up to some 60 MB."""
_FRAME_WORK, _GIF_WORK = 5, 20
"""Choosing a pixel's colour, and writing it, in the same."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY: tuple[tuple[str, str], ...] = (
    ("content-security-policy", _POLICY),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
)
_ALWAYS_ASK = ("cache-control", "no-cache")
"""A page must fit the server that it speaks to; that it is still the same is said in one short answer."""


def wanted_page(settings: Settings) -> dict[str, PageFile]:
    """The page's files, none if there is to be no explorer. Raises StartupError."""
    if not settings.http_address or settings.explorer == "off":
        return {}
    is_private = sockets.is_loopback(settings.http_address)
    if settings.explorer == "auto":
        try:
            return _told(read_page(), settings) if is_private else {}
        except StartupError as exc:  # nobody has asked for it
            log.warning("%s; serving without it", exc)
            return {}
    return _told(read_page(), settings)


def _told(page: dict[str, PageFile], settings: Settings) -> dict[str, PageFile]:
    who = "whoever reaches it" if settings.auth_token_file is None else "who has the token"
    log.info("the explorer is at / of the HTTP door, %s, for %s", settings.http_address, who)
    return page


class Explorer:
    """See the module."""

    def __init__(
        self,
        frame: Frame,
        interpolate: Method,
        codec: Codec,
        bodies: Bodies,
        metrics_text: Callable[[], bytes],
        background: Background,
        *,
        limit: int,
    ) -> None:
        """``codec`` is of the method's JSON; ``limit``: bytes that a request may have."""
        self._frame, self._interpolate, self._bodies = frame, interpolate, bodies
        self._codec, self._limit, self._background = _ToGif(codec), limit, background
        self._metrics = _Metrics(metrics_text, background)
        self._at_once = asyncio.Semaphore(_MOST_DRAWN)

    def resources(self, page: Mapping[str, PageFile]) -> dict[str, Resource]:
        """What there is, by path."""
        files = {f"{_ROOT}/{path}": Resource(get=partial(_send_file, file)) for path, file in page.items()}
        return {
            "/": Resource(get=partial(_send_file, page[INDEX])),
            _ROOT: Resource(get=partial(_redirect, "./")),
            f"{_ROOT}/": Resource(get=partial(_redirect, "../")),
            **files,
            f"{_ROOT}/metrics": Resource(get=self._send_metrics),
            f"{_ROOT}/walk.gif": Resource(post={JSON: self._send_walk}),
        }

    async def _send_metrics(self, exchange: Exchange) -> None:
        exchange.ignore_body()
        try:
            self._frame.admit(call_of(exchange, self._bodies, ProtoCodec(), self._limit))
        except ServingError as exc:
            exchange.refusal = "other"
            await refuse(exchange, exc)
            return
        text = await self._metrics.text()
        await exchange.respond(HTTPStatus.OK, [("content-type", _METRICS_TEXT), NO_STORE, *SECURITY], text)

    async def _send_walk(self, exchange: Exchange) -> None:
        """Interpolate, for the frame and all that counts; but its answer is a picture."""
        call = call_of(exchange, self._bodies, self._codec, self._limit)
        call.problem = call.problem or compression(exchange, "content-encoding")
        shown = Animation()
        try:
            shown = read_animation(fields_of(exchange.query))
        except InvalidInput as exc:
            call.problem = call.problem or exc
        method = replace(self._interpolate, behave=partial(self._walk, shown))
        try:
            file = await call.answered_by(self._frame.answer(method, transport="http"))
        except ServingError as exc:  # the frame has counted it
            await refuse(exchange, exc)
        else:
            await exchange.respond(HTTPStatus.OK, [("content-type", _GIF), NO_STORE, *SECURITY], file)

    async def _walk(self, shown: Animation, request: pb.InterpolateRequest, call: Call) -> bytes:
        animation.check_steps(request.steps)
        request.image_format = tensors_pb2.IMAGE_FORMAT_UINT8
        request.include_latents = False
        async with self._at_once:  # before there are images: those of all that wait would be held
            serialised = await self._interpolate.behave(request, call)
            assert serialised is not None
            tensor = pb.InterpolateResponse.FromString(serialised).images.tensor
            images = np.frombuffer(tensor.data, np.uint8).reshape(tensor.shape)
            return await self._drawn(images, animation.chosen_scale(images.shape, shown), shown)

    async def _drawn(self, images: animation.Pixels, scale: int, shown: Animation) -> bytes:
        """A few milliseconds for a usual walk, up to a second for the longest."""
        pixels = images[0].size * scale**2
        (palette,) = await self._background.pieces(1, images.size, lambda _: animation.palette_of(images))
        parts = await self._background.pieces(
            len(images), pixels * _FRAME_WORK, lambda part: animation.frames_of(images[part], scale, palette)
        )
        frames = [frame for part in parts for frame in part]
        (file,) = await self._background.pieces(
            1, len(frames) * pixels * _GIF_WORK, lambda _: animation.to_gif(frames, shown)
        )
        return file


class _ToGif:
    """A codec that takes JSON, and gives what it is given."""

    def __init__(self, codec: Codec) -> None:
        self.name = codec.name
        self.request = codec.request

    async def response(self, raw: bytes) -> bytes:
        return raw


class _Metrics:
    """Written once for all who ask at the same time: many that ask take no more than one."""

    def __init__(self, write: Callable[[], bytes], background: Background) -> None:
        self._write, self._background = write, background
        self._lock = asyncio.Lock()
        self._text, self._stale_at = b"", 0.0

    async def text(self) -> bytes:
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() >= self._stale_at:
                (self._text,) = await self._background.pieces(1, _METRICS_WORK, lambda _: self._write())
                self._stale_at = loop.time() + _FRESH_S
            return self._text


async def _send_file(file: PageFile, exchange: Exchange) -> None:
    """Packed if the caller takes that; as 304 if it has this very form already (RFC 9110, section 13.1.2)."""
    exchange.ignore_body()
    packed = file.packed if takes_gzip(exchange.headers.get("accept-encoding", "")) else None
    tag = f'"{file.tag}{"" if packed is None else "-gzip"}"'
    headers: Headers = [*SECURITY, _ALWAYS_ASK, ("etag", tag), ("vary", "accept-encoding")]
    if has_already(exchange.headers.get("if-none-match", ""), tag):
        await exchange.respond(HTTPStatus.NOT_MODIFIED, headers)
    else:
        coding = [] if packed is None else [("content-encoding", "gzip")]
        headers = [("content-type", file.media_type), *coding, *headers]
        await exchange.respond(HTTPStatus.OK, headers, packed or file.plain)


async def _redirect(place: str, exchange: Exchange) -> None:
    exchange.ignore_body()
    await exchange.respond(HTTPStatus.PERMANENT_REDIRECT, [("location", place), *SECURITY])


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding has it among what it takes (RFC 9110, section 12.5.3)."""
    weights: dict[str, str] = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = parameter.partition("=")[2].strip(" 0.") if parameter else "1"
    return bool(weights.get("gzip", weights.get("*", "")))


def has_already(tags: str, tag: str) -> bool:
    """Whether an If-None-Match names the tag; a cache that sends it in another form says so by W/."""
    return tags.strip() == "*" or tag in (known.strip().removeprefix("W/") for known in tags.split(","))
