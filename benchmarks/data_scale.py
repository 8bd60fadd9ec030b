"""Memory and images/s of training on 60,000 and on 1,200,000 images, in memory and memory-mapped.

``python -m benchmarks.data_scale``: makes files of random 32×32 colour images (3.7 GB for the larger, and as
much again for its memory-mapped form; all deleted afterwards), trains a small network for 200 steps on each
in a process of its own, and writes ``data_scale.json``. The network is small so that the way to the images
counts.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.serving import machine
from training import modalities
from training.config import FitConfig
from training.fit.loop import train
from training.fit.state import State
from training.modalities import resolve
from training.modalities.image.data.statistics import statistics
from training.runs import DatasetFacts, Run, RunDescription
from training.runs.training_log import read_rows

COUNTS = (60_000, 1_200_000)
SIDE = 32
STEPS = 200
MIB = 2**20
OPTIONS = {
    "network": "mlp", "width": 64, "latent": 16, "batch_size": 128, "steps": STEPS, "log_every": 20,
    "threads": 1, "val_fraction": 0.001, "test_fraction": 0.001, "tensorboard": False,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One training."""

    images: int
    in_memory: str
    page_cache: str
    """warm; or cold: the prepared file was dropped from the system's page cache before."""
    load_s: float
    """Until the data set can be used; memory-mapped with its files prepared before."""
    statistics_s: float
    """One look at every training image, as ``vae-train fit`` takes it; left out when cold."""
    images_per_s: float
    """Median over the rows of the log but the first, 20 steps each."""
    best_images_per_s: float
    """Of those rows; what else runs on the machine can only slow them down."""
    peak_own_mib: int
    """RssAnon: memory that this process alone holds. 350 MiB of it are torch and the like."""
    peak_file_mib: int
    """RssFile: pages of files, which the system takes back when it needs them."""


class Peak(threading.Thread):
    """The largest RssAnon and RssFile that /proc shows in KiB, looked at every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.kib = {"RssAnon": 0, "RssFile": 0}

    def run(self) -> None:
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in self.kib:
                    self.kib[name] = max(self.kib[name], int(value.split()[0]))
            time.sleep(0.02)


def measure(source: Path, folder: Path, in_memory: str, page_cache: str) -> Case:
    """Train in this process."""
    peak = Peak()
    peak.start()
    torch.set_num_threads(1)
    config = FitConfig.model_validate(
        {**OPTIONS, "data": str(source), "cache_dir": folder / "cache", "in_memory": in_memory}
    )
    if page_cache == "cold":
        drop_from_page_cache(folder / "cache")
    started = time.perf_counter()
    dataset = modalities.load(config)
    loaded = time.perf_counter()
    if page_cache == "warm":
        statistics(dataset)
    looked = time.perf_counter()
    config = resolve(config, dataset)
    run = Run(folder / "run")
    described = RunDescription(config=config, dataset=DatasetFacts.of(dataset))
    run.clear()
    run.describe(described)
    state = State.fresh(config, dataset.image_shape, torch.device("cpu"))
    train(state, dataset, config, run, owner=described.owner)
    speeds = [row["images_per_s"] for row in read_rows(run.log_file) if row["kind"] == "train"][1:]
    own, file = (round(peak.kib[name] / 1024) for name in ("RssAnon", "RssFile"))
    count = len(np.load(source, mmap_mode="r"))
    times = round(loaded - started, 2), round(looked - loaded, 2)
    return Case(count, in_memory, page_cache, *times, round(median(speeds)), round(max(speeds)), own, file)


def drop_from_page_cache(folder: Path) -> None:
    """While no process has them mapped."""
    for file in folder.rglob("*.npy"):
        with file.open("rb") as content:
            os.fsync(content.fileno())
            os.posix_fadvise(content.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write_images(path: Path, count: int) -> None:
    """Random bytes [count, 32, 32, 3]."""
    random = np.random.default_rng(0)
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE, SIDE, 3))
    for start in range(0, count, 10_000):
        images[start : start + 10_000] = random.integers(
            0, 256, images[start : start + 10_000].shape, np.uint8
        )


def prepare(source: Path, folder: Path) -> float:
    """Seconds that the first use of the memory-mapped form takes."""
    started = time.perf_counter()
    config = FitConfig.model_validate(
        {**OPTIONS, "data": str(source), "cache_dir": folder / "cache", "in_memory": "no"}
    )
    modalities.load(config)
    return round(time.perf_counter() - started, 2)


def all_cases(folder: Path) -> dict[str, object]:
    cases, prepared = [], {}
    for count in COUNTS:
        source = folder / f"{count}.npy"
        write_images(source, count)
        prepared[count] = prepare(source, folder)
        for in_memory, page_cache in (("yes", "warm"), ("no", "warm"), ("no", "cold")):
            command = [
                sys.executable,
                "-m",
                "benchmarks.data_scale",
                "--case",
                str(source),
                in_memory,
                page_cache,
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            cases.append(json.loads(done.stdout.splitlines()[-1]))
            print(cases[-1], flush=True)
        shutil.rmtree(folder / "cache")
        source.unlink()
    return {
        "steps": STEPS,
        "options": OPTIONS,
        "image": [3, SIDE, SIDE],
        "prepare_s": prepared,
        "cases": cases,
        "machine": machine.describe(),
        "torch": torch.__version__,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the files are made: a new folder in this one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/data_scale.json")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        source, in_memory, page_cache = args.case
        case = measure(Path(source), Path(source).parent, in_memory, page_cache)
        print(json.dumps(asdict(case)))
        return 0
    with tempfile.TemporaryDirectory(prefix="data-scale-", dir=args.folder) as folder:
        results = all_cases(Path(folder))
    args.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
