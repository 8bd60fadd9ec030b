"""Whether more requests are about to come, judged by those that came."""

_DENSE_S = 0.001
"""Mean time between requests below which the next is worth looking out for."""
_LONGEST_GAP_S = 0.01
"""A longer pause counts as this long, so that one pause is soon forgotten."""
_SMOOTHING = 0.1
"""Weight of the newest gap in the running mean."""
_QUIET_TURNS = 60
"""Turns of the event loop without a request after which none is about to come; one without any event takes
a microsecond or two on uvloop."""
_COMPANY = 1.5
"""Requests found by looking out, the first among them, from which on it pays. Without this a lone caller
waits for others in vain: `mlp_1x1` fell from 1,464 to 1,143 requests a second."""
_TRY_EVERY = 16
"""Requests after which looking out is tried again where it did not pay."""


class Gathering:
    """The running means of the time between requests and of what looking out for more has found."""

    def __init__(self) -> None:
        self._mean_gap_s = _LONGEST_GAP_S
        self._last = 0.0
        self._quiet_turns = 0
        self._company = 1.0
        self._untried = 0

    def came(self, now: float) -> None:
        """A request, at so many seconds of any clock."""
        gap = min(now - self._last, _LONGEST_GAP_S)
        self._mean_gap_s += (gap - self._mean_gap_s) * _SMOOTHING
        self._last = now
        self._quiet_turns = 0
        self._untried += 1

    @property
    def more_to_come(self) -> bool:
        """Whether it is worth looking out for the next request: they come fast, and not one at a time."""
        if self._mean_gap_s >= _DENSE_S:
            return False
        return self._company > _COMPANY or self._untried >= _TRY_EVERY

    def quiet(self) -> bool:
        """Call once a turn of the event loop: whether nothing has come for so long that nothing will."""
        self._quiet_turns += 1
        return self._quiet_turns > _QUIET_TURNS

    def found(self, requests: int) -> None:
        """So many were there after looking out."""
        self._company += (requests - self._company) * _SMOOTHING
        self._untried = 0
