"""``vae-train export``: a run becomes a sealed bundle in a model repository."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    parser.add_argument("--name", help="model name (default: the name of the run folder)")
    parser.add_argument("--version", type=int, help="(default: one more than the highest that is there)")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from training.commands.evaluate import describe
    from training.export import export_run

    name = args.name or args.run.resolve().name
    bundle, metrics = export_run(args.run, repository=args.repository, name=name, version=args.version)
    print(describe(metrics))
    print(describe_bundle(bundle))
    print(f"next:\n  {shlex.join(['vae-serve', '--repository', str(args.repository)])}")
    return 0


def describe_bundle(bundle: "Bundle") -> str:
    """A few lines for the terminal."""
    manifest = bundle.manifest
    size = sum(entry.size for entry in manifest.files.values())
    lines = [f"sealed    {bundle.root}", f"digest    sha256 {bundle.digest}"]
    lines.append(f"size      {size / 1e6:,.2f} MB in {len(manifest.files)} files, read back and verified")
    for role, graph in manifest.graphs.items():
        worst, batches = max(graph.parity.values()), ", ".join(graph.parity)
        lines.append(f"parity    {role}: within {worst:.1e} of PyTorch, batches {batches}")
    lines.append(f"pools     {', '.join(pool.name for pool in manifest.pools)}")
    return "\n".join(lines)
