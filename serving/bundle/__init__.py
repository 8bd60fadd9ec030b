"""The bundle: the contract between training and serving.

A bundle is a directory ``<repository>/<model>/<version>/`` with ONNX graphs, tensors and one
``manifest.json`` that describes and checksums them. It is owned by the reader, so training imports
this package and nothing else of serving; it needs neither gRPC, nor ONNX Runtime, nor torch.
"""

from serving.bundle.archive import (
    MANIFEST,
    Bundle,
    read,
    seal,
    target_path,
    version_number,
)
from serving.bundle.graph_file import STANDARD_DOMAINS, check_graph_file, is_random
from serving.bundle.latent_statistics import Pools, Reference, tensors_of
from serving.bundle.manifest import (
    FORMAT,
    MOST_POOLS,
    ROLES,
    ROLES_OF,
    FileEntry,
    Gate,
    Graph,
    ImageSpec,
    Likelihood,
    Manifest,
    ManifestBody,
    Metric,
    ModalityName,
    PoolEntry,
    Precision,
    Role,
    Roles,
    TrainingSummary,
    is_model_name,
)
from serving.bundle.projection import PROJECTION, Projection, read_projection
from serving.bundle.sealed_files import BundleError, UnreadableBundle
from serving.errors import plain, quoted

__all__ = [
    "FORMAT",
    "MANIFEST",
    "MOST_POOLS",
    "PROJECTION",
    "ROLES",
    "ROLES_OF",
    "STANDARD_DOMAINS",
    "Bundle",
    "BundleError",
    "FileEntry",
    "Gate",
    "Graph",
    "ImageSpec",
    "Likelihood",
    "Manifest",
    "ManifestBody",
    "Metric",
    "ModalityName",
    "PoolEntry",
    "Pools",
    "Precision",
    "Projection",
    "Reference",
    "Role",
    "Roles",
    "TrainingSummary",
    "UnreadableBundle",
    "check_graph_file",
    "is_model_name",
    "is_random",
    "plain",
    "quoted",
    "read",
    "read_projection",
    "seal",
    "target_path",
    "tensors_of",
    "version_number",
]
