"""A real page in a headless Chromium: it is served by an origin of its own, and tells that origin what it saw."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.clients import installed
from tests.clients.asking import output_of
from tests.clients.witness import Json
from tests.support import patience

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--ignore-certificate-errors", "--enable-logging=stderr",
)  # fmt: skip


@dataclass
class Pages:
    """The page's own server."""

    port: int
    folder: Path
    seen: "list[Json]" = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)

    def origin(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}"


@contextlib.contextmanager
def pages(folder: Path) -> Iterator[Pages]:
    """Serves the folder's files, and takes what the page tells."""

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            served.seen.append(json.loads(self.rfile.read(size)))
            self.send_response(204)
            self.end_headers()
            served.told.set()

        def log_message(self, *_: Any) -> None:
            """A test's output is its own."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        served = Pages(server.server_address[1], folder)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def site(folder: Path) -> Path:
    """A folder with the page, and the programs beside it."""
    installed.lay_out(folder)
    made = folder / "site"
    made.mkdir()
    (made / "index.html").write_text('<!doctype html><script type="module" src="page.js"></script>')
    return made


async def bundle(folder: Path) -> None:
    """The page's script and its packages as one, as every project for the web makes it."""
    command = ("--bundle", "--format=esm", "--log-level=warning", f"--outfile={folder / 'page.js'}")
    code, _, complaint = await output_of(installed.find("esbuild"), "page.mjs", *command, cwd=folder.parent)
    assert code == 0, complaint


@contextlib.asynccontextmanager
async def visited(
    page: Pages, task: Json, profile: Path, *, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Json, Path]]:
    """What the page saw, while it is still open, and where the browser's console is written."""
    (page.folder / "task.json").write_text(json.dumps(task))
    chromium = installed.find("chromium", "chromium-browser", "google-chrome")
    console = profile.with_suffix(".log")
    with console.open("wb") as log:
        browser = await asyncio.create_subprocess_exec(
            chromium,
            *_FLAGS,
            f"--user-data-dir={profile}",
            page.origin(host),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        told = await asyncio.to_thread(page.told.wait, patience.SECONDS)
        assert told, f"the page told nothing: {console.read_text()[-2000:]}"
        yield page.seen[0], console
    finally:
        if browser.returncode is None:
            browser.terminate()
            await browser.wait()
