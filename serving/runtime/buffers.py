"""Memory that stays where it is: a tensor of so many rows that a graph reads, or writes, at every run."""

import ctypes
import weakref
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from serving.runtime.cuda_driver import driver

Rows = NDArray[np.float32]
Shape = tuple[int, ...]

_HELD_BYTES = 1 << 20
"""Up to so many are copied without letting go of Python's lock: that takes some tens of microseconds, and to
get the lock back from a busy event loop can take milliseconds."""


class Buffer(Protocol):
    """A float32 tensor [rows, …], zero at first."""

    def write(self, rows: Rows) -> None:
        """Over the first rows of the tensor; the others keep what they had."""

    def read(self, count: int) -> Rows:
        """A copy of the first rows."""

    def bind_input(self, binding: Any, name: str) -> None: ...

    def bind_output(self, binding: Any, name: str) -> None: ...


class HostBuffer:
    """Of a graph on the CPU."""

    def __init__(self, shape: Shape) -> None:
        self._array = np.zeros(shape, np.float32)
        self._value = ort.OrtValue.ortvalue_from_numpy(self._array)

    def write(self, rows: Rows) -> None:
        self._array[: len(rows)] = rows

    def read(self, count: int) -> Rows:
        return self._array[:count].copy()

    def bind_input(self, binding: Any, name: str) -> None:
        binding.bind_ortvalue_input(name, self._value)

    def bind_output(self, binding: Any, name: str) -> None:
        binding.bind_ortvalue_output(name, self._value)


class DeviceBuffer:
    """On the GPU, with as much pinned memory on the host, which the GPU copies from and to by itself."""

    def __init__(self, shape: Shape) -> None:
        """Raises MemoryError where there is none left."""
        self._shape = shape
        size = 4 * int(np.prod(shape, dtype=np.int64))
        self._address = driver().allocate(size)
        weakref.finalize(self, driver().free, self._address).atexit = False
        pinned = driver().allocate_pinned(size)
        weakref.finalize(self, driver().free_pinned, pinned).atexit = False
        memory = (ctypes.c_float * (size // 4)).from_address(pinned)
        self._host: Rows = np.ctypeslib.as_array(memory).reshape(shape)

    def write(self, rows: Rows) -> None:
        staged = self._host[: len(rows)]
        staged[...] = rows
        driver().to_device(self._address, staged, hold=staged.nbytes <= _HELD_BYTES)

    def read(self, count: int) -> Rows:
        staged = self._host[:count]
        driver().to_host(staged, self._address, hold=staged.nbytes <= _HELD_BYTES)
        return staged.copy()

    def bind_input(self, binding: Any, name: str) -> None:
        binding.bind_input(name, "cuda", 0, np.float32, self._shape, self._address)

    def bind_output(self, binding: Any, name: str) -> None:
        binding.bind_output(name, "cuda", 0, np.float32, self._shape, self._address)
