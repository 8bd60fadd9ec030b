"""Foreign encoder and decoder graphs become a sealed bundle: read, bring into form, prove, seal."""

from training.import_onnx.foreign_bundle import import_onnx
from training.import_onnx.foreign_model import ForeignModel, from_diffusers

__all__ = ["ForeignModel", "from_diffusers", "import_onnx"]
