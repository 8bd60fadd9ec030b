"""OpenTelemetry's own variables, as far as they are not left to its exporter; and what is wrong with them.

The specification would have a bad value ignored with a warning. Here it ends the server at its start, as that
of every other setting does: one letter amiss in a sampler's name would mean every request instead of one in a
hundred.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from serving.errors import StartupError, quoted

_MOST_AT_ONCE = 64
"""Where the specification has 512: while so many are encoded, requests wait 20 ms for Python's lock."""
_MOST = 1e9
_ALWAYS = 1 << 64
_LOW_BITS = _ALWAYS - 1
_SAMPLERS = ("always_on", "always_off", "traceidratio")
_PARENT_BASED = "parentbased_"
_ONLY = {
    "OTEL_TRACES_EXPORTER": ("otlp", "none"),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("http/protobuf",),
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": ("http/protobuf",),
    "OTEL_EXPORTER_OTLP_COMPRESSION": ("none", "gzip", "deflate"),
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": ("none", "gzip", "deflate"),
}
"""Where a few values are all that can be."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")


@dataclass(frozen=True)
class Sampling:
    """Which traces are recorded: the six samplers of the specification."""

    bound: int
    """Trace ids whose 64 low bits are below it are; OpenTelemetry's own libraries choose the same ones."""
    parent_based: bool
    """Whether the caller's choice comes first."""

    def takes(self, trace_id: int) -> bool:
        """Whether a trace that nobody has chosen for us is recorded."""
        return trace_id & _LOW_BITS < self.bound


@dataclass(frozen=True)
class Variables:
    """What is set, or the specification's defaults."""

    disabled: bool
    """Whether there are to be no traces after all."""
    sampling: Sampling
    most_waiting: int
    """Spans that wait for the exporter; more are dropped."""
    most_at_once: int
    """Spans of one request to the collector."""
    delay_s: float
    """Between two of those while little is to be sent."""


def read(environment: Mapping[str, str]) -> Variables:
    """Raises StartupError, naming the variable, what was wanted and what came."""
    given = {name: value.strip() for name, value in environment.items() if value.strip()}
    for name, allowed in _ONLY.items():
        if given.get(name, allowed[0]).lower() not in allowed:
            raise _wrong(name, " or ".join(allowed), given[name])
    for name in _ENDPOINTS:
        if name in given and not _is_url(given[name]):
            raise _wrong(name, "http://host:port or https://host:port", given[name].rpartition("@")[2])
    for name in _HEADERS:
        if not all("=" in pair for pair in given.get(name, "=").split(",")):
            raise StartupError(f"{name}: want key=value, with commas between")  # and no word of a secret
    for name in _TIMEOUTS:
        _number(given, name, 10.0)
    most_waiting = int(_number(given, "OTEL_BSP_MAX_QUEUE_SIZE", 2048))
    most_at_once = int(_number(given, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(_MOST_AT_ONCE, most_waiting)))
    if most_at_once > most_waiting:
        wanted = f"at most the {most_waiting} of OTEL_BSP_MAX_QUEUE_SIZE"
        raise _wrong("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", wanted, str(most_at_once))
    return Variables(
        disabled=given.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or given.get("OTEL_TRACES_EXPORTER", "").lower() == "none",
        sampling=_sampling(given),
        most_waiting=most_waiting,
        most_at_once=most_at_once,
        delay_s=_number(given, "OTEL_BSP_SCHEDULE_DELAY", 5000.0) / 1000.0,
    )


def _sampling(given: Mapping[str, str]) -> Sampling:
    name = given.get("OTEL_TRACES_SAMPLER", "parentbased_always_on").lower()
    kind = name.removeprefix(_PARENT_BASED)
    if kind not in _SAMPLERS:
        wanted = ", ".join((*_SAMPLERS, *(f"{_PARENT_BASED}{sampler}" for sampler in _SAMPLERS)))
        raise _wrong("OTEL_TRACES_SAMPLER", wanted, name)
    bound = {"always_on": _ALWAYS, "always_off": 0}.get(kind)
    if bound is None:
        bound = round(_share(given, "OTEL_TRACES_SAMPLER_ARG") * _ALWAYS)
    return Sampling(bound, name != kind)


def _share(given: Mapping[str, str], name: str) -> float:
    try:
        share = float(given.get(name, "1"))
    except ValueError:
        share = math.nan
    if not 0.0 <= share <= 1.0:
        raise _wrong(name, "a number from 0 to 1", given[name])
    return share


def _number(given: Mapping[str, str], name: str, default: float) -> float:
    """A positive one that clocks can count, at least 1 where it counts something."""
    try:
        number = float(given.get(name, default))
    except ValueError:
        number = math.nan
    if not (0.0 < number <= _MOST) or (name.startswith("OTEL_BSP_") and number < 1.0):
        raise _wrong(name, f"a positive number, at most {_MOST:g}", given[name])
    return number


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        return False


def _wrong(name: str, wanted: str, came: str) -> StartupError:
    return StartupError(f"{name}: want {wanted}, came {quoted(came)}")
