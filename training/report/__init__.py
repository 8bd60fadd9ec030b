"""The report of a run: its pictures and figures."""

from training.report.of_run import write_report
from training.report.pictures import pictures

__all__ = ["pictures", "write_report"]
