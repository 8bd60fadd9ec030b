"""MLServer with a runtime for ONNX graphs; it has none of its own.

Adaptive batching counts requests, waits until a batch is full or its time is over, and is off by
default; the documentation leaves both numbers to experiment
(https://docs.seldon.ai/mlserver/user-guide/adaptive-batching). Of 0.5, 1, 5 and 20 ms, 5 was the best
for single rows; requests of many rows are better off without (``--unbatched``). ``parallel_workers``
is 0: with a pool of 1 or 2 processes, graphs this small lost a third to a half to the copies.
"""

# mypy: ignore-errors
# Checked by running: its imports are in the peer's environment alone.

import json
import sys
from pathlib import Path

from graphs import OnnxGraph, free_port, options
from mlserver import MLModel
from mlserver.cli import main
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

_BATCHING = {"max_batch_size": 64, "max_batch_time": 0.005}


class OnnxModel(MLModel):
    """Raw tensors in, raw tensors out."""

    async def load(self) -> bool:
        self._graph = OnnxGraph(Path(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = self._graph(NumpyCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output(name, output)
                for name, output in zip(self._graph.outputs, outputs, strict=True)
            ],
        )


def _configure() -> Path:
    given = options()
    folder = given.folder / ("mlserver_unbatched" if given.unbatched else "mlserver")
    folder.mkdir()
    model = {
        "name": given.name,
        "implementation": "mlserver_server.OnnxModel",
        "parameters": {"uri": str(given.graph)},
        **({} if given.unbatched else _BATCHING),
    }
    server = {
        "host": "127.0.0.1",
        "grpc_port": given.port,
        "http_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "metrics_dir": str(folder),
        "debug": False,
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps(server))
    return folder


if __name__ == "__main__":
    sys.argv = ["mlserver", "start", str(_configure())]
    main()
