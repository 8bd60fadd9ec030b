"""From PyTorch to a sealed bundle."""

from training.export.bundle import Facts, export_bundle
from training.export.of_run import export_run

__all__ = ["Facts", "export_bundle", "export_run"]
