"""ONNX Runtime as the server has it, without the server: the same provider, the same options."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from pathlib import Path
from typing import Any

import onnxruntime as ort

from serving.runtime.providers import ORT_NAMES, ORT_OPTIONS, ProviderName, cuda_obstacle


def session(file: Path, device: ProviderName, **options: str) -> Any:
    if device == "cuda" and (obstacle := cuda_obstacle()):  # it loads CUDA and cuDNN as well
        raise RuntimeError(obstacle)
    wanted = [(ORT_NAMES[device], ORT_OPTIONS[device] | options)]
    # Its fallback would take the same provider without these options, and the figure would be another's.
    made = ort.InferenceSession(str(file), providers=wanted, enable_fallback=0)
    if ORT_NAMES[device] not in made.get_providers():
        raise RuntimeError(f"ONNX Runtime has no {device} here")
    return made
