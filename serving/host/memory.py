"""How much memory a process takes."""

import os
import resource
import sys
from pathlib import Path


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
