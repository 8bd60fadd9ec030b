"""``vae-train export``: a run becomes a sealed bundle in a model repository."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands.flags import path_flag
from training.commands.numeric_options import COUNT

if TYPE_CHECKING:
    from serving.bundle import Bundle


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    parser = subparsers.add_parser(
        "export",
        help="seal a run as a bundle",
        description="Export encoder and decoder to ONNX, prove that they compute what PyTorch computes, "
        "fit the pools, and seal all of it as <repository>/<name>/<version>/.",
    )
    parser.add_argument("--run", type=Path, required=True, help="run folder")
    parser.add_argument("--repository", type=Path, default=Path("models"), help="(default: models)")
    parser.add_argument("--name", help="model name (default: made from the name of the run folder)")
    parser.add_argument("--version", type=COUNT, help="(default: one more than the highest that is there)")
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="METRIC<=NUMBER",
        help="a gate on a metric of the evaluation, with <=, >=, < or >; 'nll' is the nll_<k> measured; "
        "repeatable",
    )
    parser.add_argument(
        "--force", action="store_true", help="seal although gates fail; the manifest records which"
    )
    parser.add_argument(
        "--pools",
        choices=("auto", "labels", "mixture", "aggregate"),
        default="auto",
        help="the kinds of data: labels, or found without them by a Gaussian mixture; aggregate: none "
        "(default: auto, labels where there are any, else a mixture)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "int8", "float16"),
        default="float32",
        help="of the decoder; int8 for CPUs, float16 for GPUs, admitted if they cost at most 0.5 nats of "
        "−ELBO; metrics and --require are of the float32 decoder (default: float32)",
    )
    parser.add_argument(
        "--no-projection",
        dest="projection",
        action="store_false",
        help="leave out where validation images lie in the latent space (projection.safetensors): then the "
        "explorer and GetLatentMap have no map of it",
    )
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from training.commands.evaluate import describe
    from training.evaluate.measured_run import measured_run
    from training.export import check_request, export_run
    from training.modalities import modality_of
    from training.report import report_files
    from training.runs import Run, load_run

    name = Run(args.run).model_name if args.name is None else args.name
    check_request(args.repository, name, args.version, args.require)
    measured = measured_run(Run(args.run), load_run(args.run), pools=args.pools)
    bundle = export_run(
        measured,
        repository=args.repository,
        name=name,
        version=args.version,
        report=report_files(measured),
        require=args.require,
        force=args.force,
        precision=args.precision,
        projection=args.projection,
    )
    print(describe(measured.metrics, modality_of(measured.loaded.config).unit))
    print(describe_bundle(bundle))
    print(f"next:\n  {shlex.join(['vae-serve', *path_flag('--repository', args.repository)])}")
    return 0


def describe_bundle(bundle: "Bundle") -> str:
    """A few lines for the terminal."""
    from serving.bundle import PROJECTION

    manifest = bundle.manifest
    size = sum(entry.size for entry in manifest.files.values())
    lines = [f"sealed    {bundle.root}", f"digest    sha256 {bundle.digest}"]
    lines.append(f"size      {size / 1e6:,.2f} MB in {len(manifest.files)} files, read back and verified")
    for role, graph in manifest.graphs.items():
        if not graph.parity:  # a graph from outside, proved against its own file
            continue
        worst, batches = max(graph.parity.values()), ", ".join(graph.parity)
        relative = ", relative to the nats" if role == "score" else ""
        relative += "" if graph.precision == "float32" else f", in {graph.precision}"
        lines.append(f"parity    {role}: within {worst:.1e} of PyTorch{relative}, batches {batches}")
    lines.append(f"pools     {', '.join(pool.name for pool in manifest.pools) or 'none'}")
    if PROJECTION in manifest.files:
        lines.append(f"map       {PROJECTION}: where held-out images lie; --no-projection leaves it out")
    for gate in manifest.training.gates:
        if gate.forced:
            lines.append(f"FORCED    gate {gate.name}: want {gate.wanted}, came {gate.came}")
    return "\n".join(lines)
