import time

import pytest

from serving.batching.cost_model import LONGEST_BATCH_S, CostModel
from serving.batching.gathering import Gathering
from serving.batching.loop_cost import LoopCost


def test_waiting_for_a_lock_does_not_make_a_graph_slow():
    """What is chosen goes by the quickest batch of late, what is promised by what is typical."""
    cost = CostModel(64)
    cost.observe(32, 32 * 5e-6)
    for _ in range(40):
        cost.observe(1, 0.005)
    assert cost.is_short(32)
    assert cost.rows_to_gather > 31
    assert not cost.is_worth_splitting(64)
    assert cost.seconds(1) > 0.004


def test_a_graph_that_has_become_slow_is_seen_as_slow():
    """The quickest pace is forgotten within some hundred batches."""
    cost = CostModel(64)
    cost.observe(1, 5e-6)
    for _ in range(1000):
        cost.observe(1, 0.01)
    assert not cost.is_short(1)
    assert not cost.rows_to_gather
    assert cost.is_worth_splitting(2)


def test_batches_of_a_slow_graph_are_kept_short():
    """A row behind a batch waits for it; a batch of a slow graph has fewer rows than it might."""
    cost = CostModel(64)
    cost.observe(1, 0.0005)
    assert cost.batch_rows(1000, 1) == int(LONGEST_BATCH_S / 0.0005)


def test_cheap_requests_leave_a_core_to_the_loop():
    """Many single rows keep the event loop as busy as an executor; few large requests do not."""
    cost = CostModel(64)
    cost.observe(1, 0.00025)
    assert cost.executors(64, loop_s=64 * 0.0001, at_hand=4) == 3
    assert cost.executors(64, loop_s=64 * 0.00005, at_hand=4) == 4
    assert cost.executors(512, loop_s=8 * 0.0005, at_hand=4) == 4
    assert cost.executors(64, loop_s=64 * 0.0001, at_hand=1) == 1
    assert cost.executors(2, loop_s=2 * 0.0001, at_hand=4) == 1
    slow = CostModel(64)
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


def test_single_rows_say_nothing_of_full_batches():
    """What a batch costs by itself is told from what a row costs: 4,096 rows are not 4,096 single ones."""
    cost = CostModel(64)
    cost.observe(1, 0.001)
    cost.observe(64, 0.003)
    for _ in range(1000):
        cost.observe(1, 0.002)
    assert cost.seconds(1) == pytest.approx(0.002, rel=0.05)
    assert cost.seconds(4096) == pytest.approx(64 * 0.003, rel=0.05)
    assert cost.seconds(32) == pytest.approx(0.0025, rel=0.1)


def test_a_size_that_was_never_seen_is_no_reason_to_refuse():
    """After single rows alone a batch may take as long as one of them, for all that is known; it is run smaller."""
    cost = CostModel(64)
    for _ in range(100):
        cost.observe(1, 0.001)
    assert cost.seconds(4096) == pytest.approx(410 * 0.001, rel=0.05)
    assert cost.batch_rows(4096, 1) == 10


def test_full_batches_say_nothing_of_single_rows():
    """The other way round, and in between both ends learn."""
    cost = CostModel(64)
    cost.observe(1, 0.001)
    cost.observe(64, 0.002)
    for _ in range(1000):
        cost.observe(64, 0.010)
    assert cost.seconds(64) == pytest.approx(0.010, rel=0.05)
    assert cost.seconds(1) == pytest.approx(0.001, rel=0.05)
    for _ in range(1000):
        cost.observe(33, 0.010)
    assert cost.seconds(33) == pytest.approx(0.010, rel=0.05)


def test_a_stall_is_no_pace():
    """One batch that took 6 s among many that took 1 ms moves the promise by a little, not a thousandfold."""
    cost = CostModel(64)
    for _ in range(50):
        cost.observe(1, 0.001)
    cost.observe(1, 6.0)
    assert cost.seconds(1) < 0.003
    for _ in range(50):
        cost.observe(1, 0.001)
    assert cost.seconds(1) == pytest.approx(0.001, rel=0.05)


def test_refusals_change_nothing_but_the_promise():
    """Neither the size of batches nor where they run follows from what impatient callers ask for, and the promise is
    as before once a batch has run."""
    cost = CostModel(64)
    cost.observe(8, 0.2)
    before = cost.promised_s(64)
    assert cost.batch_rows(4096, 1) == 8
    for _ in range(100):
        cost.refused()
    assert cost.batch_rows(4096, 1) == 8
    assert cost.is_worth_splitting(8)
    assert not cost.is_short(1)
    cost.observe(8, 0.2)
    assert cost.promised_s(64) == pytest.approx(before)


def test_refusals_heal_a_wrong_promise():
    """A cost that keeps every request out would never be corrected: each refusal takes a tenth off."""
    cost = CostModel(64)
    cost.observe(1, 1.0)
    refusals = 0
    while cost.promised_s(1) > 0.1:
        cost.refused()
        refusals += 1
    assert 10 < refusals < 40


def test_nothing_is_known_before_the_first_batch():
    """Then rows go to executors, none waits for others."""
    cost = CostModel(64)
    assert not cost.is_short(1)
    assert not cost.rows_to_gather
    assert cost.batch_rows(1000, 2) == 64
    assert cost.executors(1, loop_s=0.0001, at_hand=2) == 2


def arrive(gathering, gaps, start=0.0):
    for gap in gaps:
        start += gap
        gathering.came(start)
    return start


def test_more_are_expected_only_while_requests_come_fast():
    """One pause among many requests changes nothing, a slow stream does."""
    gathering = Gathering()
    assert not gathering.more_to_come
    now = arrive(gathering, [0.0001] * 50 + [5.0] + [0.0001] * 10)
    assert gathering.more_to_come
    arrive(gathering, [0.005] * 10, now)
    assert not gathering.more_to_come


def test_looking_out_in_vain_is_given_up_and_tried_again():
    """One caller at a time is fast, too, and must not be kept waiting for company that never comes."""
    gathering, now, looked = Gathering(), 0.0, 0
    for _ in range(320):
        now = arrive(gathering, [0.0002], now)
        if gathering.more_to_come:
            looked += 1
            gathering.found(1)
    assert 10 <= looked <= 20
    now = arrive(gathering, [0.0002] * 16, now)
    gathering.found(12)
    assert gathering.more_to_come


def test_gathering_are_quiet_after_some_turns_without_one():
    """A request begins the count anew."""
    gathering = Gathering()
    gathering.came(0.0)
    assert not any(gathering.quiet() for _ in range(20))
    gathering.came(0.1)
    turns = next(turn for turn in range(1000) if gathering.quiet())
    assert 20 < turns < 100
