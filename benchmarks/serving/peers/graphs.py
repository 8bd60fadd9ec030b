"""The graph that a peer serves. Runs in the peers' environments."""

# mypy: ignore-errors
# Checked by running: its imports are in the peer's environment alone.

import argparse
import os
import socket
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort

CPUS = len(os.sched_getaffinity(0))


class OnnxGraph:
    """One single-threaded session: two side by side beat one with two threads."""

    def __init__(self, file: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        (given,) = self._session.get_inputs()
        self.input, self.input_shape = given.name, tuple(given.shape[1:])
        self.outputs = {node.name: tuple(node.shape[1:]) for node in self._session.get_outputs()}
        """Name → shape of a row."""

    def __call__(self, rows: np.ndarray) -> list[np.ndarray]:
        """[rows, …] → one array for each output."""
        return list(self._session.run(list(self.outputs), {self.input: rows}))


def free_port() -> int:
    """For the ports that a server insists on and nobody uses here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def options() -> argparse.Namespace:
    """What every peer's script is told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph", type=Path, required=True, help="ONNX file")
    parser.add_argument("--name", required=True, help="of the model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="to write in")
    parser.add_argument("--unbatched", action="store_true", help="no batching, so no timer either")
    return parser.parse_args()
