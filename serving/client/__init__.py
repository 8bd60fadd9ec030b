"""The client of vaeserve: numpy in and out, blocking (``Client``) or asyncio (``AsyncClient``).

It needs the base install alone, over gRPC and over HTTP: grpcio, protobuf, numpy and Pillow.
"""

from serving.client.client import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, AsyncClient, Client
from serving.client.failures import VaeError
from serving.client.records.described_table import Table, TableColumn
from serving.client.records.received_records import Records
from serving.client.results import (
    Decoded,
    Gate,
    Imputed,
    LatentMap,
    Metric,
    Model,
    ModelVersion,
    Pool,
    Posteriors,
    Reconstructions,
    Samples,
    Scores,
    ServedModel,
)
from serving.client.streams import Format

__all__ = [
    "DEFAULT_ADDRESS",
    "DEFAULT_TIMEOUT_S",
    "AsyncClient",
    "Client",
    "Decoded",
    "Format",
    "Gate",
    "Imputed",
    "LatentMap",
    "Metric",
    "Model",
    "ModelVersion",
    "Pool",
    "Posteriors",
    "Reconstructions",
    "Records",
    "Samples",
    "Scores",
    "ServedModel",
    "Table",
    "TableColumn",
    "VaeError",
]
