"""What fits into the client's memory at once."""

from collections.abc import Iterable

from serving.client.results import Samples

MOST_BYTES = 16 * 2**30
"""Of one result. Beyond it, a job is one for ``sample_stream``, or for several calls."""


def check_result_size(rows: int, row_bytes: float) -> None:
    """Raises ValueError for a result that would fill the memory; ``row_bytes`` are those of one that came."""
    if rows * row_bytes > MOST_BYTES:
        most = max(1, int(MOST_BYTES / row_bytes))
        raise ValueError(
            f"count: want at most {most:,} rows of {row_bytes:,.0f} bytes at once "
            f"({MOST_BYTES / 2**30:.0f} GiB), came {rows:,}; take them in parts: sample_stream, or first_row"
        )


def gathered(stream: Iterable[Samples], count: int) -> list[Samples]:
    """All parts of a stream of ``count`` rows, if the first tells that they fit into memory.

    Raises:
        ValueError: they do not.
    """
    parts: list[Samples] = []
    for part in stream:
        if not parts:
            latents = 0 if part.latents is None else part.latents.nbytes
            check_result_size(count, (part.images.nbytes + latents) / len(part.images))
        parts.append(part)
    return parts
