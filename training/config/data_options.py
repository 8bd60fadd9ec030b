"""The options that say which data are trained on; part of ``FitConfig``."""

import os
import reprlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

LARGEST_COUNT = 2**63 - 1
"""Of a whole number: what a tensor, a seed of torch and an int64 of the protos hold."""
LARGEST_NUMBER = 1e30
"""Of a fraction: well within float32, whose overflow would show as something else."""
LARGEST_SIDE = 4096
"""Pixels of height and width."""
NAMED_DATA = ("digits", "mnist", "fashion-mnist")
"""Data sets with a name of their own; anything else is a path."""


class Options(BaseModel):
    """A group of options; its docstring is the title in ``--help``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataOptions(Options):
    """data"""

    data: str = Field(
        "digits",
        description="digits, mnist, fashion-mnist, or a path: a folder of images (sub-folders are labels), "
        "an .npz file (images and, if there are any, labels), an .npy file (images), or a table: "
        "a .csv, .tsv, .parquet, .arrow or .feather file",
    )
    data_dir: Path | None = Field(
        None, description="folder with the four IDX files of mnist or fashion-mnist; left out: downloaded"
    )
    cache_dir: Path | None = Field(
        None,
        description="where downloads and memory-mapped images are kept; left out: $XDG_CACHE_HOME/vaeserve "
        "or ~/.cache/vaeserve",
    )
    in_memory: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="no: decode the images of a folder or an .npy file once, into memory-mapped files of "
        "their size in --cache-dir, and read each batch from there; auto: from 2 GiB on, or from 512 MiB of "
        "files on that --image-size scales",
    )
    strict: bool = Field(
        False, description="refuse a folder with files that cannot be read, instead of leaving them out"
    )
    image_size: tuple[int, int] | None = Field(
        None, description="HxW or one number: scale and centre-crop the images of a folder to this size"
    )
    channels: Literal["auto", "grey", "rgb"] = Field(
        "auto", description="colour of a folder's images; auto: grey if every file is grey, else rgb"
    )
    without: tuple[str, ...] | None = Field(
        None,
        description="labels, with commas between them, whose images the model does not see; "
        "vae-train evaluate --full measures whether its score tells them",
    )
    label: str | None = Field(
        None,
        min_length=1,
        description="of a table: the column of kinds whose values are its labels; each gets a pool",
    )
    table_schema: Path | None = Field(
        None,
        description="of a table: a JSON file that says what its columns are where that is found out wrongly, "
        'like {"columns": {"zip": {"type": "category"}, "id": {"type": "ignore"}}}',
    )
    val_fraction: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="share held out for validation where the data bring no split of their own",
    )
    test_fraction: float = Field(
        0.1, gt=0, lt=1, description="share held out for testing where the data bring no split of their own"
    )
    split_seed: int = Field(
        0,
        ge=0,
        le=LARGEST_COUNT,
        description="seed of that split; apart from --seed, so that runs can be compared",
    )

    @field_validator("data")
    @classmethod
    def _found_anywhere(cls, value: str) -> str:
        """A path is kept absolute, so that a run can be evaluated from any folder."""
        if not value:  # a variable of a script that is not set; not the folder one is in
            raise ValueError(f"want {', '.join(NAMED_DATA)} or a path; came ''")
        return value if value in NAMED_DATA else str(_absolute(value))

    @field_validator("data_dir", "cache_dir", "table_schema")
    @classmethod
    def _absolute_dir(cls, value: Path | None) -> Path | None:
        return value and _absolute(str(value))

    @field_validator("without", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        names = tuple(part.strip() for part in value.split(","))
        if not all(names):
            raise ValueError(f"want labels with commas between them, came {value!r}")
        return tuple(sorted(set(names)))

    @field_validator("image_size", mode="before")
    @classmethod
    def _height_by_width(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        parts = value.lower().split("x")
        if not (1 <= len(parts) <= 2 and all(part.isdecimal() and len(part) < 10 for part in parts)):
            raise ValueError(f"want HxW, like 32x48, or one number; came {reprlib.repr(value)}")
        return (int(parts[0]), int(parts[-1]))

    @field_validator("image_size")
    @classmethod
    def _large_enough(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value and not 4 <= min(value) <= max(value) <= LARGEST_SIDE:
            want = f"at least 4x4 and at most {LARGEST_SIDE}x{LARGEST_SIDE}"
            raise ValueError(f"want {want}; came {value[0]}x{value[1]}")
        return value


def _absolute(value: str) -> Path:
    """It is written down in the run folder, as UTF-8; its last part names the run and the data."""
    path = Path(os.path.expanduser(value)).absolute()  # unlike pathlib, at ease with an unknown user
    if ".." in path.parts:
        path = Path(os.path.realpath(path))
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"want a path in UTF-8; came {str(path)!r}") from None
    return path
