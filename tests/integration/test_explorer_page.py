"""The explorer's page at the HTTP door: what is there, in which form, and what is not."""

import gzip
import logging

import httpx
import pytest

from serving.errors import StartupError
from serving.explorer import page_files
from serving.explorer.page_files import FOLDER
from serving.server import running
from serving.settings import Settings
from tests.support import http_calls
from tests.support.patience import SECONDS
from tests.support.raw_http import Raw

SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
INDEX = (FOLDER / "index.html").read_bytes()
SCRIPT = (FOLDER / "main.js").read_bytes()


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
async def client(server, request):
    async with http_calls.client(server, request.param) as made:
        yield made


def is_guarded(answer):
    return SECURITY.items() <= dict(answer.headers).items() and "permissions-policy" in answer.headers


async def test_every_file(client):
    """At its own address with its own type, byte by byte, packed and not; the index at /."""
    paths = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert len(paths) > 5
    for path in paths:
        address = f"/explorer/{path.relative_to(FOLDER).as_posix()}"
        packed = await client.get(address)
        plain = await client.get(address, headers={"accept-encoding": "identity"})
        assert packed.status_code == plain.status_code == 200
        assert packed.content == plain.content == path.read_bytes()
        assert "content-encoding" not in plain.headers
        assert is_guarded(packed)
        assert is_guarded(plain)
        assert packed.headers["content-type"] == plain.headers["content-type"]
        if path.suffix == ".js":  # a browser runs no module of another type
            assert packed.headers["content-type"] == "text/javascript; charset=utf-8"
    index = await client.get("/")
    assert (index.content, index.headers["content-type"]) == (INDEX, "text/html; charset=utf-8")
    assert index.headers["content-encoding"] == "gzip"


async def test_what_is_known_is_not_sent_again(client):
    """304 for the very form that a browser has; its tag is strong, and another for each form."""
    packed = await client.get("/explorer/main.js")
    plain = await client.get("/explorer/main.js", headers={"accept-encoding": "identity"})
    tags = [answer.headers["etag"] for answer in (packed, plain)]
    assert len(set(tags)) == 2
    assert all(tag.startswith('"') for tag in tags)
    for answer in (packed, plain):
        assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-cache", "accept-encoding")
    for tag, form, status in (
        (tags[0], "gzip", 304), (tags[1], "identity", 304), (f'"x", W/{tags[0]}', "gzip", 304), ("*", "gzip", 304),
        (tags[1], "gzip", 200), (tags[0], "identity", 200), ('"x"', "gzip", 200),
    ):  # fmt: skip
        headers = {"if-none-match": tag, "accept-encoding": form}
        again = await client.get("/explorer/main.js", headers=headers)
        assert again.status_code == status, (tag, form)
        assert is_guarded(again)
        if status == 304:
            assert again.content == b""
            assert again.headers["etag"] in tags


