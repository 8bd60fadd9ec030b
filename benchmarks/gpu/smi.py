"""What ``nvidia-smi`` says of the first card."""

import subprocess


def query(*fields: str) -> list[str]:
    """Raises OSError or CalledProcessError without a card."""
    command = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    line = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    return [value.strip() for value in line.split(",")]


def used_mib() -> float | None:
    """In use by all programs; None without a card."""
    try:
        return float(query("memory.used")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
