"""``make demo-open``: the demo's model served for a browser, until Ctrl-C."""

import contextlib

from demo import programs
from demo.programs import DemoError

_OTHER_PORTS = (
    "another server may be running; VAE_ADDRESS, VAE_HTTP_ADDRESS and VAE_METRICS_ADDRESS name other ports, "
    "127.0.0.1:0 a free one"
)


def keep_open() -> None:
    """Trains first if there is no model. Raises DemoError."""
    if programs.trained_bundle(programs.NAME) is None:
        programs.train_and_export(programs.NAME)
    try:
        with programs.serving("--explorer", "on") as server:
            print(
                f"\nThe latent explorer: open http://{server.http_address}/ in your browser."
                "\nCtrl-C ends it.",
                flush=True,
            )
            _until_it_ends(server)
    except DemoError as exc:
        if "port taken" in str(exc) or "cannot listen" in str(exc):
            raise DemoError(f"{exc}; {_OTHER_PORTS}") from None
        raise
    print("\nstopped")


def _until_it_ends(server: programs.Server) -> None:
    """By Ctrl-C, which reaches the server as well; or by itself, which ``serving`` then tells of."""
    with contextlib.suppress(KeyboardInterrupt):
        server.process.wait()
