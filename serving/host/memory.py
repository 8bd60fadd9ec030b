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


def resident_bytes(process: int | None = None) -> int:
    """Resident memory of a process, or of this one; its largest so far where the system does not tell."""
    try:
        pages = Path(f"/proc/{process or 'self'}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):  # no such file system, or the process has ended
        if process:
            return 0
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
