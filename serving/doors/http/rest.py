"""Open Inference Protocol over REST: addresses, and how answers are sent; what they mean is in ``oip``."""

from collections.abc import Iterable
from functools import partial
from http import HTTPStatus

from serving.api.frame import Answer
from serving.doors.bodies import Bodies
from serving.doors.http.http_call import HttpCall
from serving.doors.http.http_status import BEARER, JSON, NO_STORE, http_status, retry_headers
from serving.doors.http.routes import Resource
from serving.doors.http.transport.exchange import Exchange
from serving.errors import ServingError, Unsupported, quoted
from serving.host.background import Background
from serving.oip import rest_addresses, rest_documents, rest_request, rest_response
from serving.oip.rest_addresses import Address

_BINARY = "application/octet-stream"
_COMPRESSED = "content-encoding"


class Rest:
    """Everything below ``/v2``."""

    def __init__(
        self, answers: Iterable[tuple[str, Answer]], bodies: Bodies, background: Background, *, limit: int
    ) -> None:
        """``answers``: of each method by its name; ``limit``: bytes that a request may have."""
        self._answers = dict(answers)
        self._bodies, self._background, self._limit = bodies, background, limit

    def resource(self, path: str) -> Resource | None:
        """What is at a path."""
        address = rest_addresses.find(path)
        if address is None:
            return None
        answer = partial(self._infer if address.method == "ModelInfer" else self._tell, address)
        if address.verb == "POST":
            return Resource(post={JSON: answer, _BINARY: answer})
        return Resource(get=answer)

    async def _tell(self, address: Address, exchange: Exchange) -> None:
        """Of the server or of models."""
        codec = _Document(address)
        call = HttpCall(exchange, self._bodies, codec, limit=self._limit, timeout_s=None)
        if address.verb == "GET":
            exchange.ignore_body()
            call.wants_body = False
        try:
            body = await call.answered_by(self._answers[address.method])
        except ServingError as exc:
            await _refuse(exchange, exc)
        else:
            status = HTTPStatus.OK if codec.is_positive else HTTPStatus.SERVICE_UNAVAILABLE
            await exchange.respond(status, [("content-type", JSON), NO_STORE], body)

    async def _infer(self, address: Address, exchange: Exchange) -> None:
        codec = _Tensors(address, exchange.headers.get(rest_request.HEADER), self._background)
        call = HttpCall(exchange, self._bodies, codec, limit=self._limit, timeout_s=None)
        coding = exchange.headers.get(_COMPRESSED, "identity")
        if coding != "identity":
            call.problem = Unsupported(f"{_COMPRESSED}: want identity, came {quoted(coding)}")
        try:
            body = await call.answered_by(self._answers[address.method])
        except ServingError as exc:
            await _refuse(exchange, exc)
        else:
            headers = [("content-type", JSON)]
            if codec.json_bytes is not None:
                headers = [("content-type", _BINARY), (rest_request.HEADER, str(codec.json_bytes))]
            await exchange.respond(HTTPStatus.OK, headers, body)


class _Document:
    """The codec of what is told."""

    name = "json"

    def __init__(self, address: Address) -> None:
        self._address = address
        self.is_positive = True

    async def request(self, raw: bytes) -> bytes:
        if self._address.method == "RepositoryIndex":
            return rest_documents.index_request(raw)
        return self._address.request()

    async def response(self, raw: bytes) -> bytes:
        self.is_positive = rest_documents.is_positive(self._address.method, raw)
        return rest_documents.document(self._address.method, raw, self._address.model_name)


class _Tensors:
    """The codec of ModelInfer."""

    name = "json"

    def __init__(self, address: Address, length: str | None, background: Background) -> None:
        self._address, self._length, self._background = address, length, background
        self._forms = rest_request.Forms(default=False, of={})
        self.json_bytes: int | None = None
        """Of the answer, where something stands behind it."""

    async def request(self, raw: bytes) -> bytes:
        asked = await rest_request.read(
            raw,
            rest_request.header_length(self._length),
            self._address.model_name,
            self._address.model_version,
            self._background,
        )
        self._forms = asked.forms
        return asked.message

    async def response(self, raw: bytes) -> bytes:
        body, self.json_bytes = await rest_response.written(raw, self._forms, self._background)
        return body


async def _refuse(exchange: Exchange, error: ServingError) -> None:
    """As the protocol tells of errors."""
    status = http_status(error)
    if isinstance(error, Unsupported):
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    headers = [("content-type", JSON), NO_STORE, *retry_headers(error)]
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append(BEARER)
    await exchange.respond(status, headers, rest_documents.error(error))
