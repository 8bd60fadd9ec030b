"""Which Host fields are answered where strangers' pages must not get in."""

import pytest

from serving.doors.http.transport.server_names import ServerNames, host_of

OURS = (
    "localhost",
    "localhost:8080",
    "LocalHost:8080",
    "localhost.:8080",
    "vae.localhost",
    "127.0.0.1",
    "127.0.0.1:8080",
    "10.1.2.3:80",
    "[::1]",
    "[::1]:8080",
    "[::ffff:127.0.0.1]:8080",
    "localhost:",
    "vae.example.org",
    "VAE.example.org:8080",
    "",
    None,
)
STRANGE = (
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "evillocalhost",
    "127.0.0.1.evil.example",
    "sub.vae.example.org",
    "vae.example.org.evil",
    "user@localhost",
    "localhost@evil.example",
    "localhost:8080:8080",
    "localhost:http",
    "localhost, evil.example",
    "localhost/",
    "[evil.example]",
    "[::1",
    "::1",
    "[::1].evil.example",
    "127.1",
    "2130706433",
    "0x7f000001",
    ":8080",
    ".",
    "lоcalhost",  # a Cyrillic о
    "localhost\x00",
    "a" * 30_000,
)


@pytest.mark.parametrize("host", OURS)
def test_our_own(host):
    """localhost, numbers, and the names that were given; a request without a Host is no browser's."""
    assert ServerNames(["vae.example.org"]).takes(host)


@pytest.mark.parametrize("host", STRANGE)
def test_strangers(host):
    """A name that somebody else can let lead here, and whatever is no authority at all."""
    assert not ServerNames(["vae.example.org"]).takes(host)


@pytest.mark.parametrize("host", [*STRANGE, *OURS])
def test_everybody(host):
    """Where every name is let in."""
    assert ServerNames("*").takes(host)


def test_a_name_that_is_empty_is_none():
    """An origin without a host lets nobody in."""
    assert not ServerNames([host_of("["), ""]).takes(":8080")
