"""Base64 of what may be large: a piece at a time, beside the event loop.

64 MiB in one go hold Python's lock, and with it the loop, for a tenth of a second.
"""

import base64
import binascii
from collections.abc import Sequence

from serving.host.background import Background

_OCTETS, _LETTERS = 3 << 14, 4 << 14
"""Bytes of a row of work, and of its base64, which so has no padding within."""
_ROW = _OCTETS
"""Its work, in steps of arithmetic on a value."""
_COPIES = 32
"""Bytes that one such step copies."""


async def encoded(data: bytes, background: Background) -> bytes:
    """Its base64, one for all of it."""
    return await woven((b"", b""), (data,), background)


async def woven(texts: Sequence[bytes], blobs: Sequence[bytes], background: Background) -> bytes:
    """The texts with the base64 of a blob between each two of them."""
    rows = [(number, at) for number, blob in enumerate(blobs) for at in range(0, len(blob) or 1, _OCTETS)]

    def row(number: int, at: int) -> bytes:
        before = b"" if at else texts[number]
        return before + base64.b64encode(blobs[number][at : at + _OCTETS])

    def work(part: slice) -> bytes:
        return b"".join(row(number, at) for number, at in rows[part])

    pieces = await background.pieces(len(rows), _ROW, work)
    return await _joined([*pieces, texts[-1]], background)


async def decoded(text: bytes, background: Background) -> bytes:
    """What it is the base64 of. Raises ValueError for what is none, or several one behind the other."""
    rows = max(1, -(-len(text) // _LETTERS))

    def work(part: slice) -> bytes:
        found = binascii.a2b_base64(text[part.start * _LETTERS : part.stop * _LETTERS], strict_mode=True)
        if part.stop < rows and len(found) < (part.stop - part.start) * _OCTETS:
            raise binascii.Error("padding within")
        return found

    return await _joined(await background.pieces(rows, _ROW, work), background)


async def _joined(pieces: list[bytes], background: Background) -> bytes:
    size = sum(map(len, pieces))
    (whole,) = await background.pieces(1, size // _COPIES, lambda _: b"".join(pieces))
    return whole
