"""Certificates, keys and tokens: read, proven, and read again when their files change.

What a file holds is in force until the file holds something better: one that is missing, half written or
wrong is told of once, and changes nothing.
"""

import asyncio
import logging
import math
import ssl
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from serving.errors import StartupError
from serving.host import tls
from serving.host.abandonable import abandonable
from serving.settings import Settings, read_file, read_token

T = TypeVar("T")

log = logging.getLogger(__name__)

_HTTP_VERSIONS = ["h2", "http/1.1"]
_PEM_FILES = ("tls_key", "tls_certificate", "tls_client_ca")
_LOOK_S = 5.0
_SOON_S = 14 * 86_400.0
_WARN_EVERY_S = 86_400.0


@dataclass(frozen=True)
class Pem:
    """What a TLS server shows, and whom it asks."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None
    expires: float
    """Seconds since 1970: the earliest end of the chain's certificates."""
    context: ssl.SSLContext = field(compare=False)
    """The same for Python's own TLS."""


_Signature = tuple[int, ...] | None


@dataclass(frozen=True)
class _State:
    """What tells whether files are still those that were read."""

    token: _Signature
    pem: list[_Signature]


class Secrets:
    """Belongs to the event loop, but for ``pem``, which gRPC's threads may read.

    Raises:
        StartupError: a file cannot be used.
    """

    def __init__(self, settings: Settings, changed: Callable[["Secrets"], None]) -> None:
        """``changed`` is called when something else is in force."""
        self._settings = settings
        self._changed = changed
        self._seen = self._state()
        self._warned = -math.inf
        self._told: set[str] = set()
        self.token = read_token(settings)
        self.pem = _pem(settings)
        self._warn_of_the_end()

    async def watch(self) -> None:
        """Look at the files again and again, whatever they do."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self.refresh()
            except Exception:
                log.exception("certificates and tokens could not be looked at; trying again")

    async def refresh(self) -> None:
        """Look once. What could not be used is tried again at every look, until it can."""
        state, (token, pem) = await abandonable(self._state), (self.token, self.pem)
        if state.token != self._seen.token:
            token, is_read = await self._read(lambda: read_token(self._settings), token)
            if is_read:
                self._seen = replace(self._seen, token=state.token)
        if state.pem != self._seen.pem:
            pem, is_read = await self._read(lambda: _pem(self._settings), pem)
            if is_read:
                self._seen = replace(self._seen, pem=state.pem)
        if state == self._seen:
            self._told.clear()
        if (token, pem) != (self.token, self.pem):
            self.token, self.pem = token, pem
            log.info("certificates and tokens were read again")
            self._changed(self)
        self._warn_of_the_end()

    async def _read(self, read: Callable[[], T], before: T) -> tuple[T, bool]:
        """What is in force from here on, and whether it was read; each reason why not is told once."""
        try:
            return await abandonable(read), True
        except StartupError as exc:
            if str(exc) not in self._told:
                self._told.add(str(exc))
                log.error("%s; what was there before stays in force", exc)
            return before, False

    def seconds_left(self) -> float:
        """Until the certificate expires; below 0 once it has. Raises ValueError without TLS."""
        if not self.pem:
            raise ValueError("no TLS, no certificate")
        return self.pem.expires - time.time()

    def _state(self) -> "_State":
        """Something else whenever a file is: also when a link of a mounted volume leads elsewhere."""
        of = self._settings
        return _State(_signature(of.auth_token_file), [_signature(getattr(of, name)) for name in _PEM_FILES])

    def _warn_of_the_end(self) -> None:
        if not self.pem or self.seconds_left() > _SOON_S or time.monotonic() - self._warned < _WARN_EVERY_S:
            return
        self._warned = time.monotonic()
        days = self.seconds_left() / 86_400
        when = f"expires in {days:.1f} days" if days > 0 else f"expired {-days:.1f} days ago"
        log.warning("--tls-certificate %s: %s", self._settings.tls_certificate, when)


def _signature(path: Path | None) -> _Signature:
    """None also of a pipe, whose content is read once."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _pem(settings: Settings) -> Pem | None:
    if not settings.tls_certificate:
        return None
    assert settings.tls_key
    for name in _PEM_FILES:
        if path := getattr(settings, name):
            tls.want_regular(f"--{name.replace('_', '-')}", path)
    key, certificate, client_ca = read = [read_file(settings, name) for name in _PEM_FILES]
    assert key
    assert certificate
    tls.check(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    if read != [read_file(settings, name) for name in _PEM_FILES]:  # so the check was of others
        raise StartupError("--tls-certificate, --tls-key: were changed while they were read")
    context = tls.context(certificate, key, client_ca, _HTTP_VERSIONS)  # both doors take it, or neither does
    return Pem(certificate, key, client_ca, tls.expires(certificate), context)
