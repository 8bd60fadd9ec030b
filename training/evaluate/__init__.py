"""The field's own measures of a trained model, with the protocol that they were taken by."""

from training.evaluate.estimates import PerImage, estimate
from training.evaluate.measured_run import MeasuredRun, measured_run
from training.evaluate.metrics import Figure, Metrics, Protocol, summarise
from training.evaluate.run_evaluation import evaluate_run, present_metrics

__all__ = [
    "Figure",
    "MeasuredRun",
    "Metrics",
    "PerImage",
    "Protocol",
    "estimate",
    "evaluate_run",
    "measured_run",
    "present_metrics",
    "summarise",
]
