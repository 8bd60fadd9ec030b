"""Which ONNX Runtime execution provider runs the graphs, and why.

ONNX Runtime falls back to the CPU in silence when CUDA cannot be had. Here a provider that was asked
for by name and cannot be had is an error with the reason; ``auto`` takes what works and says why.
"""

import ctypes
from dataclasses import dataclass
from typing import Literal

import onnxruntime as ort

from serving.errors import StartupError

ProviderName = Literal["cpu", "cuda"]

ORT_NAMES: dict[ProviderName, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

ORT_OPTIONS: dict[ProviderName, dict[str, str]] = {"cpu": {}, "cuda": {"use_tf32": "0"}}
"""TensorFloat-32 has 10 bits of mantissa: images would not equal the CPU's, nor likelihoods PyTorch's."""


@dataclass(frozen=True)
class Provider:
    name: ProviderName
    reason: str


def choose(requested: Literal["auto", "cpu", "cuda"]) -> Provider:
    """Raises StartupError if ``cuda`` was asked for and is not usable."""
    if requested == "cpu":
        return Provider("cpu", "asked for")
    obstacle = cuda_obstacle()
    if requested == "cuda":
        if obstacle:
            raise StartupError(f"--provider cuda: {obstacle}; want a usable GPU, or --provider cpu")
        return Provider("cuda", "asked for")
    return Provider("cpu", obstacle) if obstacle else Provider("cuda", "a usable GPU was found")


def cuda_obstacle() -> str | None:
    """What keeps CUDA from being used, or None. The session itself is the last proof."""
    if ORT_NAMES["cuda"] not in ort.get_available_providers():
        return "this build of ONNX Runtime has no CUDA provider (install onnxruntime-gpu)"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1 cannot be loaded)"
    if code := driver.cuInit(0):
        return f"the NVIDIA driver cannot start (cuInit gave {code})"
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "the NVIDIA driver sees no device"
    ort.preload_dlls()  # CUDA and cuDNN from NVIDIA's wheels, where those are installed
    return None
