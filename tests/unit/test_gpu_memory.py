"""Memory of a GPU and of the host beside it, with a driver that is played: what real ones do is in test_cuda."""

import ctypes
import gc
import logging
import threading
import time

import numpy as np
import pytest

from serving.batching.executors import Executors
from serving.bundle import UnreadableBundle
from serving.errors import StartupError
from serving.metrics.registry import Metrics
from serving.models import golden
from serving.models.loading import load
from serving.runtime import buffers, cuda_driver, providers
from serving.runtime.buffers import DeviceBuffer, HostBuffer
from tests.support import patience, toy
from tests.support.patience import wait_until
from tests.unit.test_bound_runs import BOUND, Failing, latents, session


class Played:
    """The driver, with memory of the host on both sides."""

    def __init__(self):
        self.kept = {}
        self.pinned_bytes = 0
        self.has_pinned = True
        self.unwanted_addresses = []

    def allocate(self, size):
        memory = ctypes.create_string_buffer(size)
        self.kept[ctypes.addressof(memory)] = memory
        return ctypes.addressof(memory)

    def allocate_pinned(self, size):
        if not self.has_pinned:
            raise MemoryError("no pinned memory")
        self.pinned_bytes += size
        return self.allocate(size)

    def unwanted(self, address):
        self.unwanted_addresses.append(address)

    def unwanted_pinned(self, address, size):
        self.pinned_bytes -= size
        self.unwanted_addresses.append(address)

    def to_device(self, address, array, *, hold):
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def to_host(self, array, address, *, hold):
        ctypes.memmove(array.ctypes.data, address, array.nbytes)


@pytest.fixture
def played(monkeypatch):
    driver = Played()
    monkeypatch.setattr(buffers, "driver", lambda: driver)
    monkeypatch.setattr(buffers, "_LENT_BYTES", 64)
    return driver


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    return toy.make_bundle(tmp_path_factory.mktemp("gpu") / "models", with_score=True)


def written(buffer, value):
    buffer.write(np.full((8, 4), value, np.float32))
    return buffer


def test_what_is_read_stays_as_it_was_however_long_it_is_kept(played):
    """Replies keep slices of memory that is lent to them; more of them than there are blocks get copies."""
    buffer = DeviceBuffer((8, 4))
    kept = [written(buffer, value).read(8)[2:5] for value in range(12)]
    gc.collect()
    for value, rows in enumerate(kept):
        assert (rows == value).all()
    assert (written(buffer, 99).read(1) == 99).all()
    assert [rows[0, 0] for rows in kept] == list(range(12))


def test_memory_that_is_lent_comes_back(played):
    """Once nobody has a slice any more; so no more is taken, however many replies there were."""
    buffer = DeviceBuffer((8, 4))
    for value in range(50):
        rows = written(buffer, value).read(8)
        assert (rows == value).all()
        del rows
    assert played.pinned_bytes <= 3 * 8 * 4 * 4


def test_without_more_pinned_memory_there_are_copies(played):
    """A batch whose answer could be read is not lost for it; and when there is memory again, it is lent again."""
    buffer = DeviceBuffer((8, 4))
    written(buffer, 1).read(1)
    played.has_pinned = False
    kept = [written(buffer, value).read(8) for value in range(6)]
    assert [rows[0, 0] for rows in kept] == list(range(6))
    played.has_pinned = True
    before = played.pinned_bytes
    assert (written(buffer, 7).read(8) == 7).all()
    assert played.pinned_bytes > before


def test_memory_is_given_back_to_be_freed_by_the_thread_that_records(played):
    """Not where the last reference happens to go, which may be while another thread records."""
    buffer = DeviceBuffer((8, 4))
    rows = written(buffer, 3).read(8)
    taken = set(played.kept)
    del buffer
    gc.collect()
    assert (rows == 3).all()
    del rows
    gc.collect()
    assert set(played.unwanted_addresses) == taken
    assert played.pinned_bytes == 0


def test_a_load_that_never_ends_holds_up_no_shutdown():
    """It is left behind, as loads on threads of their own are; what waits for it is told."""
    executors, begun, end = Executors(1), threading.Event(), threading.Event()
    told = []

    def endless():
        begun.set()
        end.wait(patience.SECONDS)

    def asks(work):
        try:
            executors.call(work)
        except RuntimeError as exc:
            told.append(str(exc))

    waiting = [threading.Thread(target=asks, args=(work,)) for work in (endless, time.time)]
    for thread in waiting:
        thread.start()
        begun.wait(patience.SECONDS)
    executors.shutdown()
    for thread in waiting:
        thread.join(patience.SECONDS)
    with pytest.raises(RuntimeError, match="shut down"):
        executors.call(time.time)
    end.set()
    assert told == ["the executors are shut down"] * 2


