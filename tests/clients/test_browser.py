"""A page of another origin, in a headless Chromium, with the clients that pages use."""

import asyncio

import pytest
import trustme

from serving.server import running
from tests.clients import browser, installed
from tests.clients.witness import Witness, check

WAYS = ("connect json", "connect binary", "grpc-web", "npm grpc-web")

pytestmark = pytest.mark.slow

STREAMS = 8
"""More than the six connections that a browser opens to a server."""


@pytest.fixture
async def page(tmp_path):
    installed.find_node()
    installed.find("chromium", "chromium-browser", "google-chrome")
    folder = browser.site(tmp_path)
    await browser.bundle(folder)
    with browser.pages(folder) as served:
        yield served


@pytest.fixture
def settings(settings, page):
    """The page's origin may call."""
    return settings.model_copy(update={"cors_origins": (page.origin(),)})


@pytest.mark.parametrize("way", WAYS)
async def test_a_page_of_an_origin_that_may_call(tmp_path, page, witness_of, way):
    """It shows all that gRPC shows, through the browser's CORS; a stream that it leaves is CANCELLED."""
    truth = await witness_of("http")
    async with browser.visited(page, truth.task | {"way": way}, tmp_path / "profile") as (seen, console):
        assert "failed" not in seen, (seen, console.read_text()[-2000:])
        check(seen, truth.truth)
        await truth.settled()


@pytest.mark.parametrize("way", ["connect json", "grpc-web", "npm grpc-web"])
async def test_a_page_of_another_origin_is_refused_by_the_browser(tmp_path, page, witness_of, way):
    """The same page under another name is another origin: no call of it reaches the service."""
    truth = await witness_of("http")
    visit = browser.visited(page, truth.task | {"way": way}, tmp_path / "profile", host="localhost")
    async with visit as (seen, console):
        assert set(seen) == {"failed"}
        said = console.read_text()
        assert f"from origin '{page.origin('localhost')}' has been blocked by CORS policy" in said
        requests = truth.server.metrics.requests.items()
        assert not [labels for labels, count in requests if "http" in labels and count.value]


async def test_a_page_has_many_streams_over_tls(settings, tmp_path, page):
    """Over HTTP/2, which a browser speaks with TLS alone, they share a connection; left, each is CANCELLED."""
    issued = trustme.CA().issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    secret = {"tls_certificate": chain, "tls_key": key}
    async with running(settings.model_copy(update=secret)) as server:
        task = {"address": f"https://{server.http_address}", "way": "many streams", "streams": STREAMS}
        truth = Witness(server, "http", task, {}, asyncio.all_tasks())
        async with browser.visited(page, task, tmp_path / "profile") as (seen, console):
            assert seen == {"models": ["toy"], "open": STREAMS}, console.read_text()[-2000:]
            await truth.settled(left=STREAMS, late=0)
