"""How a step runs on a GPU."""

from training.fit.gpu.graphed_step import GraphedStep, chosen_objective, is_recorded

__all__ = ["GraphedStep", "chosen_objective", "is_recorded"]
