"""W3C Trace Context: which trace a call belongs to, as its caller says.

Source: https://www.w3.org/TR/trace-context/ (sections 3.2 and 3.3).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_VERSION = "ff"
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
SAMPLED = 1
"""Among the flags: the caller records the trace."""
_LONGEST_STATE = 512
"""Letters of a tracestate; a longer one is left out, as the standard allows."""


class Parent(NamedTuple):
    """The caller's span; ids in 32 and 16 digits."""

    trace_id: str
    span_id: str
    flags: int
    state: str
    """tracestate as it came, whatever that is."""

    @property
    def ids(self) -> dict[str, str]:
        """As logs show them."""
        return {"trace_id": self.trace_id, "span_id": self.span_id}


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
    _, trace_id, span_id, flags, _ = found.groups()
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    state = ",".join(states)
    return Parent(trace_id, span_id, int(flags, 16), state if len(state) <= _LONGEST_STATE else "")