def test_a_bucket_whose_first_run_failed_is_made_anew(sealed):
    """It may not have been recorded."""
    bound = session(sealed, BOUND)
    failing = bound._bound._session = Failing(bound._session)
    failing.says = "CUDA failure 700"
    with pytest.raises(RuntimeError):
        bound(latents(sealed, 3))
    assert not bound._bound._buckets
    failing.says = None
    assert len(bound(latents(sealed, 3))[0]) == 3


def test_what_is_warm_waits_for_no_other_model(sealed):
    """While a session is made, which takes seconds, other models' batches run; a first run waits."""
    executors = Executors(1)
    bound = session(sealed, BOUND, turn=executors.call)
    bound(latents(sealed, 2))
    cold = threading.Thread(target=lambda: bound(latents(sealed, 5)))
    with cuda_driver.alone:
        cold.start()
        assert len(bound(latents(sealed, 2))[0]) == 2
        assert len(bound._bound._buckets) == 1
    cold.join(patience.SECONDS)
    wait_until(lambda: len(bound._bound._buckets) == 2)
    executors.shutdown()


def test_memory_that_is_short_for_golden_rows_is_no_fault_of_the_bundle(sealed, monkeypatch):
    """It is tried again when there may be more, and what was taken is given back."""

    def short(*_):
        raise MemoryError("the GPU has no memory left")

    monkeypatch.setattr(golden, "_answers", short)
    with pytest.raises(UnreadableBundle, match="the model does not fit into memory"):
        load(sealed, BOUND, 8)


def test_a_closed_session_is_not_run(sealed):
    """Its memory is gone."""
    bound = session(sealed, BOUND, pixels_of=(0.0, 1.0))
    bound(latents(sealed, 2))
    bound.pixels(latents(sealed, 2))
    bound.close()
    with pytest.raises(RuntimeError, match="closed"):
        bound(latents(sealed, 2))


def test_a_gpu_that_does_not_answer_leaves_the_other_metrics():
    """Of a lost GPU the page is what tells why there are no answers."""
    metrics, lost = Metrics(), []

    def memory():
        if lost:
            raise RuntimeError("NVIDIA's driver: cuMemGetInfo_v2 gave 700")
        return 3, 10

    metrics.watch_gpu(memory)
    read = metrics.registry.get_sample_value
    assert [read("vae_gpu_memory_bytes", {"state": state}) for state in ("used", "total")] == [3, 10]
    lost.append(True)
    assert np.isnan(read("vae_gpu_memory_bytes", {"state": "used"}))


def test_engines_are_kept_where_they_can_be_written(tmp_path, monkeypatch):
    """A relative folder is one folder, for the process that tries a bundle too; else one line at start."""
    monkeypatch.setattr(providers, "tensorrt_obstacle", lambda: None)
    monkeypatch.chdir(tmp_path)
    chosen = providers.choose("tensorrt", engines=providers.Path("cache"))
    assert chosen.engines == tmp_path / "cache"
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match=r"--tensorrt-cache .*file/cache: cannot be made"):
        providers.choose("tensorrt", engines=tmp_path / "file" / "cache")


def test_batches_are_bounded_by_pinned_memory_too(sealed, monkeypatch, caplog):
    """A GPU holds more than the host can pin."""
    from serving.models import memory_budget

    class Card:
        pinned_bytes = 0

        def memory(self):
            return 0, 1 << 40

    card = Card()

    class Pinning(HostBuffer):
        def __init__(self, shape, dtype):
            card.pinned_bytes += 64 << 20
            super().__init__(shape, dtype)

    monkeypatch.setattr(memory_budget, "driver", lambda: card)
    monkeypatch.setattr(memory_budget.MemoryBudget, "__init__", _of_a_gpu(memory_budget, card))
    monkeypatch.setattr("serving.runtime.session.HostBuffer", Pinning)
    with caplog.at_level(logging.WARNING):
        loaded = load(sealed, BOUND, 1024)
    assert loaded.graphs["encoder"].max_rows < 1024
    assert "batches of at most" in caplog.text


def _of_a_gpu(memory_budget, card):
    def init(self, provider):
        self._on_gpu, self._most, self._before, self._pinned_before = True, None, 0, card.pinned_bytes

    return init
