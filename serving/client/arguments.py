"""The arguments of ``vae-client``."""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from serving.client import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Client
from serving.client.table_files.table_files import OUT as TABLES

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


Command: TypeAlias = Callable[[Client, argparse.Namespace], None]
_Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Unlike argparse's own, not silent where it cannot be written."""
        print(self.format_help(), end="", file=file)


def parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """That of all commands, by their names."""
    found = Parser(prog="vae-client", description="Call a vaeserve server.")
    places = found.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_sample(_add(places, commands, "sample", "draw new images or records"))
    _add_encode(_add(places, commands, "encode", "posteriors and pool probabilities of images or records"))
    decode = _add(places, commands, "decode", "images or records of latents")
    decode.add_argument("latents", type=Path, help=".npy, or .npz with the array latents or mean")
    _add_out(decode, ".png", ".npz", *TABLES)
    reconstruct = _add(places, commands, "reconstruct", "images or records encoded and decoded again")
    _add_data(reconstruct)
    _add_out(reconstruct, ".png", ".npz", *TABLES)
    _add_score(_add(places, commands, "score", "how well the model explains images or records, in nats"))
    _add_impute(_add(places, commands, "impute", "records with their empty cells filled"))
    _add_out(_add(places, commands, "map", "map of the latent space in two dimensions"), ".npz")
    known = "every version that the server knows of, its state and the reason of it"
    models = places.add_parser("models", help=known, description=f"{known.capitalize()}.")
    models.set_defaults(command=commands["models"])
    how = models.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="everything that is known, as JSON")
    how.add_argument("--columns", action="store_true", help="the columns of models of tables instead")
    _add_connection(models)
    return found


def _add(places: _Commands, commands: Mapping[str, Command], name: str, text: str) -> argparse.ArgumentParser:
    """A command that asks one model."""
    parser = places.add_parser(name, help=text, description=f"{text.capitalize()}.")
    parser.set_defaults(command=commands[name])
    parser.add_argument("--model", default="", help="name of the model (default: the only one there is)")
    parser.add_argument("--version", type=whole, default=0, help="of it (default: the highest in service)")
    _add_connection(parser)
    return parser


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=64, help="number of rows (default: 64)")
    _add_seed(parser, "gives the same rows again")
    parser.add_argument("--first-row", type=int, default=0, help="row of the seed to begin with (default: 0)")
    parser.add_argument("--stream", action="store_true", help="in one streamed call; records always are")
    parser.add_argument("--pool", help="pool to sample from (default: the prior)")
    parser.add_argument("--temperature", type=float, help="below 1 gives more typical rows (default: 1)")
    _add_out(parser, ".png", ".npz", *TABLES)
    group = _add_cells(parser)
    given = "cell that every record has, or cells as a JSON object; may be repeated"
    group.add_argument("--given", action="append", metavar="COLUMN=VALUE", help=given)
    _add_drawing(group)


def _add_encode(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    parser.add_argument("--latents", action="store_true", help="also one sample of each posterior")
    _add_seed(parser, "seed of these samples")
    _add_out(parser, ".npz", ".npy", *TABLES)


def _add_score(parser: argparse.ArgumentParser) -> None:
    group = _add_data(parser)
    group.add_argument("--by-column", action="store_true", help="also the distortion of each column")
    parser.add_argument("--samples", type=int, default=16, help="of each posterior (default: 16)")
    _add_seed(parser, "seed of these samples")
    _add_out(parser, ".npz", *TABLES, required=False)


def _add_impute(parser: argparse.ArgumentParser) -> None:
    group = _add_data(parser)
    group.add_argument("--draws", type=whole, default=1, help="of each record (default: 1)")
    _add_drawing(group)
    _add_seed(parser, "gives the same cells again")
    _add_out(parser, *TABLES)


def _add_seed(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--seed", type=int, help=f"{what} (default: drawn by the server)")


def _add_data(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """What is sent; gives the group of what goes for tables alone."""
    parser.add_argument(
        "images",
        metavar="DATA",
        type=Path,
        nargs="+",
        help="image files or folders of them, one .npy or .npz, or one .csv, .tsv, .parquet or .arrow file",
    )
    parser.add_argument("--fit", action="store_true", help="scale and crop image files of another size")
    group = _add_cells(parser)
    group.add_argument(
        "--absent",
        choices=("refuse", "unknown", "missing"),
        help="what a column is that the file does not have (default: refuse; of impute: unknown)",
    )
    return group


def _add_cells(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    group = parser.add_argument_group("tables")
    rare = "what a category is that the data did not have: refused, or one of the rest"
    group.add_argument("--unknown", choices=("refuse", "rest"), default="refuse", help=rare)
    return group


def _add_drawing(group: "argparse._ArgumentGroup") -> None:
    """How cells are drawn given others."""
    group.add_argument(
        "--observation-temperature", type=float, help="of the cells; 0 gives the most likely (default: 1)"
    )
    group.add_argument(
        "--samples", type=int, help="of each posterior, to choose from (default: the server's)"
    )


def _add_connection(parser: argparse.ArgumentParser) -> None:
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


def _add_out(parser: argparse.ArgumentParser, *suffixes: str, required: bool = True) -> None:
    def out(value: str) -> Path:
        path = Path(value)
        if path.suffix not in suffixes:
            raise argparse.ArgumentTypeError(
                f"want a file name that ends in {' or '.join(suffixes)}, came {value}"
            )
        return path

    kinds = [".png: a grid of images"] if ".png" in suffixes else []
    kinds += (
        [f"{' or '.join(arrays)}: arrays"] if (arrays := [s for s in suffixes if s.startswith(".np")]) else []
    )
    kinds += [".csv or .parquet: a table"] if TABLES[0] in suffixes else []
    unless = "" if required else " (default: print them)"
    parser.add_argument(
        "--out", type=out, required=required, help=f"file to write; {'; '.join(kinds)}{unless}"
    )
    if ".png" in suffixes:
        parser.add_argument("--columns", type=whole, help="columns of the grid")


def whole(text: str) -> int:
    """A number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"want a whole number from 1, came {text}")
    return int(text)
