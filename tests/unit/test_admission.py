"""Gates are decided on in one place: refused by name, or forced and recorded."""

import math

import pytest

from serving.bundle import Gate
from training.export.gates import Admission
from training.training_error import TrainingError


def gate(name: str, *, passed: bool = True) -> Gate:
    return Gate(name=name, wanted="a lot", came="little", passed=passed, forced=False)


def test_every_gate_that_failed_is_named():
    """Those noted before and those decided on now, in one line; what passed is not."""
    admission = Admission()
    admission.note(gate("parity", passed=False), figures=[0.5])
    wanted = "^gate parity: want a lot, came little; gate collapse: want .* little; nothing was written$"
    with pytest.raises(TrainingError, match=wanted):
        admission.decide(gate("finite"), gate("collapse", passed=False))


def test_forced_gates_are_recorded():
    """What failed is marked, what passed is not; the latest decision stands first."""
    admission = Admission(force=True)
    admission.decide(gate("finite"), gate("collapse", passed=False))
    admission.note(gate("parity"), figures=[0.0])
    admission.note(gate("precision int8", passed=False), figures=[0.7])
    record = {gate.name: (gate.passed, gate.forced) for gate in admission.decide()}
    assert list(record) == ["parity", "precision int8", "finite", "collapse"]
    assert [name for name, (passed, forced) in record.items() if forced] == ["precision int8", "collapse"]
    assert all(passed != forced for passed, forced in record.values())


@pytest.mark.parametrize("figure", [math.inf, math.nan])
def test_what_is_not_finite_cannot_be_forced(figure):
    """It has no place in a manifest, so it is refused before anything is made of it."""
    with pytest.raises(TrainingError, match="gate parity: "):
        Admission(force=True).note(gate("parity", passed=False), figures=[0.0, figure])
