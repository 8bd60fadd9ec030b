"""``vae-train evaluate``: the field's measures of a run, into its ``metrics.json``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.evaluate import Metrics


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a run on held-out images",
        description="−ELBO, rate, distortion, importance-weighted likelihood (nats per image), active units.",
    )
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="(default: test)")
    parser.add_argument("--k", type=int, default=100, help="importance samples of nll_<k> (default: 100)")
    parser.add_argument("--images", type=int, help="evaluate a random subset of this many (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and the subset (default: 0)")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from training.evaluate import evaluate_run
    from training.runs import Run, load_run

    folder, loaded = Run(args.run), load_run(args.run)
    metrics = evaluate_run(
        folder,
        loaded,
        loaded.dataset(),
        split=args.split,
        k=args.k,
        seed=args.seed,
        limit=args.images,
        progress=True,
    )
    print(describe(metrics))
    print(f"written   {folder.metrics_file}")
    return 0


def describe(metrics: "Metrics") -> str:
    """A few lines for the terminal."""
    protocol = metrics.protocol
    of = f" of {protocol.images_in_split:,}, at random" if protocol.images < protocol.images_in_split else ""
    how = {"dynamic": "binarised once", "none": "not binarised"}[protocol.binarisation]
    lines = [
        f"evaluated {protocol.images:,} {protocol.split} images{of}, {how}, {protocol.likelihood}, "
        f"step {protocol.step:,}, in {protocol.seconds:.1f} s ({protocol.images_per_second:,.0f} images/s)"
    ]
    for name, figure in metrics.figures.items():
        error = "" if figure.standard_error is None else f" ± {figure.standard_error:.2g}"
        lines.append(f"  {name:<22}{figure.value:>10,.2f}{error}")
    return "\n".join(lines)
