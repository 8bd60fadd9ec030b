"""What of a model the protocol sees: its parts, each of which it takes for a model, and their tensors.

A model ``digits`` is ``digits/encoder``, ``digits/decoder``, ``digits/sampler`` and, where its bundle has a
score graph, ``digits/scorer``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from serving.errors import NotFound, quoted
from serving.models.model import Model
from serving.models.version_states import State, VersionState
from serving.oip.schema import message

PLATFORM = "vaeserve"
Datatype = Literal["FP32", "INT64"]
Kind = Literal["encoder", "decoder", "sampler", "scorer"]

STATES: dict[State, str] = {
    "ready": "READY",
    "loading": "LOADING",
    "unloading": "UNLOADING",
    "refused": "UNAVAILABLE",
    "available": "UNAVAILABLE",
    "missing": "UNAVAILABLE",
}
"""As Triton's index has them, which knows no others."""
_OF_EVERY_MODEL: tuple[Kind, ...] = ("encoder", "decoder", "sampler")
_CONFIG_TYPES = {"FP32": 11, "INT64": 9}
"""``inference.DataType``."""


@dataclass(frozen=True)
class TensorSpec:
    """``shape`` begins with -1 where the axis is the rows of a request."""

    name: str
    shape: tuple[int, ...]
    datatype: Datatype = "FP32"


@dataclass(frozen=True)
class Part:
    """A model in the protocol's sense."""

    kind: Kind
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: dict[str, str] = field(default_factory=dict)
    """Those of a request that it heeds, and what they are."""

    @property
    def rows_batch(self) -> bool:
        """Whether the first axis of every tensor is rows that may come from several requests."""
        return all(tensor.shape[0] == -1 for tensor in (*self.inputs, *self.outputs))


_SEED = {"seed": "integer; a fresh one each time without it", "first_row": "integer: index of the first row"}
_SAMPLING = {
    **_SEED,
    "pool": "string: name of the pool to draw from; the prior without it",
    "temperature": "number: factor of the noise, 1 without it",
    "near": "string: a JSON array of the latents to stay near to",
    "spread": "number: how far from there, in standard deviations of the prior",
}


def parts_of(model: Model) -> dict[str, Part]:
    """By kind."""
    takes, gives = (
        TensorSpec(tensor.name, (-1, *tensor.shape))
        for tensor in (model.modality.takes, model.modality.gives)
    )
    latent = TensorSpec("latent", (-1, *model.manifest.latent_shape))
    found = [
        Part(
            "encoder",
            (takes,),
            (TensorSpec("mean", latent.shape), TensorSpec("log_var", latent.shape)),
        ),
        Part("decoder", (latent,), (gives,)),
        Part(
            "sampler",
            (TensorSpec("count", (1,), "INT64"),),
            (gives, latent),
            _SAMPLING,
        ),
    ]
    if model.scorer:
        scores = tuple(TensorSpec(name, (-1,)) for name in ("nelbo", "distortion", "rate", "nll"))
        if model.modality.columns:
            scores += (TensorSpec("column_distortion", (-1, len(model.modality.columns))),)
        parameters = {**_SEED, "samples": "integer: of each posterior"}
        found.append(Part("scorer", (takes,), scores, parameters))
    return {part.kind: part for part in found}


def split(name: str) -> tuple[str, str]:
    """``digits/encoder`` → the model's name and the part's kind; the latter is empty if there is none."""
    model, _, kind = name.rpartition("/")
    return model, kind


def part_of(model: Model, kind: str) -> Part:
    """Raises NotFound."""
    parts = parts_of(model)
    if kind not in parts:
        known = ", ".join(f"{model.name}/{one}" for one in parts)
        raise NotFound(
            "model", f"{model.name}/{kind}", f"no part {quoted(kind)} of {model.name}; want {known}"
        )
    return parts[kind]


def every_part(models: list[Model]) -> Iterator[tuple[str, Model, Part]]:
    """With the name that the protocol knows it by."""
    for model in models:
        for kind, part in parts_of(model).items():
            yield f"{model.name}/{kind}", model, part


def names_of(state: VersionState, model: Model | None) -> list[str]:
    """The parts of a version; of one without ``model``, which is not in service, those that every one has."""
    return [f"{state.name}/{kind}" for kind in (parts_of(model) if model else _OF_EVERY_MODEL)]


def metadata(model: Model, part: Part, versions: list[int]) -> Any:
    """A ``ModelMetadataResponse``, with all versions of the model that are in service."""
    response = message("ModelMetadataResponse")(
        name=f"{model.name}/{part.kind}", versions=[str(version) for version in versions], platform=PLATFORM
    )
    for wanted, tensors in ((response.inputs, part.inputs), (response.outputs, part.outputs)):
        for tensor in tensors:
            wanted.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    response.properties["digest"] = model.digest
    for name, meaning in part.parameters.items():
        response.properties[f"parameter.{name}"] = meaning
    return response


def config(model: Model, part: Part) -> Any:
    """A ``ModelConfigResponse``. Dims are without the rows where those batch; load generators count on it."""
    response = message("ModelConfigResponse")()
    found = response.config
    found.name, found.platform, found.backend = f"{model.name}/{part.kind}", PLATFORM, PLATFORM
    if part.rows_batch:
        found.max_batch_size = model.max_rows
        found.dynamic_batching.SetInParent()
    first = 1 if part.rows_batch else 0
    for wanted, tensors in ((found.input, part.inputs), (found.output, part.outputs)):
        for tensor in tensors:
            dims = tensor.shape[first:] or (1,)
            wanted.add(name=tensor.name, data_type=_CONFIG_TYPES[tensor.datatype], dims=dims)
    return response
