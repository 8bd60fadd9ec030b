from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from serving.metrics.instruments import LoopCounter, LoopHistogram

BUCKETS = (0.001, 0.5, 1, 10)


@given(st.lists(st.floats(0, 20) | st.sampled_from(BUCKETS)))
def test_it_is_exposed_as_the_librarys_own(values):
    """For any observations the text of a scrape equals that of prometheus_client's histogram."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    fast = LoopHistogram("vae_x_seconds", "Help.", ("model",), buckets=BUCKETS, registry=ours)
    slow = Histogram("vae_x_seconds", "Help.", ("model",), buckets=BUCKETS, registry=theirs)
    for model in ("a", "b"):
        fast.labels(model)
        slow.labels(model)
    for value in values:
        fast.labels("a").observe(value)
        slow.labels("a").observe(value)

    assert lines(ours) == lines(theirs)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1000))))
def test_a_count_is_exposed_as_the_librarys_own(additions):
    """For any additions the text of a scrape equals that of prometheus_client's counter."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    fast = LoopCounter("vae_x", "Help.", ("model", "code"), registry=ours)
    slow = Counter("vae_x", "Help.", ("model", "code"), registry=theirs)
    for model, amount in additions:
        fast.labels(model, "OK").value += amount
        slow.labels(model, "OK").inc(amount)
    assert lines(ours) == lines(theirs)


def lines(registry):
    text = generate_latest(registry).decode().splitlines()
    return [line for line in text if "_created" not in line]
