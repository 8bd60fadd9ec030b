"""``python -m serving.healthcheck``: asks a server's gRPC health, for container engines.

Exit code 0 if it is SERVING, 1 with one line on stderr if not. By default it asks the server that the
environment configures (``VAE_ADDRESS``, ``VAE_TLS_CERTIFICATE``) on this host.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_ANY_HOST = ("0.0.0.0", "[::]", "*", "")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    host, _, port = options.address.rpartition(":")
    target = f"{'localhost' if host in _ANY_HOST else host}:{port}"
    request = health_pb2.HealthCheckRequest(service=options.service)
    try:
        with _channel(target, options) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=options.timeout_s)
    except grpc.RpcError as exc:
        problem = f"{exc.code().name}: {exc.details()}"
    except OSError as exc:
        problem = f"{exc.filename}: {exc.strerror}"
    else:
        if answer.status == answer.SERVING:
            return 0
        problem = answer.ServingStatus.Name(answer.status)
    sys.stderr.write(f"unhealthy: {options.service or 'server'} at {target}: {problem}\n")
    return 1


def _channel(target: str, options: argparse.Namespace) -> Any:
    own = [("grpc.enable_http_proxy", 0)]  # a proxy in the environment is for the world outside
    if not options.ca:
        return grpc.insecure_channel(target, own)
    ca, key, certificate = (p and p.read_bytes() for p in (options.ca, options.key, options.certificate))
    name = [("grpc.ssl_target_name_override", options.name)] if options.name else []
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, certificate), options=own + name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="serving.healthcheck", description="Ask a server's gRPC health.")

    def environment(name: str, default: str | None = None) -> str | None:
        return os.environ.get(name) or default  # a blank line of an env file is no setting

    parser.add_argument("--address", default=environment("VAE_ADDRESS", "127.0.0.1:50051"))
    parser.add_argument("--service", default="", help="a model, or vae.v1.VaeService; default: all of it")
    parser.add_argument("--timeout-s", type=float, default=4.0)
    own = environment("VAE_TLS_CERTIFICATE")
    parser.add_argument("--ca", type=Path, default=own and Path(own), help="PEM authorities; turns TLS on")
    parser.add_argument("--name", help="name in the server's certificate, where it is not localhost")
    parser.add_argument("--certificate", type=Path, help="PEM client certificate, for mutual TLS")
    parser.add_argument("--key", type=Path, help="PEM private key of the client certificate")
    return parser


if __name__ == "__main__":
    sys.exit(main())
