"""Data sets as tensors, whatever kind of data they hold; who reads them is ``training.modalities``."""

from training.data.dataset import Dataset, Spec, Split, to_unit

__all__ = ["Dataset", "Spec", "Split", "to_unit"]
