"""``manifest.json``: the only file of a bundle with meaning of its own.

Every key but a graph's precision is required and no other key is allowed (``modality`` in format 2 alone), so
a manifest that parses says everything a reader needs; a later format is refused by its number before anything
else is looked at.

Numbers are bounded by what becomes of them: float32 arithmetic, the integers of the wire. What no server
could answer with is refused here, before a graph is looked at.
"""

import math
import re
from datetime import datetime
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

FORMAT: Final = 2
"""The highest manifest format that this code reads. Each kind of data is written in the first that has it:
images in format 1."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"
Name = Annotated[str, StringConstraints(pattern=_NAME)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=1, le=1 << 24)]
Count = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
"""As far as the wire's int64 goes."""
Text = Annotated[str, StringConstraints(max_length=4096)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$")]
"""One line."""
MOST_POOLS = 4096
Precision = Literal["float32", "int8", "float16"]
Finite = Annotated[float, Field(allow_inf_nan=False)]

_LARGEST = 1e18
"""Of numbers that images and latents are reckoned with: squares, and quotients of two, are float32."""
Moderate = Annotated[float, Field(allow_inf_nan=False, ge=-_LARGEST, le=_LARGEST)]
_MOST_VALUES = 1 << 26
"""Of an image or a latent: 256 MiB a row."""


def is_model_name(text: str) -> bool:
    return re.fullmatch(_NAME, text) is not None


def _not_nought(value: float) -> float:
    if abs(value) < 1 / _LARGEST:
        raise ValueError(f"want no number so near to 0, came {value:g}")
    return value


def _bounded(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > _MOST_VALUES:
        raise ValueError(f"want at most {_MOST_VALUES} values")
    return shape


Role = Literal["encoder", "decoder", "prior", "score"]
Roles = dict[Role, tuple[tuple[str, ...], tuple[str, ...]]]
ModalityName = Literal["image", "table"]
ROLES: Final[Roles] = {
    "encoder": (("image",), ("mean", "log_var")),
    "decoder": (("latent",), ("image",)),
    "prior": (("noise",), ("latent",)),
    "score": (("image", "noise"), ("distortion", "rate", "log_weight")),
}
"""What each graph of an image takes and gives, in the order of this code; a manifest may list them in any."""
ROLES_OF: Final[dict[ModalityName, Roles]] = {
    "image": ROLES,
    "table": {
        "encoder": (("features",), ("mean", "log_var")),
        "decoder": (("latent",), ("parameters",)),
        "prior": (("noise",), ("latent",)),
        "score": (("features", "noise"), ("distortion", "rate", "log_weight", "column_distortion")),
    },
}
"""The same of each kind of data."""
_SCHEMA = "schema.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageSpec(_Part):
    """What the encoder takes and the decoder gives."""

    shape: Annotated[tuple[Size, Size, Size], AfterValidator(_bounded)]
    """Channels, height, width."""
    value_range: tuple[Moderate, Moderate]
    """Smallest and largest value of a float32 pixel."""
    colour: Literal["grey", "rgb", "other"]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = (np.float32(value) for value in self.value_range)
        if not high - low >= 1 / _LARGEST:
            raise ValueError(f"value_range {self.value_range}: want the smaller value first, in float32")
        return self


class Graph(_Part):
    """One ONNX file: the tensor name behind each role of the contract."""

    file: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    opset: Annotated[int, Field(ge=17, le=20)]
    ir_version: Annotated[int, Field(ge=8, le=10)]
    parity: dict[str, Finite]
    """Largest difference to PyTorch, by batch size; empty for a graph from outside. Absolute, but for the
    score relative to its size, or to a nat a pixel where it is smaller."""
    precision: Precision = "float32"
    """What is computed inside; inputs and outputs are float32 in any case."""


class Likelihood(_Part):
    """p(x|z)."""

    name: Literal["bernoulli", "gaussian", "discretised_logistic", "columns"]
    """columns: of a table, each as its schema says."""
    sigma: Annotated[Moderate, Field(gt=0), AfterValidator(_not_nought)] | None
    """Standard deviation shared by all pixels; null unless Gaussian."""
    binarisation: Literal["dynamic", "none"]
    """Whether training images were redrawn as Bernoulli samples each time they were shown."""


class PoolEntry(_Part):
    """One Gaussian in latent space; its tensors are row i of ``pools.safetensors``."""

    name: Label
    rows: Count
    aggregate: bool
    """True for the pool of all the data, which is no kind of data and so no class."""


class Metric(_Part):
    """A figure of the training run, in nats per image unless its name says otherwise."""

    value: Finite
    standard_error: Finite | None


class Gate(_Part):
    """A check that the model had to pass before it was sealed."""

    name: Text
    wanted: Text
    came: Text
    passed: bool
    forced: bool
    """True when it failed and the user sealed the bundle all the same."""


class TrainingSummary(_Part):
    """Where the weights come from; all null or empty for a bundle made from foreign graphs."""

    dataset: Text
    dataset_sha256: Sha256 | None
    objective: Text
    """What was minimised, in words; the first one is "elbo", "beta_elbo", "iwae" or "distortion"."""
    beta: Finite | None
    seed: int | None
    steps: int | None
    git_commit: Text | None
    versions: dict[Text, Text]
    metrics: dict[Label, Metric]
    gates: tuple[Gate, ...]


class FileEntry(_Part):
    size: Count
    sha256: Sha256


class ManifestBody(_Part):
    """Everything but the list of files, which only the archive knows."""

    format: Literal[1, 2] = 1
    modality: ModalityName = "image"
    name: Name
    version: Annotated[Count, Field(ge=1)]
    created: datetime
    kind: Text
    """"ae", "vae", "beta_vae" …"""
    image: ImageSpec | None
    """null unless it is a model of images."""
    latent_shape: Annotated[tuple[Size, ...], Field(min_length=1, max_length=8), AfterValidator(_bounded)]
    latent_scale: Annotated[Moderate, AfterValidator(_not_nought)]
    latent_shift: Moderate
    likelihood: Likelihood
    prior: Literal["standard_normal", "flow"]
    graphs: dict[Role, Graph]
    pools: Annotated[tuple[PoolEntry, ...], Field(max_length=MOST_POOLS)]
    training: TrainingSummary

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if ("modality" in self.model_fields_set) != (self.format > 1):
            raise ValueError("modality: want it in format 2, and not in format 1, which is of images")
        is_image = self.modality == "image"
        if is_image != (self.image is not None):
            wanted = "an object" if is_image else "null"
            raise ValueError(f"image: want {wanted} where the modality is {self.modality}")
        if is_image == (self.likelihood.name == "columns"):
            raise ValueError(f"likelihood: came {self.likelihood.name} where the modality is {self.modality}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if missing := {"encoder", "decoder"} - set(self.graphs):
            raise ValueError(f"graphs: want encoder and decoder, missing {', '.join(sorted(missing))}")
        for role, graph in self.graphs.items():
            roles = ROLES_OF[self.modality][role]
            for kind, wanted, came in zip(
                ("inputs", "outputs"), roles, (graph.inputs, graph.outputs), strict=True
            ):
                if set(wanted) != set(came):
                    raise ValueError(
                        f"graphs.{role}.{kind}: want {', '.join(wanted)}, came {', '.join(came) or 'nothing'}"
                    )
        if (self.prior == "flow") != ("prior" in self.graphs):
            raise ValueError(f"prior {self.prior!r}: want a prior graph exactly when it is 'flow'")
        names = [pool.name for pool in self.pools]
        if len(names) != len(set(names)):
            raise ValueError("pools: names must differ")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        written: dict[str, object] = handler(self)
        if self.format == 1:
            del written["modality"]
        return written


class Manifest(ManifestBody):
    """A whole manifest."""

    files: Annotated[dict[str, FileEntry], Field(max_length=1024)]

    @model_validator(mode="after")
    def _files_listed(self) -> Self:
        wanted = {graph.file for graph in self.graphs.values()}
        if self.pools:
            wanted.add("pools.safetensors")
        if self.modality == "table":
            wanted.add(_SCHEMA)
        if missing := wanted - set(self.files):
            raise ValueError(f"files: missing {', '.join(sorted(missing))}")
        return self
