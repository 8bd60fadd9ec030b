"""The report of a run: one page with its pictures and figures."""

from training.report.run_report import report_files, write_report

__all__ = ["report_files", "write_report"]
