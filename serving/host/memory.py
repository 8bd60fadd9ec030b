"""How much memory a process takes."""

import math
import os
import resource
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def limit_bytes(cgroup: Path = _CGROUP) -> float:
    """What the cgroup may take (v2, then v1); infinite when there is no limit."""
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((cgroup / file).read_text())
        except (OSError, ValueError):  # not that version, or "max"
            continue
    return math.inf


def resident_bytes() -> int:
    """Resident memory now; where the system does not tell, the largest so far."""
    try:
        return _pages()[1] * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def private_bytes(process: int | None = None) -> int:
    """Resident memory of a process, or of this one, without libraries and files; 0 where nobody tells."""
    try:
        _, resident, shared, *_ = _pages(process)
    except (OSError, ValueError):  # no such file system, or the process has ended
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def _pages(process: int | None = None) -> list[int]:
    """Size, resident, shared …"""
    return [int(pages) for pages in Path(f"/proc/{process or 'self'}/statm").read_text().split()]
