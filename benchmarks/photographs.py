"""Colour photographs, square and not, from the folder to the served sample.

``python -m benchmarks.photographs --photos FOLDER`` trains a small VAE on a folder of photographs and one on
their middle 32×20 pixels, evaluates, exports and serves both, and asks the server for samples and
reconstructions. Writes ``photographs.json`` and a picture for each.

With ``--kind NAME`` it trains one model on the photographs as they are, called NAME, with the flags of
``vae-train fit`` that stand behind ``--``, and writes ``NAME.json``.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.serving import machine
from benchmarks.serving.servers import vaeserve
from serving.client import Client
from training.__main__ import main as vae_train
from training.data import to_unit
from training.evaluate.metrics import Metrics
from training.export.provenance import git_commit, versions
from training.report.pictures.canvas import image_grid
from training.runs import Run, load_run

NARROW = 20
"""Columns of the images that are not square."""
SHOWN = 12
IMPORTANCE_SAMPLES = 100


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="photographs-") as name:
        scratch = Path(name)
        if options.kind:
            folders = {options.kind: options.photos}
        else:
            narrow = _narrowed(options.photos, scratch / "narrow")
            folders = {"photos": options.photos, "photos_32x20": narrow}
        repository = scratch / "models"
        documents = {}
        for kind, folder in folders.items():
            run = options.runs / kind
            _trained_and_exported(kind, folder, run, repository, options)
            documents[kind] = _figures(run)
        with vaeserve(repository, scratch / "log") as server:
            for kind in folders:
                _drawn(kind, f"127.0.0.1:{server.port}", options, documents[kind])
    about = {"machine": machine.describe(), "versions": versions(), "git_commit": git_commit()}
    results = options.output / f"{options.kind or 'photographs'}.json"
    results.write_text(json.dumps(documents | about, indent=2) + "\n")
    return 0


def _narrowed(photos: Path, folder: Path) -> Path:
    """The middle columns of every photograph, in the same sub-folders."""
    for file in sorted(photos.rglob("*")):
        if file.suffix.lower() in (".png", ".jpg", ".jpeg"):
            target = folder / file.relative_to(photos).with_name(f"{file.name}.png")
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(file) as picture:
                left = (picture.width - NARROW) // 2
                picture.crop((left, 0, left + NARROW, picture.height)).save(target)
    return folder


def _trained_and_exported(
    kind: str, folder: Path, run: Path, repository: Path, options: argparse.Namespace
) -> None:
    """By the program's own commands, so that anyone can repeat it."""
    threads = ["--threads", str(options.threads)] if options.threads else []
    shared = ["--run", str(run)]
    fit = ["--data", str(folder), "--preset", options.preset, "--seed", "0", "--overwrite", *options.fit]
    learned = [["fit", *shared, *fit, *threads]]
    learned += [["evaluate", *shared, "--k", str(IMPORTANCE_SAMPLES), *threads]]
    for command in (
        *([] if options.trained else learned),
        ["export", *shared, "--repository", str(repository), "--name", kind],
    ):
        print(f"\n$ vae-train {' '.join(command)}", flush=True)
        if code := vae_train(command):
            sys.exit(code)


def _figures(run: Path) -> dict[str, Any]:
    metrics = Metrics.read(Run(run).metrics_file)
    figures = {name: figure.value for name, figure in metrics.figures.items()}
    return {"figures": figures, "protocol": metrics.protocol.model_dump(mode="json")}


def _drawn(kind: str, address: str, options: argparse.Namespace, document: dict[str, Any]) -> None:
    """What the server answers, in one picture; the images are the first of the test split."""
    dataset = load_run(options.runs / kind).dataset()
    everything = to_unit(dataset.test.images)
    real = everything[:SHOWN]
    with Client(address) as client:
        again = client.reconstruct(kind, everything.numpy()).images
        document["reconstruction_mse"] = float(np.square(again - everything.numpy()).mean())
        prior = client.sample(kind, SHOWN, seed=1).images
        pools = [client.sample(kind, SHOWN, pool=name, seed=1).images for name in dataset.label_names[:2]]
    rows: list[Tensor] = [real, *(torch.from_numpy(images) for images in (again[:SHOWN], prior, *pools))]
    names = ["test images", "reconstructed", "prior", *(f"pool {name}" for name in dataset.label_names[:2])]
    figures = document["figures"]
    of = "256 levels" if "bits_per_dim" in figures else "density"
    bits = figures.get("bits_per_dim", figures.get("bits_per_dim_density"))
    picture = image_grid(
        rows,
        names,
        title=f"{kind}: served by vaeserve",
        subtitle=f"{len(dataset.train):,} training images; {bits:.2f} bits/dim ({of}); samples not chosen",
        rules=(2,),
    )
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"{kind}.png").write_bytes(picture)
    print(f"written: {options.output / kind}.png")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photographs")
    parser.add_argument("--photos", type=Path, required=True, help="folder of colour photographs, 32×32")
    parser.add_argument("--kind", help="of the one model to train, see above")
    parser.add_argument("--trained", action="store_true", help="it stands in --runs, trained and evaluated")
    parser.add_argument("fit", nargs="*", help="flags of vae-train fit, behind --")
    parser.add_argument("--preset", default="small", help="of vae-train fit (default: small)")
    parser.add_argument("--threads", type=int, help="of training; left out: one for each core")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="(default: runs)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
