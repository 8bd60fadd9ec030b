"""What the arguments of ``vae-client``'s commands have in common."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from serving.client import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Unlike argparse's own, not silent where it cannot be written."""
        print(self.format_help(), end="", file=file)


def add_command(
    commands: "argparse._SubParsersAction[Parser]", name: str, command: object, text: str
) -> argparse.ArgumentParser:
    """A command that asks one model."""
    parser = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
    parser.set_defaults(command=command)
    parser.add_argument("--model", default="", help="name of the model (default: the only one there is)")
    parser.add_argument("--version", type=whole, default=0, help="of it (default: the highest in service)")
    add_connection(parser)
    return parser


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Where the server is, and how to speak to it."""
    group = parser.add_argument_group("connection; a bearer token is taken from VAE_TOKEN")
    address = os.environ.get("VAE_ADDRESS", DEFAULT_ADDRESS)
    group.add_argument(
        "--address",
        default=address,
        help=f"host:port for gRPC, http://host:port for HTTP, or VAE_ADDRESS (default: {address})",
    )
    group.add_argument("--tls", action="store_true", help="encrypt the connection; https:// implies it")
    group.add_argument(
        "--root-certificate", type=Path, help="PEM file to verify the server with; implies --tls"
    )
    group.add_argument(
        "--timeout", type=float, default=DEFAULT_TIMEOUT_S, help="seconds a call (default: 30)"
    )


def add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images", type=Path, nargs="+", help="image files or folders of them, or one .npy or .npz file"
    )
    parser.add_argument("--fit", action="store_true", help="scale and crop image files of another size")


def add_out(parser: argparse.ArgumentParser, *suffixes: str, required: bool = True) -> None:
    def out(value: str) -> Path:
        path = Path(value)
        if path.suffix not in suffixes:
            raise argparse.ArgumentTypeError(
                f"want a file name that ends in {' or '.join(suffixes)}, came {value}"
            )
        return path

    kinds = "a grid as .png, or arrays as .npz" if ".png" in suffixes else "arrays as .npz"
    unless = "" if required else " (default: print them)"
    parser.add_argument("--out", type=out, required=required, help=f"file to write: {kinds}{unless}")
    if ".png" in suffixes:
        parser.add_argument("--columns", type=whole, help="columns of the grid")


def whole(text: str) -> int:
    """A number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"want a whole number from 1, came {text}")
    return int(text)
