"""What came to the HTTP door and got no method's answer: counted apart, for no method counts it."""

from prometheus_client import CollectorRegistry

from serving.metrics.instruments import LoopCounter

HTTP_REFUSALS = (
    "connections",  # one too many: closed at once
    "silent",  # closed before its first request, to make room for another
    "slow_head",  # said nothing whole for ten seconds
    "malformed",  # no HTTP, or half of it: 400
    "head_too_large",  # 431
    "pipelined",  # more requests sent ahead than may wait: 429
    "flood",  # frames of HTTP/2 that ask for nothing, or too many streams
    "not_found",  # 404
    "method_not_allowed",  # 405
    "media_type",  # 415
    "misdirected",  # 421
    "internal",  # 500
    "other",
    "unread",  # an answer whose reader was waited for no longer
)
"""All there are: what a client says becomes no label."""


class HttpRefusals:
    """``vae_http_refused_total``. Belongs to the event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = LoopCounter(
            "vae_http_refused",
            "HTTP connections and requests that got no method's answer, by reason.",
            ("reason",),
            registry=registry,
        )
        self._counts = {reason: counter.labels(reason) for reason in HTTP_REFUSALS}

    def __call__(self, reason: str) -> None:
        self._counts[reason].value += 1
