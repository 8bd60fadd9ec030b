"""Open Inference Protocol over REST as OpenAPI tells of it.

Source: open-inference-protocol, specification/protocol/open_inference_rest.yaml.
"""

from typing import Any

Json = dict[str, Any]

_TEXTS: Json = {"type": "array", "items": {"type": "string"}}
_PARAMETERS: Json = {"type": "object", "additionalProperties": {"type": ["boolean", "string", "number"]}}
_TENSOR: Json = {
    "name": {"type": "string"},
    "shape": {"type": "array", "items": {"type": "integer"}},
    "datatype": {"enum": ["FP32", "INT64"]},
    "parameters": _PARAMETERS,
    "data": {"type": "array"},
}
_TENSORS: Json = {"type": "array", "items": {"type": "object", "properties": _TENSOR}}
_REQUEST: Json = {
    "type": "object",
    "required": ["inputs"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string"},
        "parameters": _PARAMETERS,
        "inputs": {**_TENSORS, "minItems": 1},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": _PARAMETERS},
            },
        },
    },
}
_RESPONSE: Json = {
    "type": "object",
    "required": ["model_name", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "outputs": _TENSORS,
    },
}
_ERROR: Json = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_MODEL, _VERSION = "/v2/models/{model}", "/versions/{version}"


def paths() -> Json:
    """By address; ``{model}`` is a part of one of ours, such as ``digits/encoder``, its slash escaped."""
    found: Json = {
        "/v2": _told(
            "metadata", {"name": {"type": "string"}, "version": {"type": "string"}, "extensions": _TEXTS}
        ),
        "/v2/health/live": _told("live", {"live": {"type": "boolean"}}),
        "/v2/health/ready": _told("serverReady", {"ready": {"type": "boolean"}}),
        "/v2/models/stats": _told("allStatistics", {"model_stats": {"type": "array"}}),
        "/v2/repository/index": {"post": _operation("index", {"type": "array"})},
    }
    for version, suffix in (("", ""), (_VERSION, "OfVersion")):
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in ("model", "version")[: 2 if version else 1]
        ]
        at = f"{_MODEL}{version}"
        found[at] = _told(f"model{suffix}", {"name": {"type": "string"}, "versions": _TEXTS}, parameters)
        for what in ("config", "ready", "stats"):
            found[f"{at}/{what}"] = _told(f"{what}OfModel{suffix}", {}, parameters)
        body = {"required": True, "content": {"application/json": {"schema": _REQUEST}}}
        infer = _operation(f"infer{suffix}", _RESPONSE)
        found[f"{at}/infer"] = {"post": {**infer, "parameters": parameters, "requestBody": body}}
    return found


def _told(name: str, properties: Json, parameters: list[Json] | None = None) -> Json:
    """What is asked for by GET, or by HEAD."""
    schema = {"type": "object", "properties": properties}
    return {
        verb: {**_operation(f"{verb}_{name}", schema), "parameters": parameters or []}
        for verb in ("get", "head")
    }


def _operation(name: str, schema: Json) -> Json:
    return {
        "operationId": f"v2_{name}",
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": schema}}},
            "503": {
                "description": "Not ready",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "default": {"description": "An error", "content": {"application/json": {"schema": _ERROR}}},
        },
    }
