"""``vae-train pools``: find the kinds of data without labels, and name them from a few examples."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from training.commands.flags import path_flag
from training.commands.numeric_options import COUNT, SEED, THREADS


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    parser = subparsers.add_parser(
        "pools",
        help="find kinds of data without labels, and name them",
        description="Fit Gaussian mixtures to the posterior means of the training images, choose the size by "
        "BIC, and keep what was found in the run folder, where export finds it. Labels take no part.",
    )
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument(
        "--count",
        type=COUNT,
        help="pools wanted: components that overlap are merged into so many "
        "(default: each component of the mixture is one). Fewer pools need fewer examples to be named",
    )
    parser.add_argument(
        "--names",
        type=Path,
        metavar="LABELS.CSV",
        help="name the pools by examples, lines of file-or-row,label; pools of one label become one",
    )
    parser.add_argument("--seed", type=SEED, help="of the starts (default: 0)")
    parser.add_argument("--threads", type=THREADS, help="CPU threads; left out: one for each core")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from threadpoolctl import threadpool_limits

    from training.models.devices import use_threads

    use_threads(args.threads)
    with threadpool_limits(args.threads):
        print(_found(args))
    export = shlex.join(["vae-train", "export", *path_flag("--run", args.run), "--pools", "mixture"])
    print(f"written   {args.run / 'pools.json'}; next:\n  {export}")
    return 0


def _found(args: argparse.Namespace) -> str:
    """Find, name and describe; what is wrong with the examples is said before the search."""
    from training.modalities import modality_of
    from training.pools import posterior
    from training.pools.examples import images_of, read_examples
    from training.pools.kinds import describe
    from training.pools.run_pools import kinds_of_run, name_kinds_of_run
    from training.runs import Run, load_run, trained_steps

    examples = read_examples(args.names) if args.names else []
    loaded = load_run(args.run)
    dataset, encoder = loaded.dataset(), modality_of(loaded.config).encoder(loaded.model)
    pictures = images_of(examples, args.names, dataset, loaded.config) if examples else None
    _, latents = posterior(encoder, dataset.train.images)
    step = trained_steps(Run(args.run))
    found = kinds_of_run(args.run, latents, step=step, count=args.count, seed=args.seed)
    if pictures is None:
        return describe(found[0])
    _, of_examples = posterior(encoder, pictures)
    labelled = (of_examples, [example.label for example in examples])
    return describe(name_kinds_of_run(args.run, found, latents, labelled))
