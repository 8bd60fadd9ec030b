"""The bundle: the contract between training and serving.

A bundle is a directory ``<repository>/<model>/<version>/`` with ONNX graphs, tensors and one
``manifest.json`` that describes and checksums them. It is owned by the reader, so training imports
this package and nothing else of serving; it needs neither gRPC, nor ONNX Runtime, nor torch.
"""

from serving.bundle.archive import (
    MANIFEST,
    Bundle,
    BundleError,
    UnreadableBundle,
    read,
    seal,
    target_path,
    version_number,
)
from serving.bundle.latent_statistics import Pools, Reference
from serving.bundle.manifest import (
    FORMAT,
    ROLES,
    FileEntry,
    Gate,
    Graph,
    ImageSpec,
    Likelihood,
    Manifest,
    ManifestBody,
    Metric,
    PoolEntry,
    Precision,
    Role,
    TrainingSummary,
)

__all__ = [
    "FORMAT",
    "MANIFEST",
    "ROLES",
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
    "PoolEntry",
    "Pools",
    "Precision",
    "Reference",
    "Role",
    "TrainingSummary",
    "UnreadableBundle",
    "read",
    "seal",
    "target_path",
    "version_number",
]
