"""Times of numpy as seconds since 1970 UTC, and seconds as ISO 8601 text. n is the number of rows."""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables.cells import Doubles
from serving.bundle.tables.column_kinds import FIRST_SECOND, LAST_SECOND, TimestampColumn

_Unit = Literal["D", "m", "s", "ms", "us"]
_UNITS: Final[dict[float, _Unit]] = {86400.0: "D", 60.0: "m", 1.0: "s", 0.001: "ms", 1e-06: "us"}


class Seconds(float):
    """Of a time without a zone, which numpy had."""


def seconds_of(moments: NDArray[np.datetime64]) -> tuple[Doubles, NDArray[np.bool_]]:
    """[n] seconds, 0 where there is no time (NaT); [n] whether there is one."""
    known = ~np.isnat(moments)
    whole = moments.astype("datetime64[us]")
    micro = np.where(known, whole, np.datetime64(0, "us")).astype(np.int64)
    return micro / 1e6, known


def to_texts(column: TimestampColumn, seconds: Doubles) -> list[str]:
    """As precise as the column; with a Z where the data had zones."""
    decimals = 0 if column.resolution >= 1 else column.rounding or 0
    bounded = np.clip(seconds, FIRST_SECOND, LAST_SECOND)
    whole = np.floor(bounded)
    micro = np.round((bounded - whole) * 10**decimals) * 10 ** (6 - decimals)
    moments = (whole.astype(np.int64) * 1_000_000 + micro.astype(np.int64)).astype("datetime64[us]")
    texts: list[str] = np.datetime_as_string(moments, unit=_UNITS[column.resolution]).tolist()
    end = "Z" if column.zone == "utc" else ""
    return [f"{text}{end}" for text in texts]
