"""curl: the Connect protocol written by hand, in either version of HTTP, over TLS as well."""

import io
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from PIL import Image

from serving.server import running
from tests.clients import installed, shell_calls
from tests.clients.asking import output_of
from tests.clients.shell_calls import Answer
from tests.clients.witness import Json, check, raw
from tests.support.http_calls import envelope, envelopes

LINE = """curl -d '{"count": 4, "imageFormat": "IMAGE_FORMAT_PNG"}' localhost:8080/vae.v1.VaeService/Sample"""
SERVICE = "/vae.v1.VaeService/"
AS_JSON = ("-H", "content-type: application/json")
AS_STREAM = ("-H", "content-type: application/connect+json")
READS = ("ListModels", "GetModel", "GetLatentMap")
SAID = b"\n%{http_code} %{http_version}"
"""After the body: the status and the version of HTTP that was spoken."""


@pytest.fixture
def curl():
    return installed.find("curl")


@pytest.fixture
def curl2(curl):
    """One that speaks HTTP/2."""
    features = subprocess.run([curl, "--version"], capture_output=True, text=True, check=True).stdout
    if "HTTP2" not in features:
        pytest.skip("this curl speaks no HTTP/2")
    return curl


@dataclass
class Curl(shell_calls.Shell):
    program: str
    address: str
    version: str
    folder: Path
    flags: tuple[str, ...] = ()
    spoken: set[str] = field(default_factory=set)
    """Versions of HTTP."""
    status: int = 0
    """Of the last answer."""

    async def call(self, method: str, request: Json, *, timeout_ms: int | None = None) -> Answer:
        deadline = ("-H", f"connect-timeout-ms: {timeout_ms}") if timeout_ms else ()
        if method == "SampleStream":
            body = await self._said(*self._streaming(request), *deadline, self.address + SERVICE + method)
            assert self.status == 200
            *messages, (flags, last) = envelopes(body)
            assert ({flag for flag, _ in messages} <= {0}, flags) == (True, 2)
            return [json.loads(message) for _, message in messages], json.loads(last).get("error")
        if method in READS:
            query = (
                "-G",
                "-d",
                "connect=v1&encoding=json",
                "--data-urlencode",
                f"message={json.dumps(request)}",
            )
            body = await self._said(*query, *deadline, self.address + SERVICE + method)
        else:
            body = await self._said(
                *AS_JSON, *deadline, "--data-binary", "@-", self.address + SERVICE + method,
                stdin=json.dumps(request).encode(),
            )  # fmt: skip
        return ([json.loads(body)], None) if self.status == 200 else ([], json.loads(body))

    def command(self, method: str, request: Json) -> list[str]:
        return [
            self.program,
            *self._common(),
            "-N",
            *self._streaming(request),
            self.address + SERVICE + method,
        ]

    def _common(self) -> tuple[str, ...]:
        return ("-sS", self.version, *self.flags)

    def _streaming(self, request: Json) -> tuple[str, ...]:
        body = self.folder / "envelope"
        body.write_bytes(envelope(json.dumps(request).encode()))
        return (*AS_STREAM, "--data-binary", f"@{body}")

    async def _said(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = (self.program, *self._common(), "-w", SAID.decode(), *arguments)
        code, written, complaint = await output_of(*command, stdin=stdin)
        assert (code, complaint) == (0, "")
        body, _, said = written.rpartition(b"\n")
        status, version = said.decode().split()
        self.status = int(status)
        self.spoken.add(version)
        return body


async def test_the_line_that_readers_are_given(curl, server):
    """Typed as it is printed, without a word of what it sends, it gives the pictures that it asks for."""
    for page in ("README.md", "docs/calling.md"):
        assert LINE in (installed.ROOT / page).read_text().splitlines(), page
    line = LINE.replace("localhost:8080", server.http_address).replace("curl", f"{curl} -sS", 1)
    code, said, complaint = await output_of("sh", "-c", line)
    assert (code, complaint) == (0, "")
    files = json.loads(said)["images"]["png"]["files"]
    pictures = [Image.open(io.BytesIO(raw(file))) for file in files]
    assert [(picture.format, picture.size) for picture in pictures] == [("PNG", (32, 32))] * 4


@pytest.mark.parametrize(("flag", "version"), [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")])
async def test_curl(curl2, tmp_path, witness_of, flag, version):
    """JSON by POST, by GET and in a stream shows what gRPC shows; a stream that is left is CANCELLED."""
    truth = await witness_of("http")
    shell = Curl(curl2, truth.task["address"], flag, tmp_path)
    check(await shell_calls.calls(shell, truth.task), truth.truth)
    assert shell.spoken == {version}
    await truth.settled()


@pytest.mark.parametrize(("flag", "version"), [("--http1.1", "1.1"), ("--http2", "2"), ("--no-alpn", "1.1")])
async def test_curl_over_tls(curl2, settings, tmp_path, flag, version):
    """ALPN says which version of HTTP it is."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    chain, key, trusted = (tmp_path / name for name in ("chain.pem", "key.pem", "ca.pem"))
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    trusted.write_bytes(authority.cert_pem.bytes())
    secret = {"tls_certificate": chain, "tls_key": key}
    async with running(settings.model_copy(update=secret)) as server:
        address = f"https://localhost:{server.http_address.rpartition(':')[2]}"
        shell = Curl(curl2, address, flag, tmp_path, ("--cacert", str(trusted)))
        (listed,), _ = await shell.call("ListModels", {})
        (sampled,), _ = await shell.call("Sample", {"count": 2, "seed": 1})
        parts, _ = await shell.call("SampleStream", {"sample": {"count": 2, "seed": 1}, "rowsPerResponse": 1})
    assert [model["model"]["name"] for model in listed["models"]] == ["toy"]
    assert sampled["seed"] == "1"
    assert len(parts) == 2
    assert shell.spoken == {version}


async def test_the_servers_deadline(curl, tmp_path, witness_of):
    """curl knows nothing of the deadline that it passes on: it is the server that keeps to it."""
    truth = await witness_of("http")
    shell = Curl(curl, truth.task["address"], "--http1.1", tmp_path)
    request = {"count": 300, "imageFormat": "IMAGE_FORMAT_PNG"}
    messages, error = await shell.call("Sample", request, timeout_ms=1)
    assert (shell.status, messages) == (504, [])
    assert error
    assert error["code"] == "deadline_exceeded"
