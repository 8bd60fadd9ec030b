"""``vae-client``: sample, encode, decode, reconstruct, score, map and models from the command line.

Exit status 0, 1 when the server refuses or cannot be reached, 2 for wrong arguments or files, told in a line.
"""

import argparse
import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.client import Client, Format, VaeError, files
from serving.client.arguments import Parser, add_command, add_connection, add_images, add_out
from serving.client.printed_tables import print_table, print_versions, print_versions_as_json
from serving.client.splitting import gathered
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
        options = _parser().parse_args(arguments)
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
    images, first = np.concatenate([part.images for part in parts]), parts[0]
    if as_arrays:
        latents = np.concatenate([part.latents for part in parts])
        files.write_arrays(options.out, {"images": images, "latents": latents, "seed": np.uint64(first.seed)})
    else:
        files.write_grid(options.out, images, columns=options.columns)
    _done(options.out, f"{len(images)} images, seed {first.seed}", first.model.name)


def _encode(client: Client, options: argparse.Namespace) -> None:
    images, names = files.read_images(options.images, client.model(**_which(options)), fit=options.fit)
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
    if options.out.suffix == ".png":
        files.write_grid(options.out, decoded.images, columns=options.columns)
    else:
        files.write_arrays(options.out, {"images": decoded.images})
    _done(options.out, f"{len(decoded.images)} images", decoded.model.name)


def _reconstruct(client: Client, options: argparse.Namespace) -> None:
    model = client.model(**_which(options))
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
    images, names = files.read_images(options.images, client.model(**_which(options)), fit=options.fit)
    scores = client.score(images=images, samples=options.samples, seed=options.seed, **_which(options))
    columns = {name: getattr(scores, name) for name in ("nelbo", "distortion", "rate", "nll", "quantile")}
    if options.out is None:
        known = {name: column for name, column in columns.items() if column is not None}
        rows = [
            [names[row] if names else str(row), *(f"{column[row]:.3f}" for column in known.values())]
            for row in range(len(images))
        ]
        print_table([["FILE" if names else "ROW", *map(str.upper, known)], *rows])
        return
    columns |= {"seed": np.uint64(scores.seed), "samples": scores.samples, "files": names and np.array(names)}
    files.write_arrays(options.out, columns)
    _done(options.out, f"{len(images)} scores, {scores.samples} samples each", scores.model.name)


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
    show = print_versions_as_json if options.json else print_versions
    show(client.versions())


def _which(options: argparse.Namespace) -> dict[str, Any]:
    return {"model": options.model, "version": options.version}


def _format(out: Path) -> Format:
    return "uint8" if out.suffix == ".png" else "float32"


def _done(out: Path, what: str, model: str) -> None:
    print(f"{out}: {what} from {model}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="vae-client", description="Call a vaeserve server.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    sample = add_command(commands, "sample", _sample, "draw new images")
    sample.add_argument("--count", type=int, default=64, help="number of images (default: 64)")
    sample.add_argument("--seed", type=int, help="gives the same images again (default: drawn by the server)")
    sample.add_argument("--first-row", type=int, default=0, help="row of the seed to begin with (default: 0)")
    sample.add_argument("--stream", action="store_true", help="in one streamed call instead of several")
    sample.add_argument("--pool", help="pool to sample from (default: the prior)")
    sample.add_argument("--temperature", type=float, help="below 1 gives more typical images (default: 1)")
    add_out(sample, ".png", ".npz")

    encode = add_command(commands, "encode", _encode, "posteriors and pool probabilities of images")
    add_images(encode)
    encode.add_argument("--latents", action="store_true", help="also one sample of each posterior")
    encode.add_argument("--seed", type=int, help="seed of these samples (default: drawn by the server)")
    add_out(encode, ".npz")

    decode = add_command(commands, "decode", _decode, "images of latents")
    decode.add_argument("latents", type=Path, help=".npy, or .npz with the array latents or mean")
    add_out(decode, ".png", ".npz")

    reconstruct = add_command(commands, "reconstruct", _reconstruct, "images encoded and decoded again")
    add_images(reconstruct)
    add_out(reconstruct, ".png", ".npz")

    score = add_command(commands, "score", _score, "how well the model explains images, in nats")
    add_images(score)
    score.add_argument("--samples", type=int, default=16, help="of each posterior (default: 16)")
    score.add_argument("--seed", type=int, help="seed of these samples (default: drawn by the server)")
    add_out(score, ".npz", required=False)

    latent_map = add_command(commands, "map", _map, "map of the latent space in two dimensions")
    add_out(latent_map, ".npz")

    known = "every version that the server knows of, its state and the reason of it"
    models = commands.add_parser("models", help=known, description=f"{known.capitalize()}.")
    models.set_defaults(command=_models)
    models.add_argument("--json", action="store_true", help="everything that is known, as JSON")
    add_connection(models)
    return parser


if __name__ == "__main__":
    sys.exit(main())
