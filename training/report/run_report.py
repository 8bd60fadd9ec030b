"""Write the report of a run folder."""

import os
from collections.abc import Mapping
from pathlib import Path

from training.evaluate.measured_run import MeasuredRun, measured_run
from training.modalities import modality_of
from training.report import image_report, table_report
from training.report.pictures.autoencoder_comparison import AutoencoderRun, load_autoencoder
from training.runs import Run, load_run
from training.training_error import TrainingError

OF_MODALITY = {"image": image_report.report_files, "table": table_report.report_files}
OWN_SUFFIXES = frozenset({".html", ".png", ".gif", ".json"})


def write_report(path: Path, *, beside: Path | None = None) -> list[Path]:
    """Write page and pictures of a run into its ``report`` folder; the page comes first.

    A run without an evaluation of its present weights is evaluated quickly first.

    Args:
        beside: run folder of an autoencoder of the same data, to stand beside this one.

    Raises:
        TrainingError: not a run, the wrong run for ``beside``, or a folder that cannot be written.
    """
    run, loaded = Run(path), load_run(path)
    other = None if beside is None else load_autoencoder(beside, run, loaded)
    return _written(run.report, report_files(measured_run(run, loaded), beside=other))


def report_files(measured: MeasuredRun, *, beside: AutoencoderRun | None = None) -> dict[str, bytes]:
    """File name to content: ``index.html``, its pictures as files of their own, and ``metrics.json``.

    Raises:
        TrainingError: an autoencoder ``beside`` data that have no such comparison.
    """
    return OF_MODALITY[modality_of(measured.loaded.config).name](measured, beside=beside)


def _written(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Each file whole or not at all; pictures of an earlier report that this one has not are removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            partial = folder / f".{name}.partial"
            partial.write_bytes(content)
            os.replace(partial, folder / name)
        for old in folder.iterdir():
            if old.suffix in OWN_SUFFIXES and old.name not in files:
                old.unlink()
    except OSError as exc:
        raise TrainingError(f"{folder}: cannot be written: {exc.strerror}") from None
    return [folder / name for name in files]
