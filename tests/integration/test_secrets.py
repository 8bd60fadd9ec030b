"""Certificates and tokens are renewed while the server runs, and nobody is left without."""

import asyncio
import errno
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import trustme

from serving.doors import secrets
from serving.errors import StartupError
from serving.server import running
from tests.support import patience, process
from tests.support.patience import until


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(secrets, "_LOOK_S", 0.02)


@pytest.fixture
def paths(tmp_path):
    return {"tls_certificate": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}


def put(paths, authority, days=300.0):
    ends = datetime.now(UTC) + timedelta(days=days)
    issued = authority.issue_cert("localhost", not_after=ends)
    paths["tls_key"].write_bytes(issued.private_key_pem.bytes())
    paths["tls_certificate"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))


async def trusts(server, authority):
    """Whether a new connection of a client that knows this authority alone is answered."""
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    address = f"localhost:{server.grpc_address.rpartition(':')[2]}"
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        call = channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        code = await call.code()
    assert code in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    return code == grpc.StatusCode.OK


async def test_a_key_is_not_taken_with_the_certificate_of_another(settings, paths, monkeypatch, tmp_path):
    """Files that are renewed while they are read: a pair is in force, the one before or the new one."""
    put(paths, trustme.CA())
    kept = secrets.Secrets(settings.model_copy(update=paths), lambda _: None)
    read_file = secrets.read_file

    def renewed_meanwhile(of, name):
        content = read_file(of, name)
        if name == "tls_key":
            put(paths, trustme.CA())
        return content

    put(paths, trustme.CA())
    monkeypatch.setattr(secrets, "read_file", renewed_meanwhile)
    await kept.refresh()
    taken = {"tls_certificate": tmp_path / "taken.pem", "tls_key": tmp_path / "taken_key.pem"}
    taken["tls_certificate"].write_bytes(kept.pem.certificate)
    taken["tls_key"].write_bytes(kept.pem.key)
    secrets.tls.check(*taken.values(), None)

    monkeypatch.setattr(secrets, "read_file", read_file)
    await kept.refresh()
    assert kept.pem.key == paths["tls_key"].read_bytes()
    assert kept.pem.certificate == paths["tls_certificate"].read_bytes()


@pytest.mark.parametrize(
    ("name", "special", "words"),
    [
        ("tls_key", "pipe", "--tls-key .*: want a regular file"),
        ("tls_certificate", "/dev/zero", "--tls-certificate .*: want a regular file"),
        ("tls_key", f"/{'x' * 300}", "--tls-key .*: cannot be read: File name too long"),
        ("auth_token_file", "/dev/zero", "--auth-token-file .*: want at most 1 MiB"),
    ],
)
async def test_what_has_no_end_is_refused(settings, paths, tmp_path, name, special, words):
    """At once, and without reading what there is of it."""
    put(paths, trustme.CA())
    if special == "pipe":
        special = tmp_path / "pipe"
        os.mkfifo(special)
    update = {**(paths if name.startswith("tls") else {}), name: Path(special)}
    with pytest.raises(StartupError, match=words):
        secrets.Secrets(settings.model_copy(update=update), lambda _: None)


async def test_a_token_from_a_pipe_is_read_once(settings, paths, tmp_path):
    """As a shell's ``<(command)`` gives it; certificates are renewed beside it."""
    old, new = trustme.CA(), trustme.CA()
    put(paths, old)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = asyncio.create_task(asyncio.to_thread(pipe.write_text, "secret"))
    async with running(settings.model_copy(update={**paths, "auth_token_file": pipe})) as server:
        await writing
        assert await trusts(server, old)
        put(paths, new)
        await until_true(lambda: trusts(server, new))


def test_a_token_that_never_comes_holds_up_no_stop(repository, tmp_path):
    """Storage that is gone, here a pipe that nobody writes to: SIGTERM ends the start."""
    pipe, log = tmp_path / "pipe", tmp_path / "log"
    os.mkfifo(pipe)
    command = process.command(repository, "--auth-token-file", str(pipe))
    with log.open("w") as stderr:
        server = subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL)
        patience.wait_until(lambda: "settings: " in log.read_text())
        writers = []
        patience.wait_until(lambda: writers.extend(_opened(pipe)) or writers)  # it waits for the token by now
        server.send_signal(signal.SIGTERM)
        assert server.wait(patience.SECONDS) == 0
    os.close(writers[0])
    assert "stopped before it served" in log.read_text()


