"""What the server does with every version that it knows of, for callers and for metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from serving.errors import plain
from serving.models.model import Model
from serving.models.refusals import Refusals
from serving.version_policy import Rule

State = Literal["ready", "loading", "refused", "available", "unloading", "missing"]
STATES: tuple[State, ...] = get_args(State)

_MOST_TOLD = 100
"""Versions of a model that are not in service."""
_LEAST_NEWS: tuple[State, ...] = ("loading", "available")
"""What is left out first."""

_LOADING = "it is being verified, loaded and warmed up, or waits for it"
_UNLOADING = "it left service; calls that began on it are being finished"
_MISSING = "it is not in the repository, though the server's version policy names it"


@dataclass(frozen=True)
class VersionState:
    name: str
    version: int
    state: State
    reason: str = ""
    """In words for callers; empty of one in service."""
    digest: str = ""
    """Of one that is loaded."""
    memory_bytes: int = 0
    """That it took as it was loaded."""
    is_default: bool = False


def states_of(
    name: str,
    rule: Rule,
    there: Sequence[Path],
    refused: Refusals,
    served: Sequence[Model],
    closing: Sequence[Model],
) -> list[VersionState]:
    """Of one model's versions, the highest first.

    Args:
        there: folders of the versions in the repository.
        served: versions in service, the highest first.
        closing: versions that left service and finish their calls.
    """
    by_number = {int(path.name): path for path in there}
    sound = [number for number, path in by_number.items() if path not in refused]
    due = set(rule.wanted(sound)[: rule.most])
    known: dict[int, VersionState] = {
        number: VersionState(name, number, "missing", _MISSING) for number in rule.named
    }
    for number, path in by_number.items():
        if path in refused:
            known[number] = VersionState(name, number, "refused", refused.for_callers(path))
        elif number in due:
            known[number] = VersionState(name, number, "loading", _LOADING)
        else:
            words = f"it is not chosen by the server's version policy, {plain(str(rule), 60)}"
            known[number] = VersionState(name, number, "available", words)
    for model in closing:
        if model.version not in due:
            known[model.version] = _loaded(model, "unloading", _UNLOADING)
    for model in served:
        known.pop(model.version, None)
    ready = [_loaded(model, "ready", is_default=model is served[0]) for model in served]
    return sorted([*ready, *known.values()], key=lambda state: -state.version)


def to_be_told(states: list[VersionState]) -> list[VersionState]:
    """Of one model those in service and some of the others: somebody may have left thousands behind."""
    others = [state for state in states if state.state != "ready"]
    others.sort(key=lambda state: state.state in _LEAST_NEWS)
    left_out = {state.version for state in others[_MOST_TOLD:]}
    return [state for state in states if state.version not in left_out]


def _loaded(model: Model, state: State, reason: str = "", *, is_default: bool = False) -> VersionState:
    return VersionState(
        model.name, model.version, state, reason, model.digest, model.memory_bytes, is_default
    )
