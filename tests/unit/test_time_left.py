"""The time that a training still takes, told from its own steps."""

import pytest

from training.runs import time_left
from training.runs.time_left import TimeLeft, in_words


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

    found = Clock()
    monkeypatch.setattr(time_left, "time", found)
    return found


def steps(told: TimeLeft, clock, count: int, seconds: float) -> None:
    for _ in range(count):
        clock.now += seconds
        told.stepped()


def test_a_slow_first_step_says_nothing(clock):
    """Not before two further steps is there an estimate, and it is theirs alone, with looks at a third."""
    told = TimeLeft(step=0, total=1000, look_every=100, look_in_steps=6)
    steps(told, clock, 1, 60.0)
    assert not told.is_known
    steps(told, clock, 1, 3.0)
    assert not told.is_known
    steps(told, clock, 1, 3.0)
    assert told.is_known
    assert told.seconds == pytest.approx(997 * 3 + 10 * 6)
    assert told.estimate().startswith("time      about 51 min for 997 steps of 3.0 s each")


def test_quick_steps_are_counted_for_a_while(clock):
    """Of a training of milliseconds a few steps are no measure."""
    told = TimeLeft(step=0, total=2000, look_every=2000, look_in_steps=0)
    steps(told, clock, 20, 0.01)
    assert not told.is_known
    steps(told, clock, 1, 0.01)
    assert told.estimate() == "time      about 20 s for 1,979 steps of 10 ms each"


def test_looks_count_as_they_were(clock):
    """A look that took longer than thought is expected to do so again; one at the very end counts as well."""
    told = TimeLeft(step=0, total=250, look_every=100, look_in_steps=3)
    steps(told, clock, 100, 1.0)
    clock.now += 20.0
    told.looked()
    assert told.seconds == pytest.approx(150 + 2 * 20)
    for rest in (100, 50):
        steps(told, clock, rest, 1.0)
        told.looked()
    assert told.seconds == pytest.approx(0)


def test_the_pace_follows_a_machine_that_slows_down(clock):
    """After some hundred steps at half the speed the time left has doubled."""
    told = TimeLeft(step=0, total=10_000, look_every=10_000, look_in_steps=0)
    steps(told, clock, 500, 1.0)
    steps(told, clock, 400, 2.0)
    assert told.seconds == pytest.approx(9100 * 2, rel=0.02)


def test_a_long_training_says_what_makes_it_shorter(clock):
    """The steps that fit into half an hour, in a number that can be typed; a short one says nothing of it."""
    told = TimeLeft(step=0, total=2000, look_every=2000, look_in_steps=0)
    steps(told, clock, 4, 7.0)
    said = told.estimate()
    assert "about 3 h 53 min" in said
    assert "--steps 250 would take 30 min at most" in said
    assert "--image-size" in said
    short = TimeLeft(step=0, total=200, look_every=200, look_in_steps=0)
    steps(short, clock, 4, 7.0)
    assert "\n" not in short.estimate()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (95, "2 min"), (3600, "60 min"), (13_980, "3 h 53 min"), (7200, "2 h 00 min")],
)
def test_in_words(seconds, words):
    """As precise as an estimate is."""
    assert in_words(seconds) == words


def test_steps_of_several_samples_are_dearer(clock):
    """Known before the first of them is timed: five samples are three times the work of one, in looks too."""
    told = TimeLeft(step=0, total=1000, look_every=500, look_in_steps=6, samples=5, single_steps=800)
    steps(told, clock, 10, 1.0)
    assert told.seconds == pytest.approx(790 + 200 * 3 + 2 * 6 * 3 / 3)
    assert told.estimate().startswith("time      about 23 min for 990 steps of 1.4 s each")
    steps(told, clock, 790, 1.0)
    steps(told, clock, 100, 3.0)
    assert told.seconds == pytest.approx(100 * 3 + 2 * 6 * 3 / 3)
