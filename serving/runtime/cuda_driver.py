"""The few calls of NVIDIA's driver that ONNX Runtime's Python has no words for: memory that we own, copies of
a part of it, and how much there is.

Through ``libcuda`` itself, which every machine with a GPU has, in the primary context of the first device:
the one that ONNX Runtime computes in.

Source: CUDA Driver API, https://docs.nvidia.com/cuda/cuda-driver-api/.
"""

import ctypes
import threading
from ctypes import POINTER, byref, c_int, c_size_t, c_uint, c_uint64, c_void_p
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_OUT_OF_MEMORY = 2
_PORTABLE = 1
"""Pinned for every context."""
_DEVICE = 0

alone = threading.Lock()
"""Held while a CUDA graph is recorded, and while a session is made: what another thread of the process takes
from the device meanwhile spoils the recording."""

_SIGNATURES: dict[str, list[Any]] = {
    "cuDevicePrimaryCtxRetain": [POINTER(c_void_p), c_int],
    "cuCtxSetCurrent": [c_void_p],
    "cuMemAlloc_v2": [POINTER(c_uint64), c_size_t],
    "cuMemFree_v2": [c_uint64],
    "cuMemsetD8_v2": [c_uint64, ctypes.c_ubyte, c_size_t],
    "cuMemHostAlloc": [POINTER(c_void_p), c_size_t, c_uint],
    "cuMemFreeHost": [c_void_p],
    "cuMemcpyHtoD_v2": [c_uint64, c_void_p, c_size_t],
    "cuMemcpyDtoH_v2": [c_void_p, c_uint64, c_size_t],
    "cuMemGetInfo_v2": [POINTER(c_size_t), POINTER(c_size_t)],
    "cuStreamSynchronize": [c_void_p],
}


def obstacle() -> str | None:
    """What keeps the first device from being used, or None."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1 cannot be loaded)"
    if code := driver.cuInit(0):
        return f"the NVIDIA driver cannot start (cuInit gave {code})"
    count = c_int()
    if driver.cuDeviceGetCount(byref(count)) or not count.value:
        return "the NVIDIA driver sees no device"
    return None


class Driver:
    """Of the first device, from any thread. Every call raises MemoryError where memory is short, and
    RuntimeError with the driver's code for whatever else is wrong."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        # Without letting go of Python's lock: to get it back can take longer than a small copy.
        self._holding = ctypes.PyDLL("libcuda.so.1")
        for name, types in _SIGNATURES.items():
            for library in (self._library, self._holding):
                getattr(library, name).argtypes = types
        self._threads = threading.local()
        self._unwanted: list[tuple[str, int]] = []
        self.pinned_bytes = 0
        """Of the host's memory, taken by ``allocate_pinned``."""
        self._context = c_void_p()
        self._call("cuInit", 0, bound=False)
        self._call("cuDevicePrimaryCtxRetain", byref(self._context), _DEVICE, bound=False)
        self._lately = self._memory()

    def allocate(self, size: int) -> int:
        """The address of so many bytes on the device, all zero."""
        self.free_unwanted()
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), size)
        self._call("cuMemsetD8_v2", address, 0, size)
        return address.value

    def unwanted(self, address: int) -> None:
        """To be freed later, by the thread that records: another's would spoil the recording."""
        self._unwanted.append(("cuMemFree_v2", address))

    def unwanted_pinned(self, address: int, size: int) -> None:
        """The same of the host's memory."""
        self.pinned_bytes -= size
        self._unwanted.append(("cuMemFreeHost", address))

    def free_unwanted(self) -> None:
        while self._unwanted:
            name, address = self._unwanted.pop()
            self._call(name, address)

    def allocate_pinned(self, size: int) -> int:
        """The same on the host, where the device copies from and to by itself."""
        self.free_unwanted()
        address = c_void_p()
        self._call("cuMemHostAlloc", byref(address), size, _PORTABLE)
        assert address.value
        self.pinned_bytes += size
        return address.value

    def to_device(self, address: int, array: NDArray[np.float32], *, hold: bool) -> None:
        """Copy all of a contiguous array; ``hold`` Python's lock meanwhile.

        The driver comes back once the array is staged; that it has arrived is waited for here, for graphs run
        on a stream of their own and would not wait.
        """
        self._call("cuMemcpyHtoD_v2", address, array.ctypes.data, array.nbytes, hold=hold)
        self._call("cuStreamSynchronize", None, hold=hold)

    def to_host(self, array: NDArray[np.float32], address: int, *, hold: bool) -> None:
        """Fill a contiguous array."""
        self._call("cuMemcpyDtoH_v2", array.ctypes.data, address, array.nbytes, hold=hold)

    def memory(self) -> tuple[int, int]:
        """Bytes of the device in use, by all programs, and in all."""
        with alone:
            return self._memory()

    def memory_lately(self) -> tuple[int, int]:
        """The same without waiting: while a session is made, as it was before."""
        if alone.acquire(blocking=False):
            try:
                self._lately = self._memory()
            finally:
                alone.release()
        return self._lately

    def _memory(self) -> tuple[int, int]:
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return total.value - free.value, total.value

    def _call(self, name: str, *arguments: Any, bound: bool = True, hold: bool = False) -> None:
        if bound and not getattr(self._threads, "is_bound", False):
            self._call("cuCtxSetCurrent", self._context, bound=False)
            self._threads.is_bound = True
        code = getattr(self._holding if hold else self._library, name)(*arguments)
        if code == _OUT_OF_MEMORY:
            raise MemoryError(f"the GPU has no memory left ({name})")
        if code:
            raise RuntimeError(f"NVIDIA's driver: {name} gave {code}")


@cache
def driver() -> Driver:
    """The one of this process; only where there is no ``obstacle``."""
    return Driver()
