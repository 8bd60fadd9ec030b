"""Runs of a graph in buffers that were bound once, for a few numbers of rows: its buckets.

A batch goes into the smallest bucket that holds it, and what is left of that is padding. So a GPU sees few
shapes, each known and warm before the model serves, always at the same addresses, which is what a CUDA graph
needs: all that the ONNX graph launches is recorded once and replayed by one call.

Rows that are padding hold what an earlier batch left there. No output has them, and a row of a graph knows
nothing of its neighbours.

Source: ONNX Runtime, I/O binding and CUDA graphs,
https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import DTypeLike

from serving.batching.batch import Outputs, Rows
from serving.errors import is_short_of_memory
from serving.metrics.instruments import Count
from serving.runtime.buffers import Buffer, Shape
from serving.runtime.cuda_driver import alone

NewBuffer = Callable[[Shape, DTypeLike], Buffer]
_Key = tuple[int, tuple[Shape, ...]]
"""Of a bucket: its rows, and the shape of a row of each input."""
Turn = Callable[[Callable[[], Outputs]], Outputs]
"""Calls what it is given on the one thread that may, and returns what came."""

_PATIENCE_S = 60.0
"""For other models' sessions to be made; they take seconds."""
_NO_GRAPH = -1
"""ONNX Runtime's mark for a run that neither records nor replays."""


def at_once(work: Callable[[], Outputs]) -> Outputs:
    return work()


@dataclass(frozen=True)
class _Bucket:
    binding: Any
    options: Any
    inputs: dict[str, Buffer]
    outputs: list[Buffer]


class BoundRuns:
    """``run`` is for any thread, one at a time.

    ONNX Runtime keeps a recorded graph, and the handles it computes with, for the thread that made them: so
    all runs take their ``turn`` on one.
    """

    def __init__(  # by keyword
        self,
        session: Any,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        buffer: NewBuffer,
        most_rows: int,
        turn: Turn = at_once,
        graphs: Iterator[int] | None = None,
    ) -> None:
        """``graphs`` are the numbers of the CUDA graphs, for all runs of a session the same."""
        self._session = session
        self._inputs = inputs
        self._outputs = list(outputs)
        self._buffer = buffer
        self._most_rows = most_rows
        self._turn = turn
        self._buckets: dict[_Key, _Bucket] = {}
        self._graphs = graphs or count(1)  # 0 is what ONNX Runtime takes if it is told none
        self._given: dict[tuple[Shape, ...], list[tuple[Shape, DTypeLike]]] = {}
        """Shape of a row of each input → shape of a row, and type, of each output."""
        self.copying, self.computing = Count(), Count()
        """Seconds that runs have taken for copies to the device and back, and for the graph."""

    def bucket_rows(self, rows: int) -> int:
        """Rows of the bucket that so many go into: a power of two, or the most there are."""
        return int(min(1 << (rows - 1).bit_length(), self._most_rows))

    def run(self, feed: dict[str, Rows]) -> Outputs:
        """[rows, …] by the name of the input → an array for each output.

        More than the largest bucket holds go in parts.

        Raises:
            MemoryError: the GPU has too little.
        """
        rows = len(feed[self._inputs[0]])
        if rows > self._most_rows:
            starts = range(0, rows, self._most_rows)
            parts = [
                self.run({name: array[start : start + self._most_rows] for name, array in feed.items()})
                for start in starts
            ]
            return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
        key = self.bucket_rows(rows), tuple(feed[name].shape[1:] for name in self._inputs)
        try:
            if key in self._buckets:
                return self._turn(partial(self._through, self._buckets[key], feed))
            return self._first_run(feed, key)
        except Exception as exc:  # ONNX Runtime's exceptions share no other base
            if is_short_of_memory(exc):
                raise MemoryError(str(exc).splitlines()[0]) from None
            raise

    def close(self) -> None:
        """Give back the memory; on the thread of the runs."""
        self._buckets.clear()
        self._session = None

    def _first_run(self, feed: dict[str, Rows], key: _Key) -> Outputs:
        """In a bucket that is made, and recorded, now: it is kept if all goes well."""

        def work() -> Outputs:
            bucket = self._new_bucket(*key)
            outputs = self._through(bucket, feed)
            self._buckets[key] = bucket
            return outputs

        # To wait is for the one who asks, who is loading a model, not for the thread whose turn all await.
        if not alone.acquire(timeout=_PATIENCE_S):
            raise MemoryError("another model takes too long to load")
        try:
            return self._turn(work)
        finally:
            alone.release()

    def _through(self, bucket: _Bucket, feed: dict[str, Rows]) -> Outputs:
        started = time.perf_counter()
        for name, buffer in bucket.inputs.items():
            buffer.write(feed[name])
        written = time.perf_counter()
        self._session.run_with_iobinding(bucket.binding, bucket.options)
        computed = time.perf_counter()
        rows = len(feed[self._inputs[0]])
        outputs = [buffer.read(rows) for buffer in bucket.outputs]
        self.computing.value += computed - written
        self.copying.value += written - started + time.perf_counter() - computed
        return outputs

    def _new_bucket(self, rows: int, shapes: tuple[Shape, ...]) -> _Bucket:
        gives = self._given.get(shapes)
        if gives is None:
            gives = self._given[shapes] = self._what_is_given(shapes)
        binding = self._session.io_binding()
        inputs = {
            name: self._buffer((rows, *shape), np.float32)
            for name, shape in zip(self._inputs, shapes, strict=True)
        }
        outputs = [self._buffer((rows, *shape), dtype) for shape, dtype in gives]
        for name, buffer in inputs.items():
            buffer.bind_input(binding, name)
        for name, buffer in zip(self._outputs, outputs, strict=True):
            buffer.bind_output(binding, name)
        return _Bucket(binding, _options(next(self._graphs)), inputs, outputs)

    def _what_is_given(self, shapes: tuple[Shape, ...]) -> list[tuple[Shape, DTypeLike]]:
        """The graph's own words on shapes may be names, so it is asked."""
        feed = {
            name: np.zeros((1, *shape), np.float32) for name, shape in zip(self._inputs, shapes, strict=True)
        }
        given = self._session.run(self._outputs, feed, _options(_NO_GRAPH))
        return [(output.shape[1:], output.dtype) for output in given]


def _options(graph: int) -> Any:
    options = ort.RunOptions()
    options.log_severity_level = 4
    options.add_run_config_entry("gpu_graph_id", str(graph))
    return options
