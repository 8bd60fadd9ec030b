"""Parity: the difference between a graph and its module, at every batch size."""

import math

import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from training.export.gates import Admission, parity_gate
from training.export.parity import parity
from training.training_error import TrainingError

ROWS = {"x": torch.rand(5, 3)}


@pytest.fixture(scope="module")
def content() -> bytes:
    """y = x + x"""
    shape = ["batch", 3]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


class Scaled(nn.Module):
    """Twice the input, but for batches of ``odd``: there off by ``error``."""

    def __init__(self, odd: int = 0, error: float = 0.0) -> None:
        super().__init__()
        self.odd, self.error = odd, error

    def forward(self, x):
        return 2 * x + (self.error if len(x) == self.odd else 0.0)


def test_same_computation_has_parity(content):
    """Fewer rows than the largest batch are repeated; the gate passes."""
    differences = parity(content, Scaled(), ROWS)
    assert list(differences) == ["1", "2", "3", "7", "64"]
    assert max(differences.values()) < 1e-6
    Admission().decide(parity_gate({"decoder": differences}))


def test_difference_at_one_batch_size_is_found_and_named(content):
    """What differs at batch 7 alone fails the gate, which names graph and batch."""
    differences = parity(content, Scaled(odd=7, error=0.02), ROWS)
    assert differences["7"] == pytest.approx(0.02, rel=1e-4)
    assert differences["64"] < 1e-6
    with pytest.raises(TrainingError, match=r"gate parity.* encoder 0 at batch 1, decoder 0\.02 at batch 7"):
        Admission().decide(parity_gate({"encoder": {"1": 0.0}, "decoder": differences}))


def test_not_a_number_is_no_parity(content):
    """NaN on both sides agrees with nothing."""
    differences = parity(content, Scaled(), {"x": torch.full((2, 3), math.nan)})
    assert all(math.isinf(value) for value in differences.values())
