"""A program for a machine without a network: serves models, opens every view, and tells what was asked of whom.

    python -m tests.explorer.alone REPOSITORY NETLOG

It writes JSON on stdout: the machine's interfaces, and the addresses that the page and its browser asked for.
"""

import json
import socket
import sys
from pathlib import Path

from tests.explorer import browser as browsers
from tests.explorer.views import VIEWS, opened
from tests.support.process import serving

_OF_NO_PAGE = "null null"
"""How Chromium's log marks what the browser wants for itself: its own updates."""


def asked_by_browser(netlog: Path) -> list[str]:
    """Every address in Chromium's own log of its network that it wanted for a page, whatever part of it did."""
    log = json.loads(netlog.read_text())
    begins = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    begun = [event["params"] for event in log["events"] if event["type"] == begins and "params" in event]
    found = {job["url"] for job in begun if job.get("network_isolation_key") != _OF_NO_PAGE and "url" in job}
    return sorted(found)


def main(repository: Path, netlog: Path) -> None:
    asked: dict[str, list[str]] = {}
    with serving(repository) as server:
        with browsers.launched(f"--log-net-log={netlog}") as browser:
            for view in VIEWS:
                fragment = f"view={view}&model=digits"
                with browsers.visiting(browser, server.http_address, fragment) as visit:
                    opened(visit.page, view)
                    asked[view] = sorted(set(visit.requests))
        told = {
            "origin": f"http://{server.http_address}",
            "interfaces": [name for _, name in socket.if_nameindex()],
            "asked": asked,
            "browser": asked_by_browser(netlog),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
