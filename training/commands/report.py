"""``vae-train report``: a page with pictures and figures of a run, in its ``report`` folder."""

import argparse
from pathlib import Path
from typing import Any


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    parser = subparsers.add_parser(
        "report",
        help="show a run: one page with pictures and figures",
        description="One self-contained HTML page: key figures, latent map, samples of the prior and of each "
        "pool, reconstructions, interpolations, small steps, traversals, rate per latent and loss curves; "
        "each picture also as a file beside it.",
    )
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="RUN",
        help="run of --model ae on the same data, to be shown beside this one",
    )
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from training.report import write_report

    page, *others = write_report(args.run, beside=args.beside)
    for path in others:
        print(f"written   {path}")
    print(f"open      {page.resolve().as_uri()}")
    return 0
