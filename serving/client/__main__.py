"""``vae-client``: sample, encode, decode, reconstruct, score, impute, map and models from the command line.

Exit status 0, 1 when the server refuses or cannot be reached, 2 for wrong arguments or files, told in a line.
"""

import argparse
import io
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.client import Client, Decoded, Format, Samples, VaeError, files
from serving.client.arguments import Command, parser
from serving.client.printed_tables import print_columns, print_scores, print_versions, print_versions_as_json
from serving.client.splitting import gathered
from serving.client.table_files import table_commands
from serving.client.table_files.answered_columns import FIGURES
from serving.client.table_files.table_commands import TableFile
from serving.client.table_files.table_files import OUT as TABLES
from serving.client.table_files.table_files import columns_of, table_writer
from serving.wire import images as formats


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    logging.basicConfig(format="vae-client: %(message)s")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged files, which are named in a line
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal's encoding lacks ends nothing
        sys.stdout.reconfigure(errors="backslashreplace")
    status = None
    try:
        status = _run(arguments)
        print(end="", flush=True)
    except OSError as exc:
        if not _output_is_lost():
            raise
        if isinstance(exc, BrokenPipeError):  # whoever read the output, `head` for one, has seen enough
            return status or 0
        return _fail(f"standard output: {exc.strerror}", 1)
    return status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = parser(_COMMANDS).parse_args(arguments)
        with _connect(options) as client:
            options.command(client, options)
    except SystemExit:
        print(end="", flush=True)  # the help may not fit
        raise
    except VaeError as exc:
        return _fail(str(exc), 1)
    except ValueError as exc:
        return _fail(str(exc), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    return 0


def _output_is_lost() -> bool:
    """Whether standard output cannot be written; what is left for it is dropped, or Python tries again."""
    try:
        print(flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _fail(message: str, status: int) -> int:
    print(f"vae-client: {message}", file=sys.stderr)
    return status


def _connect(options: argparse.Namespace) -> Client:
    try:
        return Client(
            options.address,
            tls=options.tls,
            root_certificate=options.root_certificate,
            token=os.environ.get("VAE_TOKEN"),
            timeout_s=options.timeout,
        )
    except OSError as exc:
        raise ValueError(f"--root-certificate {options.root_certificate}: {exc.strerror}") from None


def _sample(client: Client, options: argparse.Namespace) -> None:
    if options.out.suffix in TABLES:
        model = client.model(**_which(options))
        return _done(options.out, table_commands.sample(client, options, model), model.name)
    as_arrays = options.out.suffix == ".npz"
    asked = {
        "seed": options.seed,
        "first_row": options.first_row,
        "pool": options.pool,
        "temperature": options.temperature,
        "format": _format(options.out),
        "latents": as_arrays,
        **_which(options),
    }
    if options.stream:
        parts = gathered(client.sample_stream(count=options.count, **asked), options.count)
    else:
        parts = [client.sample(count=options.count, **asked)]
    _check_is_of_images(options.out, parts[0])
    images, first = np.concatenate([part.images for part in parts]), parts[0]
    if as_arrays:
        latents = np.concatenate([part.latents for part in parts])
        files.write_arrays(options.out, {"images": images, "latents": latents, "seed": np.uint64(first.seed)})
    else:
        files.write_grid(options.out, images, columns=options.columns)
    _done(options.out, f"{len(images)} images, seed {first.seed}", first.model.name)


def _encode(client: Client, options: argparse.Namespace) -> None:
    model = client.model(**_which(options))
    if table := TableFile.of(model, options.images):
        return _done(options.out, table_commands.encode(client, options, table), model.name)
    _check_is_array(options.out)
    images, names = files.read_images(options.images, model, fit=options.fit)
    asked = {"pool_probabilities": True, "latents": options.latents, "seed": options.seed}
    posteriors = client.encode(images=images, **asked, **_which(options))
    content = {
        "mean": posteriors.mean,
        "log_var": posteriors.log_var,
        "latents": posteriors.latents,
        "seed": None if posteriors.seed is None else np.uint64(posteriors.seed),
        "pool_probabilities": posteriors.pool_probabilities,
        "pools": np.array(posteriors.pools) if posteriors.pools else None,
        "files": names and np.array(names),
    }
    files.write_arrays(options.out, content)
    _done(options.out, f"{len(posteriors.mean)} posteriors", posteriors.model.name)


def _decode(client: Client, options: argparse.Namespace) -> None:
    latents = files.read_array(options.latents, ("latents", "mean"))
    decoded = client.decode(latents=latents, format=_format(options.out), **_which(options))
    if options.out.suffix in TABLES and len(decoded.records):
        with table_writer(options.out) as writer:
            writer.write(columns_of(decoded.records, options.out))
        return _done(options.out, f"{len(decoded.records)} records", decoded.model.name)
    _check_is_of_images(options.out, decoded)
    if options.out.suffix == ".png":
        files.write_grid(options.out, decoded.images, columns=options.columns)
    else:
        files.write_arrays(options.out, {"images": decoded.images})
    _done(options.out, f"{len(decoded.images)} images", decoded.model.name)


def _reconstruct(client: Client, options: argparse.Namespace) -> None:
    model = client.model(**_which(options))
    if table := TableFile.of(model, options.images):
        return _done(options.out, table_commands.reconstruct(client, options, table), model.name)
    images, names = files.read_images(options.images, model, fit=options.fit)
    rebuilt = client.reconstruct(images=images, format=_format(options.out), latents=True, **_which(options))
    if options.out.suffix == ".png":
        given = images if images.dtype == np.uint8 else formats.to_uint8(images, model.value_range)
        columns = min(options.columns or 16, len(given))
        files.write_grid(options.out, files.over(given, rebuilt.images, columns), columns=columns)
    else:
        content = {"inputs": images, "images": rebuilt.images, "latents": rebuilt.latents}
        files.write_arrays(options.out, content | {"files": names and np.array(names)})
    _done(options.out, f"{len(rebuilt.images)} reconstructions", rebuilt.model.name)


def _score(client: Client, options: argparse.Namespace) -> None:
    model = client.model(**_which(options))
    if table := TableFile.of(model, options.images):
        return _score_table(client, options, table)
    if options.out is not None:
        _check_is_array(options.out)
    images, names = files.read_images(options.images, model, fit=options.fit)
    scores = client.score(images=images, samples=options.samples, seed=options.seed, **_which(options))
    columns = {name: getattr(scores, name) for name in FIGURES}
    if options.out is None:
        return print_scores({name: column for name, column in columns.items() if column is not None}, names)
    columns |= {"seed": np.uint64(scores.seed), "samples": scores.samples, "files": names and np.array(names)}
    files.write_arrays(options.out, columns)
    _done(options.out, f"{len(images)} scores, {scores.samples} samples each", scores.model.name)


def _score_table(client: Client, options: argparse.Namespace, table: TableFile) -> None:
    if options.out is None:
        print_scores(table_commands.scores_of(client, options, table))
    elif options.out.suffix in TABLES:
        _done(options.out, table_commands.score(client, options, table), table.model.name)
    else:
        raise files.FileError(f"{options.out}: want a name that ends in .csv or .parquet for records")


def _impute(client: Client, options: argparse.Namespace) -> None:
    model = client.model(**_which(options))
    table = TableFile.of(model, options.images)
    if table is None:
        raise ValueError(f"impute: want a model of tables, came {model.name}, which is of images")
    _done(options.out, table_commands.impute(client, options, table), model.name)


def _map(client: Client, options: argparse.Namespace) -> None:
    found = client.latent_map(**_which(options))
    pools = (
        client.model(options.model, version=found.model.version).pools if found.pool_of is not None else ()
    )
    content = {
        "points": found.points,
        "latents": found.latents,
        "label_of": found.label_of,
        "labels": np.array(found.labels) if found.labels else None,
        "pool_of": found.pool_of,
        "pools": np.array([pool.name for pool in pools]) if pools else None,
        "quantile": found.quantile,
    }
    files.write_arrays(options.out, content)
    _done(options.out, f"{len(found.points)} points", found.model.name)


def _models(client: Client, options: argparse.Namespace) -> None:
    show = print_versions_as_json if options.json else print_columns if options.columns else print_versions
    show(client.versions())


def _check_is_of_images(out: Path, result: Samples | Decoded) -> None:
    if len(result.records):
        wanted = " or ".join(TABLES)
        raise files.FileError(f"{out}: want {wanted}: model {result.model.name} is of tables")
    if out.suffix in TABLES:
        raise files.FileError(f"{out}: want .png or .npz: model {result.model.name} is of images")


def _check_is_array(out: Path) -> None:
    if out.suffix != ".npz":
        raise files.FileError(f"{out}: want a name that ends in .npz for images")


def _which(options: argparse.Namespace) -> dict[str, Any]:
    return {"model": options.model, "version": options.version}


def _format(out: Path) -> Format:
    return "uint8" if out.suffix == ".png" else "float32"


def _done(out: Path, what: str, model: str) -> None:
    print(f"{out}: {what} from {model}")


_COMMANDS: Mapping[str, Command] = {
    "sample": _sample,
    "encode": _encode,
    "decode": _decode,
    "reconstruct": _reconstruct,
    "score": _score,
    "impute": _impute,
    "map": _map,
    "models": _models,
}


if __name__ == "__main__":
    sys.exit(main())
