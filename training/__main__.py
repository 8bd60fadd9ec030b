"""``vae-train``, also ``python -m training``."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from training.commands import evaluate, export, fit, import_onnx, pools, report
from training.commands.flags import Parser
from training.training_error import TrainingError

COMMANDS = (fit, evaluate, pools, export, import_onnx, report)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, 2 for what the user can put right, 128 + n after signal n."""
    logging.basicConfig(format="%(message)s")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged files, which are named in a line
    logging.getLogger("training").setLevel(logging.INFO)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks ends nothing
        sys.stdout.reconfigure(errors="backslashreplace")
    code = None
    try:
        code = _run(arguments)
        print(end="", flush=True)
    except OSError as exc:
        if not _output_is_lost():
            raise
        if code is None or not isinstance(exc, BrokenPipeError):  # else `head` for one has seen enough
            print(f"vae-train: error: standard output: {exc.strerror}", file=sys.stderr)
            return code or 1
    return code or 0


def _run(arguments: Sequence[str] | None) -> int:
    try:
        args = parser().parse_args(arguments)
        code: int = args.command(args)
        return code
    except SystemExit:
        print(end="", flush=True)  # the help may not fit
        raise
    except TrainingError as exc:
        line = " ".join(str(exc).split())
        print(f"vae-train: error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vae-train: interrupted", file=sys.stderr)
        return 130
    except RuntimeError as exc:
        if type(exc).__name__ != "OutOfMemoryError":  # torch's, which is not imported for it
            raise
        print("vae-train: error: the GPU has too little memory left; want --device cpu", file=sys.stderr)
        return 2


def _output_is_lost() -> bool:
    """Whether standard output cannot be written; what is left for it is dropped, or Python tries again."""
    try:
        print(flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def parser() -> Parser:
    """All commands."""
    top = Parser(prog="vae-train", description="Train variational autoencoders, export them as bundles.")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers)
    return top


if __name__ == "__main__":
    sys.exit(main())
