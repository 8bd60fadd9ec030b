"""What the HTTP door offers, as an OpenAPI 3.1 document made from the methods that are served.

Sources: https://spec.openapis.org/oas/v3.1.1.html; the JSON form of protobuf's types,
https://protobuf.dev/programming-guides/json/.
"""

from collections.abc import Iterable, Mapping
from importlib import metadata
from itertools import combinations
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

Json = dict[str, Any]

_INTEGERS = {
    FieldDescriptor.TYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SFIXED32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: ("uint32", 0, 2**32 - 1),
}
_LARGE_INTEGERS = {
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_SFIXED64: "int64",
    FieldDescriptor.TYPE_UINT64: "uint64",
}
_FLOATS = {FieldDescriptor.TYPE_FLOAT: "float", FieldDescriptor.TYPE_DOUBLE: "double"}
_OTHERS: dict[int, Json] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
_WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
}
"""Messages whose JSON form is not an object of their fields."""
_ERROR = "connect.error"
_TOKEN = "bearer"
_QUERY: list[Json] = [
    {"name": "encoding", "in": "query", "required": True, "schema": {"enum": ["json", "proto"]}},
    {"name": "message", "in": "query", "required": True, "schema": {"type": "string"}},
    {"name": "base64", "in": "query", "schema": {"enum": ["1"]}},
    {"name": "connect", "in": "query", "schema": {"enum": ["v1"]}},
]
"""Of a call by GET; the message as it is, or in base64 for addresses."""
_ERROR_SCHEMA: Json = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "value"],
                "properties": {
                    "type": {"type": "string"},
                    "value": {"type": "string", "contentEncoding": "base64"},
                    "debug": {"type": "object"},
                },
            },
        },
    },
}


def document(methods: Iterable[Any], more_paths: Mapping[str, Json], *, wants_token: bool) -> Json:
    """Of service methods (their descriptors), and of paths that are described elsewhere."""
    schemas: Json = {_ERROR: _ERROR_SCHEMA}
    paths = {
        f"/{method.containing_service.full_name}/{method.name}": _path(method, schemas) for method in methods
    }
    found: Json = {
        "openapi": "3.1.1",
        "info": {
            "title": "vaeserve",
            "version": metadata.version("vaeserve"),
            "summary": "Variational autoencoders, served. Streams have a form of their own and are left out.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths | dict(more_paths),
        "components": {"schemas": dict(sorted(schemas.items()))},
    }
    if wants_token:
        found["components"]["securitySchemes"] = {_TOKEN: {"type": "http", "scheme": "bearer"}}
        found["security"] = [{_TOKEN: []}]
    return found


def _path(method: Any, schemas: Json) -> Json:
    """POST of a unary method, by its JSON form or as protobuf."""

    def content(message: Descriptor) -> Json:
        return {
            "application/json": {"schema": _reference(message, schemas)},
            "application/proto": {"schema": {"type": "string", "contentEncoding": "binary"}},
        }

    responses = {
        "200": {"description": method.output_type.full_name, "content": content(method.output_type)},
        "default": {
            "description": "An error, as the Connect protocol has it",
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{_ERROR}"}}},
        },
    }
    body = {"required": True, "content": content(method.input_type)}
    post = {"operationId": method.name, "requestBody": body, "responses": responses}
    if method.GetOptions().idempotency_level != descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS:
        return {"post": post}
    read = {"parameters": _QUERY, "responses": responses}
    return {
        "post": post,
        "get": {"operationId": f"{method.name}ByGet", **read},
        "head": {"operationId": f"{method.name}ByHead", **read},
    }


def _reference(message: Descriptor, schemas: Json) -> Json:
    """To the schema of a message, which is made if it is not there yet."""
    if message.full_name in _WELL_KNOWN:
        return _WELL_KNOWN[message.full_name]
    if message.full_name not in schemas:
        schemas[message.full_name] = {}  # so that one that holds itself ends
        schemas[message.full_name] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {field.json_name: _field(field, schemas) for field in message.fields},
            **_one_of_each(message),
        }
    return {"$ref": f"#/components/schemas/{message.full_name}"}


def _one_of_each(message: Descriptor) -> Json:
    """Of the fields of a oneof no two are together."""
    pairs = [
        pair
        for group in message.oneofs
        for pair in combinations([field.json_name for field in group.fields], 2)
    ]
    return {"not": {"anyOf": [{"required": list(pair)} for pair in pairs]}} if pairs else {}


def _field(field: FieldDescriptor, schemas: Json) -> Json:
    one = _value(field, schemas)
    return {"type": "array", "items": one} if field.is_repeated else one


def _value(field: Any, schemas: Json) -> Json:
    kind = field.type
    if kind == FieldDescriptor.TYPE_MESSAGE:
        return _reference(field.message_type, schemas)
    if kind == FieldDescriptor.TYPE_ENUM:
        return _enum(field.enum_type)
    if kind in _INTEGERS:
        form, least, most = _INTEGERS[kind]
        return {"type": "integer", "format": form, "minimum": least, "maximum": most}
    if kind in _LARGE_INTEGERS:  # written as text, for numbers of JavaScript have 53 bits; read as either
        return {"type": ["string", "integer"], "format": _LARGE_INTEGERS[kind], "pattern": "^-?[0-9]{1,20}$"}
    if kind in _FLOATS:
        return {"type": "number", "format": _FLOATS[kind]}
    return _OTHERS[kind]


def _enum(enum: EnumDescriptor) -> Json:
    return {"type": "string", "enum": [value.name for value in enum.values]}
