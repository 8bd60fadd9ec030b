"""How a client connects: target, credentials, retries, balancing and limits."""

import json
from pathlib import Path
from typing import Any

import grpc

_SERVICE_CONFIG = {
    # All addresses behind a DNS name (a headless Kubernetes service, say) take turns.
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "vae.v1.VaeService"}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                # A server that stops cancels what it has not looked at; what the caller cancels ends here.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
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


def target(address: str) -> str:
    """The gRPC target of "host:port"; one that names its scheme (dns:, unix:, ipv4: …) stays as it is."""
    scheme = address.partition(":")[0]
    known = {"dns", "ipv4", "ipv6", "unix", "unix-abstract", "xds"}
    return address if scheme in known and not _is_port(address) else f"dns:///{address}"


def _is_port(address: str) -> bool:
    """Whether "dns:50051" means the port of a host that is called dns."""
    return address.partition(":")[2].isdigit()


def credentials(*, tls: bool, root_certificate: str | Path | None) -> grpc.ChannelCredentials | None:
    """None for plain text. Raises OSError if the certificate cannot be read."""
    if root_certificate is not None:
        return grpc.ssl_channel_credentials(Path(root_certificate).read_bytes())
    return grpc.ssl_channel_credentials() if tls else None


def metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """What goes with every call. Raises ValueError, which does not show the token."""
    token = (token or "").strip()  # files and variables often end in a newline
    if not (token.isascii() and token.isprintable()):
        raise ValueError("token: want one line of printable ASCII")
    return (("authorization", f"Bearer {token}"),) if token else ()
