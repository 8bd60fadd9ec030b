"""How a client's gRPC channel connects: target, credentials, retries, balancing and limits."""

import json
from typing import Any

import grpc

from serving.client.transports import retries
from serving.client.transports.access import Access

_SERVICE_CONFIG = {
    # All addresses behind a DNS name (a headless Kubernetes service, say) take turns.
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "vae.v1.VaeService"}],
            "retryPolicy": {
                "maxAttempts": retries.MOST_ATTEMPTS,
                "initialBackoff": f"{retries.FIRST_PAUSE_S}s",
                "maxBackoff": f"{retries.LONGEST_PAUSE_S}s",
                "backoffMultiplier": retries.GROWTH,
                "retryableStatusCodes": [code.name for code in retries.WORTH_ANOTHER],
            },
        }
    ],
}

OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    # A request above this many bytes is sent once and never retried; gRPC's default is 256 KiB.
    ("grpc.per_rpc_retry_buffer_size", 64 << 20),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A NAT gateway or load balancer that forgets an idle connection closes nothing: the next call would wait
    # for its deadline, and so would those after it. All of these together find it out; the first two do not.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

SCHEMES = ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "xds")
"""Of gRPC targets."""


def target(address: str) -> str:
    """The gRPC target of "host:port"; one that names its scheme (dns:, unix:, ipv4: …) stays as it is."""
    scheme = address.partition(":")[0]
    return address if scheme in SCHEMES and not _is_port(address) else f"dns:///{address}"


def _is_port(address: str) -> bool:
    """Whether "dns:50051" means the port of a host that is called dns."""
    return address.partition(":")[2].isdigit()


def credentials(access: Access) -> grpc.ChannelCredentials | None:
    """None for plain text. Raises OSError if the certificate cannot be read."""
    return grpc.ssl_channel_credentials(access.root()) if access.encrypts else None
