"""W3C Trace Context: which trace a call belongs to, as its caller says.

Source: https://www.w3.org/TR/trace-context/ (sections 3.2 and 3.3).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_VERSION = "ff"
_SAMPLED = 1
_LONGEST_STATE = 512
"""Letters of a tracestate; a longer one is left out, as the standard allows."""


class Parent(NamedTuple):
    """The caller's span."""

    trace_id: int
    span_id: int
    flags: int
    state: str
    """tracestate as it came, whatever that is."""

    @property
    def sampled(self) -> bool:
        return bool(self.flags & _SAMPLED)


def parent_of(metadata: Iterable[tuple[str, str | bytes]]) -> Parent | None:
    """From headers, with names in small letters; None if they name none, or not as they should."""
    header, states = None, []
    for name, value in metadata:
        if name == "traceparent":
            if header is not None:  # one of them is a lie
                return None
            header = value
        elif name == "tracestate":
            states.append(str(value))
    if not isinstance(header, str):
        return None
    found = _TRACEPARENT.fullmatch(header)
    if not found or found[1] == _NO_VERSION or (found[1] == "00" and found[5]):
        return None
    trace_id, span_id, flags = (int(text, 16) for text in found.group(2, 3, 4))
    if not trace_id or not span_id:
        return None
    state = ",".join(states)
    return Parent(trace_id, span_id, flags, state if len(state) <= _LONGEST_STATE else "")