def _opened(pipe):
    """A writer's end, once there is somebody who reads; in a list."""
    try:
        return [os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)]
    except OSError as exc:
        if exc.errno != errno.ENXIO:
            raise
    return []


async def until_true(ask):
    while not await ask():  # noqa: ASYNC110  # the answer is the server's
        await asyncio.sleep(0.02)


async def test_a_certificate_that_is_renewed_is_shown_to_who_connects_next(settings, paths, caplog):
    """Without a restart; a key that does not fit, as between two copies, changes nothing and is told of."""
    old, new = trustme.CA(), trustme.CA()
    put(paths, old)
    async with running(settings.model_copy(update=paths)) as server:
        assert await trusts(server, old)
        whole = paths["tls_key"].read_bytes()
        paths["tls_key"].write_bytes(new.issue_cert("localhost").private_key_pem.bytes())
        await until(lambda: "want the key of the certificate" in caplog.text)
        assert await trusts(server, old)
        paths["tls_key"].write_bytes(whole)
        put(paths, new)
        await until_true(lambda: trusts(server, new))
        assert not await trusts(server, old)


@pytest.mark.parametrize(
    ("days", "words"), [(100.0, None), (3.0, "expires in 3.0 days"), (-2.0, "expired 2.0 days")]
)
async def test_the_end_of_a_certificate_is_seen_coming(settings, paths, caplog, days, words):
    """A gauge of the seconds that are left, and a warning from 14 days ahead, once."""
    put(paths, trustme.CA(), days)
    async with running(settings.model_copy(update=paths)) as server:
        left = server.metrics.registry.get_sample_value("vae_tls_certificate_expiry_seconds")
        assert left == pytest.approx(days * 86_400, abs=300)
        await asyncio.sleep(0.1)
    warnings = [message for message in caplog.messages if "expire" in message]
    assert len(warnings) == bool(words)
    assert not words or words in warnings[0]


async def test_a_token_that_is_changed_is_wanted_from_then_on(settings, tmp_path, caplog):
    """The old one is refused; an empty or missing file is told of, and the token before it still holds."""
    file = tmp_path / "token"
    file.write_text("first")
    async with running(settings.model_copy(update={"auth_token_file": file})) as server:

        async def answers(token):
            metadata = (("authorization", f"Bearer {token}"),)
            async with grpc.aio.insecure_channel(server.grpc_address) as channel:
                code = await channel.unary_unary("/vae.v1.VaeService/ListModels")(
                    b"", metadata=metadata
                ).code()
            assert code in {grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED}
            return code == grpc.StatusCode.OK

        assert await answers("first")
        file.write_text("second")
        await until_true(lambda: answers("second"))
        assert not await answers("first")
        file.write_text("")
        await until(lambda: "want content, the file is empty" in caplog.text)
        file.unlink()
        await until(lambda: "cannot be read: No such file" in caplog.text)
        assert await answers("second")
        assert not await answers("")
        file.write_text("third")
        await until_true(lambda: answers("third"))


async def test_a_good_token_does_not_wait_for_a_bad_certificate(settings, paths, tmp_path, caplog):
    """Each file by itself: the old token may be one that has leaked. The same complaint is told once."""
    authority = trustme.CA()
    put(paths, authority)
    file = tmp_path / "token"
    file.write_text("first")
    changed = []
    made = secrets.Secrets(
        settings.model_copy(update=paths | {"auth_token_file": file}), lambda new: changed.append(new.token)
    )
    paths["tls_certificate"].write_bytes(b"half of one")
    file.write_text("second")
    for _ in range(3):
        await made.refresh()
    assert changed == ["second"]
    assert caplog.text.count("there is no -----BEGIN in it") == 1
    before = made.pem
    put(paths, authority)
    await made.refresh()
    assert made.pem != before