async def test_head_and_ranges(client):
    """HEAD is GET without the body; a range is not offered, so that all of it comes."""
    whole = await client.get("/explorer/main.js", headers={"accept-encoding": "identity"})
    head = await client.head("/explorer/main.js", headers={"accept-encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "date": ""} == {**whole.headers, "date": ""}
    part = await client.get("/explorer/main.js", headers={"range": "bytes=0-9"})
    assert (part.status_code, part.content) == (200, SCRIPT)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_other_methods(client, method):
    """405 with what is allowed."""
    for address in ("/", "/explorer/main.js", "/explorer/metrics"):
        answer = await client.request(method, address)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_the_folder_leads_to_the_page(client):
    """Who types it finds the page, wherever a proxy has put it."""
    for address, place in (("/explorer", "./"), ("/explorer/", "../")):
        answer = await client.get(address)
        assert (answer.status_code, answer.headers["location"]) == (308, place)
        assert str(httpx.URL(str(answer.url)).join(place).path) == "/"


ELSEWHERE = (
    "/explorer/../settings.py",
    "/explorer/../../pyproject.toml",
    "/explorer/%2e%2e/page_files.py",
    "/explorer/..%2f..%2fsettings.py",
    "/explorer/..\\page_files.py",
    "/explorer/..%5cpage_files.py",
    "/explorer/%00",
    "/explorer/main.js%00.html",
    "/explorer/main.js/",
    "/explorer/./main.js",
    "/explorer//main.js",
    "/explorer/core",
    "/explorer/core/",
    "/explorer/index.html/../../page_files.py",
    "/explorer//etc/passwd",
    "/explorer/types.d.ts",
    "/explorer/tsconfig.json",
    "/explorer/page_files.py",
    "/explorer/MAIN.JS",
    "/explorer/main.js;a",
    "/index.html",
    "//explorer/main.js",
    "/explorer/" + "../" * 5000 + "etc/passwd",
    "/explorer/" + "a" * 20_000,
)


@pytest.mark.parametrize("target", ELSEWHERE, ids=[target[:40] for target in ELSEWHERE])
async def test_no_path_leads_elsewhere(server, target):
    """Sent as it is written, which no library does: 404, and what is shown of it is short."""
    async with await Raw.open(server) as raw:
        await raw.send(f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        status, _, body = await raw.answer()
    assert (status, len(body) < 500) == (404, True), body[:200]


@pytest.mark.parametrize("target", [b"/explorer/\x00", b"/explorer/a b", b"/explorer/\xff\xfe"])
async def test_bytes_that_no_address_has(server, target):
    """Whatever HTTP's parser makes of them, nothing is found, and the next is answered."""
    async with await Raw.open(server) as raw:
        await raw.send(b"GET " + target + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")
        status, _, _ = await raw.answer()
    assert status in (400, 404)
    async with await Raw.open(server) as raw:
        await raw.send(b"GET / HTTP/1.1\r\nhost: localhost\r\naccept-encoding: gzip\r\n\r\n")
        status, _, body = await raw.answer()
    assert (status, gzip.decompress(body)) == (200, INDEX)


async def test_a_query_and_a_body_change_nothing(client):
    """Nobody reads them."""
    assert (await client.get(f"/?{'a=b&' * 5000}")).content == INDEX
    answer = await client.request("GET", "/explorer/main.js", content=bytes(10_000))
    assert answer.content == SCRIPT


@pytest.mark.parametrize(
    ("changes", "is_there"),
    [
        ({}, True),
        ({"http_address": "[::1]:0"}, True),
        ({"http_address": "localhost:0"}, True),
        ({"http_address": "0.0.0.0:0"}, False),
        ({"http_address": "[::]:0"}, False),
        ({"explorer": "off"}, False),
        ({"http_address": "0.0.0.0:0", "explorer": "on"}, True),
    ],
    ids=str,
)
async def test_when_it_is_there(settings, changes, is_there):
    """By itself on loopback alone, elsewhere when asked for; where it is off, / is nothing, as before."""
    async with (
        running(settings.model_copy(update=changes)) as server,
        httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client,
    ):
        host, _, port = server.http_address.rpartition(":")
        base = f"http://{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"
        for path in ("/", "/explorer/main.js", "/explorer/metrics", "/explorer"):
            found = (await client.get(f"{base}{path}")).status_code
            assert found in ((200, 308) if is_there else (404,)), path
        walk = await client.post(f"{base}/explorer/walk.gif", json={})
        assert walk.status_code == (400 if is_there else 404)


async def test_the_log_says_where_it_is_and_for_whom(settings, tmp_path, caplog):
    """One line: so that nobody has it without knowing."""
    caplog.set_level(logging.INFO, "serving")
    token = tmp_path / "token"
    token.write_text("secret")
    for changes, who in (({}, "whoever reaches it"), ({"auth_token_file": token}, "who has the token")):
        caplog.clear()
        async with running(settings.model_copy(update=changes)):
            (line,) = [line for line in caplog.messages if "explorer is" in line]
        assert line == f"the explorer is at / of the HTTP door, 127.0.0.1:0, for {who}"


async def test_a_page_that_was_not_installed(settings, tmp_path, monkeypatch, caplog):
    """Asked for, it holds up the start in one line; not asked for, the service is there without it."""

    def missing():
        return page_files.read_page(tmp_path)

    monkeypatch.setattr("serving.doors.http.explorer_addresses.read_page", missing)
    with pytest.raises(StartupError, match=r"--explorer: its page is not installed"):
        async with running(settings.model_copy(update={"explorer": "on"})):
            pass
    async with (
        running(settings) as server,
        httpx.AsyncClient(base_url=http_calls.address(server), trust_env=False) as client,
    ):
        assert (await client.get("/")).status_code == 404
        assert (await client.get("/v2/health/live")).status_code == 200
    assert "its page is not installed" in caplog.text


def test_the_setting():
    """auto, unless said."""
    assert Settings().explorer == "auto"
