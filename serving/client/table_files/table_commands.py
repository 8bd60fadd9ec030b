"""What ``vae-client`` does with tables: a part of the file at a time, so that its size does not matter."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.client.client import Client
from serving.client.files import FileError, write_arrays
from serving.client.records.described_table import Table
from serving.client.results import Model, Scores
from serving.client.table_files.answered_columns import (
    figures_of,
    filled_in,
    joined,
    latent_columns,
    with_draws,
)
from serving.client.table_files.table_files import (
    OUT,
    Columns,
    columns_of,
    for_model,
    is_table,
    read_table,
    table_writer,
    whole_file,
)
from serving.errors import quoted

_OWN = 256
"""Records that tell what is usual."""
_GIVEN = "want COLUMN=VALUE, or an object as JSON has it"


@dataclass(frozen=True)
class _Part:
    """Some rows of a file."""

    columns: Columns
    sent: Columns
    """Those that the model is asked about."""
    first_row: int


@dataclass
class TableFile:
    """The table that a command was given, and the model that it is for."""

    path: Path
    model: Model
    table: Table

    @classmethod
    def of(cls, model: Model, paths: Sequence[Path]) -> "TableFile | None":
        """None for a model of images. Raises ValueError where files and model are of different kinds."""
        tables = [path for path in paths if is_table(path)]
        if model.table is None and tables:
            raise FileError(f"{tables[0]}: want images, came a table: model {model.name} is of images")
        if model.table is None:
            return None
        if len(tables) != len(paths):
            other = next(path for path in paths if path not in tables)
            wanted = "want a .csv, .tsv, .parquet or .arrow file"
            raise FileError(f"{other}: {wanted}: model {model.name} is of tables")
        if len(tables) > 1:
            raise FileError(f"{tables[1]}: want one table, came {len(tables)}")
        return cls(tables[0], model, model.table)

    def parts(self) -> Iterator[_Part]:
        first_row = 0
        for columns in read_table(self.path, self.table):
            sent = for_model(columns, self.table)
            yield _Part(columns, sent, first_row)
            first_row += len(next(iter(columns.values())))

    @property
    def which(self) -> dict[str, Any]:
        """The same version for all parts."""
        return {"model": self.model.name, "version": self.model.version}


def given_of(texts: Sequence[str] | None) -> dict[str, Any] | None:
    """``--given sex=Female``, or ``--given '{"age": 39}'``: cells by column. Raises ValueError."""
    found: dict[str, Any] = {}
    for text in texts or ():
        cells = _object(text) if text.lstrip().startswith("{") else None
        if cells is None:
            name, sign, value = text.partition("=")
            if not sign or not name:
                raise ValueError(f"--given: {_GIVEN}, came {quoted(text)}")
            cells = {name: value or None}
        for name, value in cells.items():
            if name in found:
                raise ValueError(f"--given: want each column once, came {quoted(name)} twice")
            found[name] = value
    return found or None


def _object(text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        raise ValueError(f"--given: {_GIVEN}, came {quoted(text)}") from None
    return found


def sample(client: Client, options: argparse.Namespace, model: Model) -> str:
    """Records as they come, into a file. Returns what was done."""
    if model.table is None:
        raise FileError(f"{options.out}: want .png or .npz: model {model.name} is of images")
    stream = client.sample_records_stream(
        count=options.count,
        given=given_of(options.given),
        seed=options.seed,
        first_row=options.first_row,
        pool=options.pool,
        temperature=options.temperature,
        observation_temperature=options.observation_temperature,
        samples=options.samples,
        unknown=options.unknown,
        model=model.name,
        version=model.version,
    )
    count, seed = 0, options.seed
    with table_writer(options.out) as writer:
        for part in stream:
            writer.write(columns_of(part.records, options.out))
            count, seed = count + len(part.records), part.seed
    return f"{count} records, seed {seed}"


def score(client: Client, options: argparse.Namespace, file: TableFile) -> str:
    """The table with the scores of its rows beside them. Returns what was done."""
    count, seed, usual = 0, options.seed, _usual_distortion(client, file)
    with table_writer(options.out) as writer:
        for part in file.parts():
            scores = _scored(client, options, file, part, seed)
            added = figures_of(scores, usual, by_column=options.by_column)
            if taken := next((name for name in added if name in part.columns), None):
                raise FileError(f"{file.path}: want no column {quoted(taken)}, which the scores have")
            writer.write({**part.columns, **added})
            count, seed = count + len(scores.nelbo), scores.seed
    return f"{count} scores, {options.samples} samples each, seed {seed}"


def scores_of(client: Client, options: argparse.Namespace, file: TableFile) -> dict[str, Any]:
    """The figures of all rows, to be shown."""
    found: list[dict[str, Any]] = []
    seed, usual = options.seed, _usual_distortion(client, file)
    for part in file.parts():
        scores = _scored(client, options, file, part, seed)
        found.append(figures_of(scores, usual, by_column=options.by_column))
        seed = scores.seed
    return {name: np.concatenate([np.asarray(part[name]) for part in found]) for name in found[0]}


def _usual_distortion(client: Client, file: TableFile) -> NDArray[Any]:
    """[columns] in nats, of records of the model's own, the same ones each time.

    By itself the distortion of a number, which may be so many things, is larger than that of a category.
    """
    drawn = client.sample_records(count=_OWN, seed=0, **file.which)
    found = client.score(images=drawn.records, samples=1, seed=0, **file.which).column_distortion
    return np.zeros(1) if found is None else found.mean(axis=0)


def _scored(
    client: Client, options: argparse.Namespace, file: TableFile, part: _Part, seed: int | None
) -> Scores:
    return client.score(
        images=part.sent,
        samples=options.samples,
        seed=seed,
        first_row=part.first_row,
        unknown=options.unknown,
        absent=options.absent,
        **file.which,
    )


def impute(client: Client, options: argparse.Namespace, file: TableFile) -> str:
    """The table with its empty cells filled. Returns what was done."""
    count, seed = 0, options.seed
    with table_writer(options.out) as writer:
        for part in file.parts():
            filled = client.impute(
                records=part.sent,
                draws=options.draws,
                samples=options.samples,
                seed=seed,
                observation_temperature=options.observation_temperature,
                first_row=part.first_row,
                unknown=options.unknown,
                absent=options.absent,
                **file.which,
            )
            found = filled_in(part.columns, columns_of(filled.records, options.out), options.draws)
            writer.write(with_draws(found, part.first_row, options.draws) if options.draws > 1 else found)
            count, seed = count + len(filled.records), filled.seed
    return f"{count} records, {options.draws} draws each, seed {seed}"


def encode(client: Client, options: argparse.Namespace, file: TableFile) -> str:
    """The posterior of each row, as a table or as arrays. Returns what was done."""
    posteriors, seed = [], options.seed
    for part in file.parts():
        posterior = client.encode(
            images=part.sent,
            latents=options.latents,
            seed=seed,
            pool_probabilities=True,
            first_row=part.first_row,
            unknown=options.unknown,
            absent=options.absent,
            **file.which,
        )
        posteriors.append(posterior)
        seed = posterior.seed if options.latents else seed
    arrays = joined(posteriors)
    if options.out.suffix == ".npz":
        pools = np.array(posteriors[0].pools) if posteriors[0].pools else None
        write_arrays(
            options.out, {**arrays, "pools": pools, "seed": None if seed is None else np.uint64(seed)}
        )
    elif options.out.suffix == ".npy":
        with whole_file(options.out) as out:
            np.save(out, arrays["mean"])
    else:
        with table_writer(options.out) as writer:
            writer.write(latent_columns(arrays, posteriors[0].pools))
    return f"{len(arrays['mean'])} posteriors"


def reconstruct(client: Client, options: argparse.Namespace, file: TableFile) -> str:
    """The most likely record of each row's posterior mean. Returns what was done."""
    count = 0
    if options.out.suffix not in OUT:
        raise FileError(f"{options.out}: want a name that ends in {' or '.join(OUT)} for records")
    with table_writer(options.out) as writer:
        for part in file.parts():
            rebuilt = client.reconstruct(
                images=part.sent, unknown=options.unknown, absent=options.absent, **file.which
            )
            writer.write(columns_of(rebuilt.records, options.out))
            count += len(rebuilt.records)
    return f"{count} reconstructions"
