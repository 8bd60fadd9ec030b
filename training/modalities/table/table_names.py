"""Which files are tables, by their names; without the libraries that read them."""

import os
from pathlib import Path
from typing import Final

TEXT: Final = {".csv": None, ".txt": None, ".tsv": "\t", ".tab": "\t"}
PARQUET: Final = (".parquet", ".pq")
ARROW: Final = (".arrow", ".feather", ".ipc")
PACKED: Final = (".gz", ".bz2", ".xz")


def is_table_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file of this name is read as a table."""
    return kind_of_name(path) in (*TEXT, *PARQUET, *ARROW)


def kind_of_name(path: str | os.PathLike[str]) -> str:
    """Its ending, in small letters; of a packed file the one before."""
    path = Path(path)
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED else suffix
