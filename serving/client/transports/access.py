"""How a client may reach a server, whatever the transport."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Access:
    """What the user says of it besides the address."""

    tls: bool = False
    """Encrypt; implied by ``root_certificate``."""
    root_certificate: str | Path | None = None
    """PEM file of the authority to verify the server with, instead of the system's."""
    token: str | None = None

    @property
    def encrypts(self) -> bool:
        return self.tls or self.root_certificate is not None

    def root(self) -> bytes | None:
        """Raises OSError if the certificate cannot be read."""
        return None if self.root_certificate is None else Path(self.root_certificate).read_bytes()

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call. Raises ValueError, which does not show the token."""
        token = (self.token or "").strip()  # files and variables often end in a newline
        if not (token.isascii() and token.isprintable()):
            raise ValueError("token: want one line of printable ASCII")
        return (("authorization", f"Bearer {token}"),) if token else ()
