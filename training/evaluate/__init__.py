"""The field's own measures of a trained model, with the protocol that they were taken by."""

from training.evaluate.estimates import PerImage, estimate
from training.evaluate.metrics import Figure, Metrics, Protocol, summarise
from training.evaluate.run_evaluation import evaluate_run, present_metrics

__all__ = [
    "Figure",
    "Metrics",
    "PerImage",
    "Protocol",
    "estimate",
    "evaluate_run",
    "present_metrics",
    "summarise",
]
