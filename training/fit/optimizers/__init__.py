"""What turns gradients into steps."""

from training.fit.optimizers.choice import build_optimizers

__all__ = ["build_optimizers"]
