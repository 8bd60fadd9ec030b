"""Which ONNX Runtime execution provider runs the graphs, and why.

ONNX Runtime falls back to the CPU in silence when CUDA cannot be had. Here a provider that was asked
for by name and cannot be had is an error with the reason; ``auto`` takes what works and says why.
"""

import ctypes
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnxruntime as ort

from serving.errors import StartupError
from serving.runtime import cuda_driver

ProviderName = Literal["cpu", "cuda", "tensorrt"]

ORT_NAMES: dict[ProviderName, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

_CUDA = {
    # TensorFloat-32 has 10 bits of mantissa: images would not equal the CPU's, nor likelihoods PyTorch's.
    "use_tf32": "0",
    # An exhaustive search tries every algorithm for every number of rows, for minutes.
    "cudnn_conv_algo_search": "HEURISTIC",
    # By default the arena doubles what it takes from the device each time.
    "arena_extend_strategy": "kSameAsRequested",
}
ORT_OPTIONS: dict[ProviderName, dict[str, str]] = {"cpu": {}, "cuda": _CUDA, "tensorrt": {}}
_ENGINES = "vaeserve-tensorrt"
_TENSORRT_LIBRARY = "libnvinfer.so.10"


@dataclass(frozen=True)
class Provider:
    name: ProviderName
    reason: str
    memory_bytes: int | None = None
    """Of the GPU's memory, what one model may take; None for all that is free."""
    engines: Path | None = None
    """Where TensorRT keeps what it has compiled; None without it."""
    binds_on_cpu: bool = False
    """For tests and benchmarks: run in buffers that are bound once there too, where it gains nothing."""

    records: bool = True
    """For benchmarks: whether CUDA graphs are recorded and replayed."""

    @property
    def on_gpu(self) -> bool:
        return self.name != "cpu"

    @property
    def binds(self) -> bool:
        """Whether graphs run in buffers that are bound once, and so one at a time."""
        return self.on_gpu or self.binds_on_cpu

    def ort_providers(self, *, cuda_graphs: bool) -> list[tuple[str, dict[str, str]]]:
        """As ``onnxruntime.InferenceSession`` takes them, the preferred one first."""
        options = dict(ORT_OPTIONS[self.name])
        if not self.on_gpu:
            return [(ORT_NAMES["cpu"], options)]
        cuda = dict(_CUDA)
        if self.memory_bytes:
            cuda["gpu_mem_limit"] = str(self.memory_bytes)
        if self.name == "cuda":
            return [(ORT_NAMES["cuda"], cuda | ({"enable_cuda_graph": "1"} if cuda_graphs else {}))]
        caches = {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"}
        folders = {"trt_engine_cache_path": str(self.engines), "trt_timing_cache_path": str(self.engines)}
        bounds = {"trt_max_workspace_size": str(self.memory_bytes)} if self.memory_bytes else {}
        return [(ORT_NAMES["tensorrt"], caches | folders | bounds), (ORT_NAMES["cuda"], cuda)]


def choose(
    requested: Literal["auto", "cpu", "cuda", "tensorrt"],
    *,
    memory_bytes: int | None = None,
    engines: Path | None = None,
) -> Provider:
    """Raises StartupError if a provider for GPUs was asked for and is not usable."""
    if requested == "cpu":
        return Provider("cpu", "asked for")
    obstacle = tensorrt_obstacle() if requested == "tensorrt" else cuda_obstacle()
    if requested == "auto":
        if obstacle:
            return Provider("cpu", obstacle)
        return Provider("cuda", "a usable GPU was found", memory_bytes)
    if obstacle:
        raise StartupError(f"--provider {requested}: {obstacle}; want a usable GPU, or --provider cpu")
    return Provider(
        requested, "asked for", memory_bytes, _folder(engines) if requested == "tensorrt" else None
    )


def _folder(engines: Path | None) -> Path:
    """Where the engines are kept, in full: the process that tries a bundle has another working directory."""
    folder = (engines or Path(tempfile.gettempdir(), _ENGINES)).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StartupError(f"--tensorrt-cache {folder}: cannot be made: {exc.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise StartupError(f"--tensorrt-cache {folder}: cannot be written")
    return folder


def cuda_obstacle() -> str | None:
    """What keeps CUDA from being used, or None. The session itself is the last proof."""
    if ORT_NAMES["cuda"] not in ort.get_available_providers():
        return "this build of ONNX Runtime has no CUDA provider (install onnxruntime-gpu)"
    if obstacle := cuda_driver.obstacle():
        return obstacle
    ort.preload_dlls()  # CUDA and cuDNN from NVIDIA's wheels, where those are installed
    return None


def tensorrt_obstacle() -> str | None:
    """The same for TensorRT, whose libraries no package of ours brings."""
    if ORT_NAMES["tensorrt"] not in ort.get_available_providers():
        return "this build of ONNX Runtime has no TensorRT provider"
    if obstacle := cuda_obstacle():
        return obstacle
    # The same as CUDA's use_tf32, for which the provider has no option; read when the library is loaded.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    try:
        ctypes.CDLL(_TENSORRT_LIBRARY)
    except OSError:
        return f"TensorRT is not installed ({_TENSORRT_LIBRARY} cannot be loaded)"
    return None
