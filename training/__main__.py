"""``vae-train``, also ``python -m training``."""

import logging
import sys
from collections.abc import Sequence

from training.commands import evaluate, export, fit, import_onnx, pools, report
from training.commands.flags import Parser
from training.training_error import TrainingError

COMMANDS = (fit, evaluate, pools, export, import_onnx, report)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for what the user can put right, 128 + n after signal n."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
    try:
        args = parser().parse_args(arguments)
        code: int = args.command(args)
        return code
    except TrainingError as exc:
        line = " ".join(str(exc).split())
        print(f"vae-train: error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vae-train: interrupted", file=sys.stderr)
        return 130


def parser() -> Parser:
    """All commands."""
    top = Parser(prog="vae-train", description="Train variational autoencoders, export them as bundles.")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers)
    return top


if __name__ == "__main__":
    sys.exit(main())
