from hypothesis import given
from hypothesis import strategies as st

from serving.models.version_states import STATES, VersionState, to_be_told


@given(st.lists(st.sampled_from(STATES), max_size=300))
def test_what_is_in_service_or_wrong_is_told_first(kinds):
    """Of thousands of folders a hundred are told of, the highest first: all in service, then what went wrong, and of
    those that wait or are not chosen as many as there is room for."""
    states = [VersionState("toy", len(kinds) - place, kind) for place, kind in enumerate(kinds)]
    told = to_be_told(states)
    assert [state for state in told if state.state == "ready"] == [s for s in states if s.state == "ready"]
    assert told == sorted(told, key=lambda state: -state.version)
    others = [state for state in states if state.state != "ready"]
    kept = [state for state in told if state.state != "ready"]
    assert len(kept) == min(100, len(others))
    news = [state for state in others if state.state in ("refused", "unloading", "missing")]
    assert [state for state in kept if state in news] == news[:100]
