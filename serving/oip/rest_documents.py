"""What is told of the server and of models, as JSON: the names of the messages' fields, and their values.

Not protobuf's own JSON form, in which integers of 64 bits are strings and what is zero is left out: clients
of the protocol want numbers, and every field to be there, as Triton answers.

Sources: open-inference-protocol, specification/protocol/inference_rest.md; Triton's docs/protocol/
extension_model_configuration.md, extension_statistics.md, extension_model_repository.md.
"""

from collections.abc import Callable
from typing import Any

import orjson

from serving.errors import InvalidInput, ServingError
from serving.oip import rest_json
from serving.oip.rest_json import kind_of
from serving.oip.schema import message, request_of

_PROBES = {"ServerLive": "live", "ServerReady": "ready", "ModelReady": "ready"}


def document(method: str, raw: bytes, model_name: str = "") -> bytes:
    """Of a serialised response to a method but ModelInfer; the name is that of the model in the address."""
    response = message(f"{method}Response").FromString(raw)
    told = _SHAPES.get(method, _members)(response)
    return orjson.dumps({"name": model_name, **told} if method == "ModelReady" else told)


def is_positive(method: str, raw: bytes) -> bool:
    """Whether a probe says yes: the status of its answer says so too. Of other methods true."""
    field = _PROBES.get(method)
    return field is None or bool(getattr(message(f"{method}Response").FromString(raw), field))


def error(exc: ServingError) -> bytes:
    return orjson.dumps({"error": str(exc)})


def index_request(body: bytes) -> bytes:
    """A serialised ``RepositoryIndexRequest``; the body may be empty. Raises InvalidInput."""
    given = rest_json.read_object(body) if body.strip() else {}
    ready = given.get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidInput("ready", f"want a boolean, came {kind_of(ready)}")
    serialised: bytes = request_of("RepositoryIndex")(ready=ready).SerializeToString()
    return serialised


def _members(given: Any, *, all_messages: bool = False) -> dict[str, Any]:
    """Of a message every field, but for messages that are not set unless they are wanted as well."""
    return {
        field.name: _value(field, getattr(given, field.name), all_messages)
        for field in given.DESCRIPTOR.fields
        if all_messages or field.message_type is None or field.is_repeated or given.HasField(field.name)
    }


def _value(field: Any, value: Any, all_messages: bool) -> Any:
    if field.message_type is None:
        names = field.enum_type and field.enum_type.values_by_number
        if field.is_repeated:
            return [names[one].name for one in value] if names else list(value)
        return names[value].name if names else value
    if field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_members(one, all_messages=all_messages) for one in value]
    return _members(value, all_messages=all_messages)


def _index(response: Any) -> list[dict[str, Any]]:
    return [_members(model) for model in response.models]


_SHAPES: dict[str, Callable[[Any], Any]] = {
    "ModelConfig": lambda response: _members(response.config),
    "ModelStatistics": lambda response: _members(response, all_messages=True),
    "RepositoryIndex": _index,
}
"""What clients want as the whole answer; else it is the message."""
