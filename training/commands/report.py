"""``vae-train report``: pictures and figures of a run, into its ``report`` folder."""

import argparse
from pathlib import Path
from typing import Any


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    parser = subparsers.add_parser(
        "report",
        help="draw the pictures of a run",
        description="Samples, reconstructions, latent map and loss curves as PNG, beside metrics.json.",
    )
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from training.report import write_report

    for path in write_report(args.run):
        print(f"written   {path}")
    return 0
