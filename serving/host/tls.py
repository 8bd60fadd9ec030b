"""Certificates and keys, looked at before a transport gets them: it would not say what is wrong."""

import ssl
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509

from serving.errors import StartupError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def want_regular(setting: str, path: Path) -> None:
    """What is read more than once can be no pipe, which gives its content once, or waits for ever."""
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:  # whoever reads it says why
        return
    if not is_regular:
        raise StartupError(f"{setting} {path}: want a regular file")


def check(certificate: Path, key: Path, client_ca: Path | None) -> None:
    """Raises StartupError, naming the file and what is wrong with it."""
    for setting, path in (
        ("--tls-certificate", certificate),
        ("--tls-key", key),
        ("--tls-client-ca", client_ca),
    ):
        if path is None:
            continue
        content = _read(setting, path)
        if content.startswith(_BYTE_ORDER_MARK):
            raise StartupError(f"{setting} {path}: want PEM text, it begins with a byte order mark")
        if b"-----BEGIN " not in content:
            raise StartupError(f"{setting} {path}: want PEM text, there is no -----BEGIN in it")
    if b"ENCRYPTED" in _read("--tls-key", key):
        raise StartupError(f"--tls-key {key}: want a key without a pass phrase, this one has one")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # how strong they must be is for the transport to say
    try:
        context.load_verify_locations(cafile=certificate)  # parses the certificates alone
    except OSError as exc:
        raise StartupError(f"--tls-certificate {certificate}: {_words(exc)}") from None
    try:
        context.load_cert_chain(certificate, key, password="")
    except OSError as exc:
        raise StartupError(f"--tls-key {key}: {_words(exc)}") from None
    if client_ca:
        try:
            context.load_verify_locations(cafile=client_ca)
        except OSError as exc:
            raise StartupError(f"--tls-client-ca {client_ca}: {_words(exc)}") from None


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise StartupError(f"{setting} {path}: cannot be read: {exc.strerror}") from None


def expires(certificates: bytes) -> float:
    """Seconds since 1970 at which the first certificate of a PEM chain ends. Raises StartupError."""
    try:
        chain = x509.load_pem_x509_certificates(certificates)
    except ValueError:
        raise StartupError("--tls-certificate: want X.509 certificates, cannot read when they end") from None
    return min(certificate.not_valid_after_utc.timestamp() for certificate in chain)


def context(certificate: bytes, key: bytes, client_ca: bytes | None, protocols: list[str]) -> ssl.SSLContext:
    """Of a server with these; ``protocols`` are those it speaks, the preferred first. Raises StartupError."""
    try:
        return _context(certificate, key, client_ca, protocols)
    except OSError as exc:
        raise StartupError(f"--tls-certificate, --tls-key, --tls-client-ca: {_words(exc)}") from None


def _context(certificate: bytes, key: bytes, client_ca: bytes | None, protocols: list[str]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers("DEFAULT:@SECLEVEL=1")  # takes keys of 1,024 bits, as gRPC does
    made.set_alpn_protocols(protocols)
    with TemporaryDirectory() as folder:  # which nobody else can read; Python loads from files alone
        chain = Path(folder) / "chain.pem"
        chain.touch(0o600)
        chain.write_bytes(key + b"\n" + certificate)
        made.load_cert_chain(chain)
    if client_ca:
        made.load_verify_locations(cadata=client_ca.decode("ascii", "ignore"))
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def _words(exc: OSError) -> str:
    if not isinstance(exc, ssl.SSLError):
        return f"cannot be read: {exc.strerror}"
    if exc.reason == "KEY_VALUES_MISMATCH":
        return "want the key of the certificate, this is another's"
    return f"OpenSSL cannot use it: {(exc.reason or str(exc)).replace('_', ' ').lower()}"
