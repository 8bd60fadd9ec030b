"""How far it is from a call's handler to the graph: short enough to hold in the head."""

import asyncio
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import onnxruntime

from serving.batching import cost_model
from serving.batching.queue import Queue
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from serving.server import running
from serving.wire.tensors import from_array
from tests.support import toy

SERVING = str(Path(__file__).parents[2] / "serving")
TO_THE_QUEUE = [
    "doors.grpc_call:handle",
    "api.frame:answer",
    "api.servicer:Encode",
    "models.model:encode",
    "batching.batcher:submit",
]


def functions_on_the_way():
    """Functions of ours that this thread is in, the outermost first."""
    found, frame = [], sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(SERVING):
            module = frame.f_code.co_filename.removeprefix(SERVING + "/").removesuffix(".py")
            found.insert(0, f"{module.replace('/', '.')}:{frame.f_code.co_name}")
        frame = frame.f_back
    return found


async def ways_of_one_encode(settings, monkeypatch, graph_takes_s):
    """The functions that lead to the queue and to ONNX Runtime's ``run``, from a real server's last call."""
    to_queue, to_graph = [], []
    append, run = Queue.append, onnxruntime.InferenceSession.run

    def watched_append(self, entry):
        to_queue.append(functions_on_the_way())
        append(self, entry)

    def watched_run(self, *arguments):
        to_graph.append(functions_on_the_way())
        time.sleep(graph_takes_s)
        return run(self, *arguments)

    monkeypatch.setattr(Queue, "append", watched_append)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", watched_run)
    request = pb.EncodeRequest()
    request.images.tensor.CopyFrom(from_array(np.zeros((1, *toy.IMAGE_SHAPE), np.float32)))
    async with running(settings) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        for _ in range(3):
            await VaeServiceStub(channel).Encode(request)
            await asyncio.sleep(0.02)
    return to_queue[-1], to_graph[-1]


async def test_a_lone_row_takes_six_calls(settings, monkeypatch):
    """Alone: handler, frame, servicer, model, batcher and its one way to run a batch, whose call of the graph is the
    sixth from the handler."""
    monkeypatch.setattr(cost_model, "_HAND_OVER_S", 10.0)  # however slow the machine, the graph is short work
    to_queue, to_graph = await ways_of_one_encode(settings, monkeypatch, graph_takes_s=0.0)
    assert to_queue == TO_THE_QUEUE
    assert to_graph == [*TO_THE_QUEUE, "batching.batcher:_run"]


async def test_a_queued_row_takes_at_most_eight_calls(settings, monkeypatch):
    """Of a graph that takes longer than a hand-over: five functions to the queue, and on the executor that
    cuts from there two more, when it was its turn."""
    to_queue, to_graph = await ways_of_one_encode(settings, monkeypatch, graph_takes_s=0.002)
    assert to_queue == TO_THE_QUEUE
    assert to_graph == ["batching.executors:_work", "batching.batcher:_take_turn", "batching.batcher:_run"]
