import time

from serving.batching.cost_model import LONGEST_BATCH_S, Pace
from serving.batching.gathering import Arrivals
from serving.batching.loop_cost import LoopCost


def test_waiting_for_a_lock_does_not_make_a_graph_slow():
    """What is chosen goes by the quickest batch of late, what is promised by the mean."""
    pace = Pace(64)
    pace.observe(32, 32 * 5e-6)
    for _ in range(20):
        pace.observe(1, 0.005)
    assert pace.is_short(32)
    assert pace.rows_to_gather > 31
    assert not pace.is_worth_splitting(64)
    assert pace.seconds(10) > 10 * 0.004


def test_a_graph_that_has_become_slow_is_seen_as_slow():
    """The quickest pace is forgotten within some hundred batches."""
    pace = Pace(64)
    pace.observe(1, 5e-6)
    for _ in range(1000):
        pace.observe(1, 0.01)
    assert not pace.is_short(1)
    assert not pace.rows_to_gather
    assert pace.is_worth_splitting(2)


def test_batches_of_a_slow_graph_are_kept_short():
    """A row behind a batch waits for it; a batch of a slow graph has fewer rows than it might."""
    pace = Pace(64)
    pace.observe(1, 0.0005)
    assert pace.batch_rows(1000, 1) == int(LONGEST_BATCH_S / 0.0005)


def test_cheap_requests_leave_a_core_to_the_loop():
    """Many single rows keep the event loop as busy as an executor; few large requests do not."""
    pace = Pace(64)
    pace.observe(1, 0.00025)
    assert pace.executors(64, loop_s=64 * 0.0001, at_hand=4) == 3
    assert pace.executors(64, loop_s=64 * 0.00005, at_hand=4) == 4
    assert pace.executors(512, loop_s=8 * 0.0005, at_hand=4) == 4
    assert pace.executors(64, loop_s=64 * 0.0001, at_hand=1) == 1
    assert pace.executors(2, loop_s=2 * 0.0001, at_hand=4) == 1
    slow = Pace(64)
    slow.observe(1, 0.01)
    assert slow.executors(2, loop_s=2 * 0.0001, at_hand=2) == 2


def test_loop_cost_is_the_cpu_time_of_the_thread_a_request():
    """Work raises the mean towards what it takes; sleeping does not."""
    cost = LoopCost()
    presumed = cost.seconds
    for _ in range(32):
        time.sleep(0.001)
        cost.came()
    assert cost.seconds < presumed + 0.0003
    for _ in range(320):
        until = time.thread_time() + 0.001
        while time.thread_time() < until:
            pass
        cost.came()
    assert cost.seconds > 0.0008


def test_nothing_is_known_before_the_first_batch():
    """Then rows go to executors, none waits for others."""
    pace = Pace(64)
    assert not pace.is_short(1)
    assert not pace.rows_to_gather
    assert pace.batch_rows(1000, 2) == 64
    assert pace.executors(1, loop_s=0.0001, at_hand=2) == 2


def arrive(arrivals, gaps, start=0.0):
    for gap in gaps:
        start += gap
        arrivals.came(start)
    return start


def test_more_are_expected_only_while_requests_come_fast():
    """One pause among many requests changes nothing, a slow stream does."""
    arrivals = Arrivals()
    assert not arrivals.more_to_come
    now = arrive(arrivals, [0.0001] * 50 + [5.0] + [0.0001] * 10)
    assert arrivals.more_to_come
    arrive(arrivals, [0.005] * 10, now)
    assert not arrivals.more_to_come


def test_looking_out_in_vain_is_given_up_and_tried_again():
    """One caller at a time is fast, too, and must not be kept waiting for company that never comes."""
    arrivals, now, looked = Arrivals(), 0.0, 0
    for _ in range(320):
        now = arrive(arrivals, [0.0002], now)
        if arrivals.more_to_come:
            looked += 1
            arrivals.found(1)
    assert 10 <= looked <= 20
    now = arrive(arrivals, [0.0002] * 16, now)
    arrivals.found(12)
    assert arrivals.more_to_come


def test_arrivals_are_quiet_after_some_turns_without_one():
    """A request begins the count anew."""
    arrivals = Arrivals()
    arrivals.came(0.0)
    assert not any(arrivals.quiet() for _ in range(20))
    arrivals.came(0.1)
    turns = next(turn for turn in range(1000) if arrivals.quiet())
    assert 20 < turns < 100
