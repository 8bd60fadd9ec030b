"""``vae-train evaluate``: the field's measures of a run, into its ``metrics.json``."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands.numeric_options import COUNT, SAMPLES, SEED, THREADS
from training.training_error import TrainingError

if TYPE_CHECKING:
    from training.evaluate import Metrics


DESCRIPTION = """\
−ELBO, rate, distortion, importance-weighted likelihood (nats per image), active units; and on demand the
groups below. Every figure stands in metrics.json with the protocol it was taken by. A likelihood that is
there already by the same protocol is not estimated anew when a group is asked for."""


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    parser = subparsers.add_parser(
        "evaluate", help="measure a run on held-out images", description=DESCRIPTION
    )
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="(default: test)")
    parser.add_argument("--k", type=SAMPLES, default=100, help="importance samples of nll_<k> (default: 100)")
    parser.add_argument("--images", type=COUNT, help="evaluate a random subset of this many (default: all)")
    parser.add_argument("--seed", type=SEED, default=0, help="of the noise and the subset (default: 0)")
    parser.add_argument("--threads", type=THREADS, help="CPU threads; left out: one for each core")
    parser.add_argument(
        "--decoder",
        choices=("float32", "bfloat16"),
        default="float32",
        help="what its matrix products are computed in; on CPUs with AMX, bfloat16 more than halves the "
        "time of a large k (default: float32)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the likelihood is estimated; auto: cuda if there is one (default: auto)",
    )
    groups = parser.add_argument_group("groups of figures")
    groups.add_argument(
        "--samples",
        action="store_true",
        help="10,000 samples of the prior and of the labels' pools, and reconstructions: Fréchet and kernel "
        "distance, precision and recall, trash rate, pool fidelity, beside real images",
    )
    groups.add_argument(
        "--latents",
        action="store_true",
        help="linear probe and nearest neighbours with 10, 100 and all labels per class, clusters without "
        "labels, aggregate posterior against the prior",
    )
    groups.add_argument(
        "--ood",
        type=Path,
        metavar="PATH",
        help="does the score tell foreign images: those of a folder (scaled, cropped and made grey as the "
        "model wants them), an .npz or .npy file; and noise, inverted and rotated images, and those of the "
        "labels that fit --without withheld",
    )
    groups.add_argument(
        "--full", action="store_true", help="all groups that fit the data; --ood PATH may stand beside it"
    )
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from training.evaluate import evaluate_run, groups
    from training.evaluate.run_evaluation import add_group, likelihood_known
    from training.modalities import modality_of
    from training.models.devices import find_device, use_threads
    from training.runs import Run, load_run

    use_threads(args.threads)
    if args.ood is not None and not os.path.exists(args.ood):
        raise TrainingError(f"--ood {args.ood}: want a folder of images, an .npz or .npy file; not found")
    folder, loaded = Run(args.run), load_run(args.run)
    dataset = loaded.dataset()
    how = {"split": args.split, "seed": args.seed, "limit": args.images}
    wanted = _wanted(args, groups.applicable(loaded, dataset))
    device = find_device(args.device)
    asked = {"k": args.k, "decoder": args.decoder, "device": device.type, **how}
    metrics = likelihood_known(folder, **asked) if wanted else None
    if metrics is None:
        loaded.model.to(device)
        metrics = evaluate_run(folder, loaded, dataset, k=args.k, decoder=args.decoder, **how)
        loaded.model.cpu()  # where the groups are measured
    print(describe(metrics, modality_of(loaded.config).unit), flush=True)
    evaluated = groups.evaluated_model(loaded, dataset, step=metrics.protocol.step, **how)
    for name in wanted:
        group = groups.measure(name, loaded, evaluated, foreign=args.ood)
        metrics = add_group(folder, metrics, name, group)
        print(f"\n{name}, in {group.protocol['seconds']:.1f} s\n{group.describe()}", flush=True)
    print(f"written   {folder.metrics_file}")
    return 0


def _wanted(args: argparse.Namespace, applicable: tuple[str, ...]) -> tuple[str, ...]:
    """By name; what was asked for by name and does not fit the data is refused later, by its group."""
    if args.full:
        for name in {"samples", "latents"} - {*applicable}:
            print(f"{name}: left out, it does not fit the data: images want labels for it")
        return applicable
    asked = {"samples": args.samples, "latents": args.latents, "ood": args.ood is not None}
    return tuple(name for name, is_asked in asked.items() if is_asked)


def describe(metrics: "Metrics", unit: str) -> str:
    """A few lines for the terminal; ``unit`` is what the data consist of."""
    from training.evaluate.metrics import BITS

    protocol = metrics.protocol
    of = f" of {protocol.images_in_split:,}, at random" if protocol.images < protocol.images_in_split else ""
    how = {"dynamic": "binarised once, ", "none": "not binarised, "}[protocol.binarisation]
    how = how if unit == "images" else ""
    rounded = "" if protocol.decoder == "float32" else f" by a {protocol.decoder} decoder"
    lines = [
        f"evaluated {protocol.images:,} {protocol.split} {unit}{of}, {how}{protocol.likelihood}{rounded}, "
        f"step {protocol.step:,}, in {protocol.seconds:.1f} s ({protocol.images_per_second:,.0f} {unit}/s)"
    ]
    for name, figure in metrics.figures.items():
        error = "" if figure.standard_error is None else f" ± {figure.standard_error:.2g}"
        words = f"  {BITS[name]}" if name in BITS else ""
        lines.append(f"  {name:<22}{figure.value:>10,.2f}{error}{words}")
    return "\n".join(lines)
