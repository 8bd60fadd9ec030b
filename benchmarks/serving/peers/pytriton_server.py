"""NVIDIA Triton with PyTriton's Python functions.

Triton's documentation advises to turn dynamic batching on with its defaults, which cut a batch when an
instance is free, and to decide on the largest batch. 512 rows answered twice as many requests of 64
rows of the cheap model as 64 did, and no fewer of any other. One instance a CPU.
"""

# mypy: ignore-errors
# Checked by running: its imports are in the peer's environment alone.

import os
import signal
import sysconfig
import threading

import numpy as np
from graphs import CPUS, OnnxGraph, free_port, options
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

_MAX_BATCH_ROWS = 512


def _function(graph: OnnxGraph):
    @batch
    def infer(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(graph.outputs, graph(inputs[graph.input]), strict=True))

    return infer


def main() -> None:
    given = options()
    # Triton's backend loads libpython by name; another patch release than this interpreter's fails.
    found = (sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH"))
    os.environ["LD_LIBRARY_PATH"] = ":".join(path for path in found if path)
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=given.port,
        http_address="127.0.0.1",
        http_port=free_port(),
        metrics_port=free_port(),
    )
    with Triton(config=config, workspace=str(given.folder / "pytriton")) as triton:
        graphs = [OnnxGraph(given.graph) for _ in range(CPUS)]
        outputs = graphs[0].outputs.items()
        triton.bind(
            model_name=given.name,
            infer_func=[_function(graph) for graph in graphs],
            inputs=[Tensor(name=graphs[0].input, dtype=np.float32, shape=graphs[0].input_shape)],
            outputs=[Tensor(name=name, dtype=np.float32, shape=shape) for name, shape in outputs],
            config=ModelConfig(max_batch_size=_MAX_BATCH_ROWS, batcher=DynamicBatcher()),
        )
        triton.run()
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        stop.wait()


if __name__ == "__main__":
    main()
