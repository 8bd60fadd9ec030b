"""JSON as strangers send it: bounded before it is parsed, and with one meaning once it is.

A parser holds Python's lock until it is done, and makes an object of each value: 4 MiB of empty arrays take
half a second. So what there may be too much of is counted first, which takes some milliseconds; what is left
is parsed in some ten.

Source: RFC 8259; ``orjson`` takes nothing else (no NaN, no comments) and no number beyond float64.
"""

from typing import Any, Final

import orjson

from serving.errors import InvalidInput, plain

MOST_BYTES: Final = 4 << 20
"""Of the JSON of a request; binary data are not counted."""
_FEW_BYTES = 16 << 10
"""What is no longer than this is not looked at: it is parsed within two milliseconds, whatever it is."""
_BOUNDS = (
    (b",", 1 << 17, "values"),
    (b"[", 1 << 16, "arrays"),
    (b"{", 1 << 10, "objects"),
    (b'"', 1 << 13, "quotes"),
)
_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}


def read_object(raw: bytes) -> dict[str, Any]:
    """Raises InvalidInput for what is no JSON object, and for too much of one."""
    if len(raw) > MOST_BYTES:
        raise _too_much(f"{MOST_BYTES} bytes", len(raw))
    if len(raw) > _FEW_BYTES:
        for mark, most, what in _BOUNDS:
            if (came := raw.count(mark)) > most:
                raise _too_much(f"{most} {what}", came)
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise InvalidInput("request", f"want JSON: {plain(str(exc), 100)}") from None
    if not isinstance(found, dict):
        raise InvalidInput("request", f"want a JSON object, came {kind_of(found)}")
    return found


def check_keys_once(raw: bytes, found: dict[str, Any]) -> None:
    """Raises InvalidInput. Of a key that is there twice the parser keeps the last, a proxy perhaps the first.

    ``found`` is what the text was parsed to, once it was looked through: arrays of anything but objects have
    no text in them.
    """
    colons = raw.count(b":")
    if rb"\u003" in raw:  # some may be written so, as no sender has to
        told = raw.replace(rb"\\", b"")  # a backslash that was told itself begins nothing
        colons += told.count(rb"\u003a") + told.count(rb"\u003A")
    if colons > _colons(found):
        raise InvalidInput("request", "want each key of a JSON object once")


def kind_of(value: Any) -> str:
    """In the terms of JSON."""
    return "null" if value is None else _KINDS.get(type(value), "a number")


def _too_much(most: str, came: int) -> InvalidInput:
    return InvalidInput(
        "request", f"want at most {most} in JSON, came {came}; larger tensors go as binary data behind it"
    )


def _colons(value: Any) -> int:
    """How many a text must have for what it was parsed to."""
    if isinstance(value, dict):
        return sum(1 + key.count(":") + _colons(member) for key, member in value.items())
    if isinstance(value, str):
        return value.count(":")
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sum(map(_colons, value))
    return 0
