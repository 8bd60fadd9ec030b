"""The answer of a ModelInfer as JSON, with the outputs in it or behind it.

Sources: as ``rest_request``; the order of the keys, and that ``data`` is flat, are Triton's.
"""

from functools import partial
from typing import Any

import numpy as np
import orjson

from serving.host.background import Background
from serving.oip import rest_tensors
from serving.oip.rest_request import Forms
from serving.oip.schema import ModelInferResponse

_PRINTING, _COPIES = 8, 32
"""Steps of arithmetic on a value that printing one takes; bytes that one of them copies."""

Texts = dict[str, list[bytes]]
"""Of outputs that are wanted as JSON, their values in pieces."""


async def written(raw: bytes, forms: Forms, background: Background) -> tuple[bytes, int | None]:
    """As ``infer_response``, beside the event loop where that takes long."""
    response = ModelInferResponse.FromString(raw)
    texts = {
        name: await background.pieces(values.size, _PRINTING, partial(_text, values))
        for name, values in _as_json(response, forms).items()
    }
    size = len(raw) + sum(len(piece) for pieces in texts.values() for piece in pieces)
    (body,) = await background.pieces(1, size // _COPIES, lambda _: _joined(response, texts))
    return body


def infer_response(raw: bytes, forms: Forms) -> tuple[bytes, int | None]:
    """Of a serialised ``ModelInferResponse`` the body, and how much of it is JSON; None if all is."""
    response = ModelInferResponse.FromString(raw)
    whole = {name: [_text(values, slice(None))] for name, values in _as_json(response, forms).items()}
    return _joined(response, whole)


def _as_json(response: Any, forms: Forms) -> dict[str, rest_tensors.Values]:
    return {
        output.name: np.frombuffer(raw, rest_tensors.DTYPES[output.datatype])
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        if not forms.is_binary(output.name)
    }


def _text(values: rest_tensors.Values, part: slice) -> bytes:
    return rest_tensors.to_json(values[part])


def _joined(response: Any, texts: Texts) -> tuple[bytes, int | None]:
    head: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version}
    if response.id:
        head["id"] = response.id
    if response.parameters:
        head["parameters"] = {name: _parameter(response.parameters[name]) for name in response.parameters}
    parts, behind = [_opened(head), b',"outputs":['], []
    for number, (output, raw) in enumerate(zip(response.outputs, response.raw_output_contents, strict=True)):
        said = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        if number:
            parts.append(b",")
        if output.name in texts:
            parts += (_opened(said), b',"data":[', b",".join(texts[output.name]), b"]}")
        else:
            parts.append(orjson.dumps(said | {"parameters": {"binary_data_size": len(raw)}}))
            behind.append(raw)
    parts.append(b"]}")
    of_json = sum(map(len, parts)) if behind else None
    return b"".join((*parts, *behind)), of_json


def _opened(members: dict[str, Any]) -> bytes:
    """An object to which more is to be added."""
    return orjson.dumps(members)[:-1]


def _parameter(given: Any) -> Any:
    return getattr(given, given.WhichOneof("parameter_choice"))
