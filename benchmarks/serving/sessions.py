"""ONNX Runtime as the bare servers and the ceiling use it."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from pathlib import Path
from typing import Any

import onnxruntime as ort


def single_threaded(graph: bytes | Path) -> Any:
    """A session whose operators run on the calling thread, on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    content = graph if isinstance(graph, bytes) else str(graph)
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
