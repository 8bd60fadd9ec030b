"""What a label may be called: it becomes the name of a pool, in the bundle and in calls."""

import unicodedata
from collections.abc import Iterable

from pydantic import ValidationError

from serving.bundle import PoolEntry
from serving.pictures.picture_files import BREAKING

AGGREGATE = "aggregate"
"""The pool of all the data together, so no label may have this name."""
LONGEST_SHOWN = 40
WANTED = "want names of 1 to 128 characters in UTF-8, none a control character, and none 'aggregate'"


def composed(name: str) -> str:
    """In Unicode's composed form (NFC), as keyboards write it: macOS names folders in the other one."""
    return unicodedata.normalize("NFC", name)


def wrong_label(names: Iterable[str]) -> str | None:
    """What is wrong with the first that no pool can be called; None if all are fine."""
    for name in names:
        fault = _fault(name)
        if fault:
            shown = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"
            return f"label {shown!r}: {WANTED}; {fault}"
    return None


def _fault(name: str) -> str:
    if not name.strip():
        return "this one is empty"
    if name == AGGREGATE:
        return "that is the pool of all the data"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its bytes are not UTF-8"
    if any(unicodedata.category(letter) in BREAKING for letter in name):
        return "it has a control character"
    try:
        PoolEntry(name=name, rows=0, aggregate=False)
    except ValidationError:
        return f"it has {len(name)} characters"
    return ""
