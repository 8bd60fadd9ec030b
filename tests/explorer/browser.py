"""A person's browser: the system's Chromium without a window, driven by playwright."""

import base64
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.explorer import installed
from tests.support import patience

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update",
    # Of every page with a form Chromium would ask Google what its fields may be.
    "--disable-features=AutofillServerCommunication,HttpsUpgrades,MediaRouter,OptimizationHints,Translate",
)  # fmt: skip
DESKTOP, PHONE = (1280, 900), (360, 740)
_MS = patience.SECONDS * 1000
_ALONE = ("data:", "blob:", "about:")
"""Addresses for which nobody is asked."""


@contextlib.contextmanager
def launched(*flags: str) -> Iterator[Any]:
    """A ``playwright.sync_api.Browser``; each visit has a profile of its own in it."""
    with installed.find_playwright().sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=installed.find_chromium(), args=[*FLAGS, *flags], timeout=_MS
        )
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open, and what the browser did and said all the while."""

    page: Any
    origin: str
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for, other hosts' too."""
    answers: list[Any] = field(default_factory=list)
    """``playwright.sync_api.Response``, one for each that came."""
    complaints: list[str] = field(default_factory=list)
    """Errors that nobody caught, and what the Content-Security-Policy refused."""

    def strangers(self) -> list[str]:
        """Of the requests those that left the origin."""
        inside = (f"{self.origin}/", *_ALONE)
        return [address for address in self.requests if not address.startswith(inside)]


@contextlib.contextmanager
def visiting(
    browser: Any,
    address: str,
    fragment: str = "",
    *,
    dark: bool = False,
    phone: bool = False,
    is_clean: bool = True,
) -> Iterator[Visit]:
    """Opens ``http://<address>/#<fragment>``, such as ``view=map&model=digits``.

    At the end no request has left the origin and, where the visit is to be clean, nothing was complained of.
    """
    width, height = PHONE if phone else DESKTOP
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        has_touch=phone,
        is_mobile=phone,
        device_scale_factor=1,
    )
    context.set_default_timeout(_MS)
    page = context.new_page()
    visit = Visit(page, f"http://{address}")
    context.on("response", lambda answer: visit.answers.append(answer))  # noqa: PLW0108  # it takes no built-in
    context.on("request", lambda request: visit.requests.append(request.url))
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.on("console", lambda message: _hear(visit, message))
    try:
        page.goto(f"{visit.origin}/{'#' if fragment else ''}{fragment}")
        yield visit
        assert not visit.strangers()
        assert not is_clean or not visit.complaints
    finally:
        context.close()


def _hear(visit: Visit, message: Any) -> None:
    """An answer that is an error is the page's own business; a refusal of the policy is a mistake of ours."""
    if message.type == "error" and "Failed to load resource" not in message.text:
        visit.complaints.append(message.text)


def pixels_of(locator: Any) -> NDArray[np.uint8]:
    """What a person sees of an element: [H, W, 3]."""
    with Image.open(io.BytesIO(locator.screenshot())) as shown:
        return np.asarray(shown.convert("RGB"))


def canvas_of(locator: Any) -> NDArray[np.uint8]:
    """What is drawn on a canvas, in its own pixels: [H, W, 4]."""
    url = locator.evaluate("canvas => canvas.toDataURL('image/png')")
    return _decoded(url)


def image_of(locator: Any) -> NDArray[np.uint8]:
    """What an ``img`` holds, in its own pixels: [H, W, 4]."""
    locator.evaluate("image => image.decode()")
    url = locator.evaluate(
        """image => {
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          canvas.getContext('2d').drawImage(image, 0, 0);
          return canvas.toDataURL('image/png');
        }"""
    )
    return _decoded(url)


def _decoded(url: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as drawn:
        return np.asarray(drawn.convert("RGBA"))
