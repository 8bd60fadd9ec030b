"""The report of a model of a table."""

from training.evaluate.measured_run import MeasuredRun
from training.report.pictures.autoencoder_comparison import AutoencoderRun


def report_files(measured: MeasuredRun, *, beside: AutoencoderRun | None = None) -> dict[str, bytes]:
    """See ``training.report.run_report.report_files``."""
    raise NotImplementedError
