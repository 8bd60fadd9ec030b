"""Memory that stays where it is: a tensor of so many rows that a graph reads, or writes, at every run."""

import ctypes
import weakref
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import DTypeLike, NDArray

from serving.runtime.cuda_driver import driver

Shape = tuple[int, ...]

_HELD_BYTES = 1 << 20
"""Up to so many are copied without letting go of Python's lock: that takes some tens of microseconds, and to
get the lock back from a busy event loop can take milliseconds."""
_LENT_BYTES = 1 << 18
"""From so many on the caller gets pinned memory itself: 3.2 MB come from an H200 in 68 µs, and 280 more are
taken by each copy of them, or by the first look at memory that is new."""
_MOST_LENT = 4
"""Blocks of one buffer; who comes when all are out gets a copy."""
_MOST_PINNED = 1 << 30
"""Bytes of the process beyond which no more is lent."""


class Buffer(Protocol):
    """A tensor [rows, …], zero at first."""

    def write(self, rows: NDArray[Any]) -> None:
        """Over the first rows of the tensor; the others keep what they had."""

    def read(self, count: int) -> NDArray[Any]:
        """The first rows as they are now, whatever is written later."""

    def bind_input(self, binding: Any, name: str) -> None: ...

    def bind_output(self, binding: Any, name: str) -> None: ...


class HostBuffer:
    """Of a graph on the CPU."""

    def __init__(self, shape: Shape, dtype: DTypeLike = np.float32) -> None:
        self._array = np.zeros(shape, dtype)
        self._value = ort.OrtValue.ortvalue_from_numpy(self._array)

    def write(self, rows: NDArray[Any]) -> None:
        self._array[: len(rows)] = rows

    def read(self, count: int) -> NDArray[Any]:
        return self._array[:count].copy()

    def bind_input(self, binding: Any, name: str) -> None:
        binding.bind_ortvalue_input(name, self._value)

    def bind_output(self, binding: Any, name: str) -> None:
        binding.bind_ortvalue_output(name, self._value)


class _Block:
    """Memory of the host that the GPU copies to by itself."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._address = driver().allocate_pinned(size)
        weakref.finalize(self, driver().unwanted_pinned, self._address, size).atexit = False

    def array(self, shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A new one over all of it; its slices keep it alive, but it does not keep the block."""
        memory = (ctypes.c_ubyte * self._size).from_address(self._address)
        return np.frombuffer(memoryview(memory), dtype).reshape(shape)


class DeviceBuffer:
    """On the GPU. Rows are written from wherever they are, and read through pinned memory."""

    def __init__(self, shape: Shape, dtype: DTypeLike = np.float32) -> None:
        """Raises MemoryError where there is none left."""
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._size = self._dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self._address = driver().allocate(self._size)
        weakref.finalize(self, driver().unwanted, self._address).atexit = False
        self._first: _Block | None = None
        self._spare: list[_Block] = []
        self._lent = 0

    def write(self, rows: NDArray[Any]) -> None:
        given = np.ascontiguousarray(rows)
        driver().to_device(self._address, given, hold=given.nbytes <= _HELD_BYTES)

    def read(self, count: int) -> NDArray[Any]:
        if self._first is None:  # inputs need none
            self._first = _Block(self._size)
        lent = self._lend() if count * self._size // self._shape[0] >= _LENT_BYTES else None
        whole = (lent or self._first).array(self._shape, self._dtype)
        rows = whole[:count]
        driver().to_host(rows, self._address, hold=rows.nbytes <= _HELD_BYTES)
        if lent is None:
            return rows.copy()
        weakref.finalize(whole.base, self._spare.append, lent).atexit = False
        return rows

    def _lend(self) -> _Block | None:
        """A block that nobody reads, as long as there are."""
        if self._spare:
            return self._spare.pop()
        if self._lent == _MOST_LENT or driver().pinned_bytes + self._size > _MOST_PINNED:
            return None
        try:
            block = _Block(self._size)
        except MemoryError:
            return None
        self._lent += 1
        return block

    def bind_input(self, binding: Any, name: str) -> None:
        binding.bind_input(name, "cuda", 0, self._dtype.type, self._shape, self._address)

    def bind_output(self, binding: Any, name: str) -> None:
        binding.bind_output(name, "cuda", 0, self._dtype.type, self._shape, self._address)
