"""``vae-serve``: settings, logging, then the server. Exit code 0 after a clean stop, 2 if it cannot start."""

import logging
import sys
from typing import TYPE_CHECKING

from serving import settings
from serving.errors import GpuLost, StartupError
from serving.host import logs
from serving.host.abandonable import leave

if TYPE_CHECKING:
    from serving.server import Running


def main(arguments: list[str] | None = None) -> int:
    try:
        if sys.platform == "win32":
            raise StartupError("want Linux or macOS: the server is started and stopped by Unix signals")
        from serving.host import descriptors  # which Windows lacks

        descriptors.keep_standard_ones()
        chosen = settings.from_command_line(sys.argv[1:] if arguments is None else arguments)
        logs.configure(chosen.log_format, chosen.log_level)
        logging.getLogger("serving").info("settings: %s", chosen.describe())
        if chosen.workers > 1:
            from serving.supervisor import supervise

            return supervise(chosen)
        from serving.host import event_loop  # after the settings, so that --help answers at once
        from serving.server import serve

        event_loop.run(serve(chosen, _print_ready))
    except GpuLost as exc:  # a new process may find it well again
        print(f"vae-serve: error: the GPU was lost: {exc}", file=sys.stderr)
        leave(1)
        return 1
    except StartupError as exc:
        print(f"vae-serve: error: {exc}", file=sys.stderr)
        leave(2)
        return 2
    leave(0)
    return 0


def _print_ready(server: "Running") -> None:
    """Scripts read this line to learn the ports."""
    logs.say_ready(server.grpc_address, server.http_address, server.metrics_address)


if __name__ == "__main__":
    sys.exit(main())
