"""Figures of several seeds: their means and spreads, as JSON and as a table in Markdown."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

RESULTS = Path(__file__).parents[1] / "results" / "tables"
Figures = Mapping[str, float]


class Run(TypedDict):
    """One contender with one seed."""

    contender: str
    seed: int
    figures: Mapping[str, float]
    fit: list[str]
    """Flags of ``vae-train fit`` beside the defaults."""
    machine: dict[str, Any]


def a_run(contender: str, seed: int, figures: Figures, *, fit: list[str]) -> Run:
    """With the machine as it is now."""
    return Run(contender=contender, seed=seed, figures=figures, fit=fit, machine=machine())


def runs_of(name: str, folder: Path) -> dict[str, Run]:
    """Those that ``name.json`` has already."""
    path = folder / f"{name}.json"
    found: dict[str, Run] = json.loads(path.read_text())["runs"] if path.is_file() else {}
    return found


def summary(runs: Iterable[Run]) -> dict[str, dict[str, list[float]]]:
    """Contender to figure to all its values."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        for key, value in run["figures"].items():
            found.setdefault(run["contender"], {}).setdefault(key, []).append(float(value))
    return found


def by_set(runs: Mapping[str, Run]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """The same for each set, with which the names of its runs begin."""
    names = list(dict.fromkeys(name.split(", ")[0] for name in runs))
    return {name: summary(run for key, run in runs.items() if key.split(", ")[0] == name) for name in names}


def markdown(title: str, found: Mapping[str, Mapping[str, list[float]]], columns: Mapping[str, int]) -> str:
    """A line a contender; a spread behind the mean where there are several values. ``columns``: decimals."""
    lines = [f"| {title} | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for name, figures in found.items():
        cells = [_cell(figures.get(key, []), decimals) for key, decimals in columns.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(name: str, taken: Mapping[str, Any], text: str, folder: Path) -> None:
    """``name.json`` and ``name.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(taken, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text.rstrip() + "\n")


def machine() -> dict[str, Any]:
    """What the figures were taken on; times are only worth as much as what else ran then."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[1],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _cell(values: list[float], decimals: int) -> str:
    if not values:
        return ""
    mean = f"{np.mean(values):.{decimals}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{decimals}f}"
