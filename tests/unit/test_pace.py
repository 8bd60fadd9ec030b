from serving.arrivals import Arrivals
from serving.pace import LONGEST_BATCH_S, Pace


def test_waiting_for_a_lock_does_not_make_a_graph_slow():
    """What is chosen goes by the quickest batch of late, what is promised by the mean."""
    pace = Pace(64)
    pace.observe(32, 32 * 5e-6)
    for _ in range(20):
        pace.observe(1, 0.005)
    assert pace.is_short(32)
    assert pace.is_worth_gathering(31)
    assert not pace.is_worth_splitting(64)
    assert pace.seconds(10) > 10 * 0.004


def test_a_graph_that_has_become_slow_is_seen_as_slow():
    """The quickest pace is forgotten within some hundred batches."""
    pace = Pace(64)
    pace.observe(1, 5e-6)
    for _ in range(1000):
        pace.observe(1, 0.01)
    assert not pace.is_short(1)
    assert not pace.is_worth_gathering(1)
    assert pace.is_worth_splitting(2)


def test_batches_of_a_slow_graph_are_kept_short():
    """A row behind a batch waits for it; a batch of a slow graph has fewer rows than it might."""
    pace = Pace(64)
    pace.observe(1, 0.0005)
    assert pace.batch_rows(1000, 1) == int(LONGEST_BATCH_S / 0.0005)


def test_nothing_is_known_before_the_first_batch():
    """Then rows go to executors, none waits for others."""
    pace = Pace(64)
    assert not pace.is_short(1)
    assert not pace.is_worth_gathering(1)
    assert pace.batch_rows(1000, 2) == 64


def test_arrivals_are_dense_only_while_they_come_fast():
    """One pause among many requests changes nothing, a slow stream does."""
    arrivals, now = Arrivals(), 0.0
    assert not arrivals.dense
    for gap in [0.0001] * 50 + [5.0] + [0.0001] * 10:
        now += gap
        arrivals.came(now)
    assert arrivals.dense
    for _ in range(10):
        now += 0.005
        arrivals.came(now)
    assert not arrivals.dense


def test_arrivals_are_quiet_after_some_turns_without_one():
    """A request begins the count anew."""
    arrivals = Arrivals()
    arrivals.came(0.0)
    assert not any(arrivals.quiet() for _ in range(20))
    arrivals.came(0.1)
    turns = next(turn for turn in range(1000) if arrivals.quiet())
    assert 20 < turns < 100
