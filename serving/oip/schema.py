"""The messages of Open Inference Protocol, in a descriptor pool of their own.

A client library of the protocol in the same process registers the same names in protobuf's default pool,
and the second to do so fails at import (kserve issue 3099, MLServer issue 1730). So no code is generated;
the classes are made from the descriptors, which protos/generate.py writes.
"""

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"


def _pool() -> descriptor_pool.DescriptorPool:
    raw = resources.files("serving.pb").joinpath("inference.binpb").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(raw).file:
        pool.Add(file)
    return pool


_POOL = _pool()
_METHODS = {method.name: method for method in _POOL.FindServiceByName(SERVICE).methods}


def message(name: str) -> Any:
    """The class of a message of the package."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"inference.{name}"))


def request_of(method: str) -> Any:
    """The class of a method's requests."""
    return message_factory.GetMessageClass(_METHODS[method].input_type)


METHODS = tuple(_METHODS)
ModelInferResponse = message("ModelInferResponse")
