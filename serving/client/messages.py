"""numpy to messages and back."""

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.client import results
from serving.client.records.described_table import Table, from_table
from serving.client.records.received_records import NO_RECORDS, from_records
from serving.pb.vae.v1 import models_pb2, vae_service_pb2
from serving.pb.vae.v1 import tensors_pb2 as pb
from serving.wire import images as formats

Rows = NDArray[Any]
ImageRows = Rows | Sequence[bytes]
"""Images [N, C, H, W] as float32 or uint8, or N PNG files."""

_DTYPES: dict[int, np.dtype[Any]] = {
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    pb.DATA_TYPE_UINT8: np.dtype("u1"),
}
_STATES = {
    number: name.removeprefix("VERSION_STATE_").lower()
    for name, number in models_pb2.VersionState.items()
    if number
}


def image_format(name: str) -> pb.ImageFormat:
    """Raises ValueError for a name that is none. The default is left unsaid: models of tables want none."""
    known = {
        "float32": pb.IMAGE_FORMAT_UNSPECIFIED,
        "uint8": pb.IMAGE_FORMAT_UINT8,
        "png": pb.IMAGE_FORMAT_PNG,
    }
    if name not in known:
        raise ValueError(f"format: want one of {', '.join(known)}, came {name!r}")
    return known[name]


def to_images(images: ImageRows) -> pb.Images:
    """Raises ValueError for values that are no pixels."""
    if isinstance(images, np.ndarray):
        return pb.Images(tensor=_to_tensor("images", images))
    if all(isinstance(file, bytes) for file in images):
        return pb.Images(png=pb.PngImages(files=images))
    raise ValueError("images: want an array or a sequence of PNG files (bytes)")


def to_latents(latents: Rows) -> pb.Tensor:
    """Raises ValueError for values that are not floating point."""
    if np.asarray(latents).dtype.kind != "f":
        raise ValueError(f"latents: want float32, came {np.asarray(latents).dtype}")
    return _to_tensor("latents", np.asarray(latents))


def _to_tensor(name: str, array: Rows) -> pb.Tensor:
    if array.dtype == np.uint8:
        return pb.Tensor(dtype=pb.DATA_TYPE_UINT8, shape=array.shape, data=array.tobytes())
    if array.dtype.kind != "f":
        raise ValueError(f"{name}: want float32 or uint8, came {array.dtype}")
    data = array.astype("<f4", copy=False).tobytes()
    return pb.Tensor(dtype=pb.DATA_TYPE_FLOAT32, shape=array.shape, data=data)


def from_tensors(tensors: Iterable[pb.Tensor]) -> Rows:
    """The rows of all tensors, in one array that may be written to."""
    return np.concatenate([_from_tensor(tensor) for tensor in tensors])


def _from_tensor(tensor: pb.Tensor) -> Rows:
    dtype = _DTYPES[tensor.dtype]
    rows: Rows = np.frombuffer(tensor.data, dtype).reshape(tuple(tensor.shape))
    return rows.astype(dtype.newbyteorder("="), copy=False)


def from_rows(responses: Sequence[Any], table: Table | None) -> dict[str, Any]:
    """Images and PNG files of all responses, or records of a model with this table: fields of a result."""
    if table is not None:
        nothing = np.zeros((0, 0, 0, 0), np.float32)
        records = from_records([response.records for response in responses], table)
        return {"images": nothing, "png": [], "records": records}
    images, png = from_images([response.images for response in responses])
    return {"images": images, "png": png, "records": NO_RECORDS}


def from_images(messages: Sequence[pb.Images]) -> tuple[Rows, list[bytes]]:
    """Arrays of all messages, and their PNG files if they are such."""
    if messages[0].WhichOneof("content") == "tensor":
        return from_tensors(message.tensor for message in messages), []
    files = [file for message in messages for file in message.png.files]
    return formats.from_png(files, formats.png_shape(files[0])), files


def from_samples(
    responses: Sequence[Any], table: Table | None, *, first_row: int, latents: bool
) -> results.Samples:
    """The rows of several responses to Sample, or of one of a stream."""
    return results.Samples(
        model=from_served(responses[0].model),
        seed=responses[0].seed,
        latents=from_tensors(response.latents for response in responses) if latents else None,
        first_row=first_row,
        **from_rows(responses, table),
    )


def from_scores(responses: Sequence[vae_service_pb2.ScoreResponse]) -> results.Scores:
    first = responses[0]

    def column(name: str) -> Rows:
        return from_tensors(getattr(response, name) for response in responses)

    return results.Scores(
        model=from_served(first.model),
        seed=first.seed,
        samples=first.samples,
        nelbo=column("nelbo"),
        distortion=column("distortion"),
        rate=column("rate"),
        nll=column("nll"),
        quantile=column("quantile") if first.HasField("quantile") else None,
        column_distortion=column("column_distortion") if first.HasField("column_distortion") else None,
        columns=tuple(first.columns),
    )


def from_imputed(responses: Sequence[vae_service_pb2.ImputeResponse], table: Table) -> results.Imputed:
    first = responses[0]
    return results.Imputed(
        model=from_served(first.model),
        seed=first.seed,
        records=from_records([response.records for response in responses], table),
        draws=first.draws,
        samples=first.samples,
    )


def from_latent_map(response: vae_service_pb2.GetLatentMapResponse) -> results.LatentMap:
    def indices(of: Sequence[int]) -> results.Integers | None:
        return np.array(of, np.int32) if of else None

    return results.LatentMap(
        model=from_served(response.model),
        points=from_tensors([response.points]),
        latents=from_tensors([response.latents]),
        labels=list(response.labels),
        label_of=indices(response.label_of),
        pool_of=indices(response.pool_of),
        quantile=from_tensors([response.quantile]) if response.HasField("quantile") else None,
    )


def from_served(message: models_pb2.ServedModel) -> results.ServedModel:
    return results.ServedModel(message.name, message.version, message.digest)


def from_model(message: models_pb2.Model) -> results.Model:
    image = message.image
    return results.Model(
        name=message.model.name,
        version=message.model.version,
        digest=message.model.digest,
        ready=message.ready,
        image_shape=(image.channels, image.height, image.width),
        value_range=(image.value_min, image.value_max),
        latent_shape=tuple(message.latent_shape),
        kind=message.kind,
        likelihood=message.likelihood,
        prior=message.prior,
        pools=tuple(results.Pool(p.name, p.weight, p.rows, p.aggregate) for p in message.pools),
        metrics={metric.name: _from_metric(metric) for metric in message.metrics},
        created=message.created.ToDatetime(tzinfo=UTC),
        execution_provider=message.execution_provider,
        max_rows=message.max_rows,
        dataset=message.dataset,
        offers_score=message.offers_score,
        offers_latent_map=message.offers_latent_map,
        gates=tuple(results.Gate(g.name, g.wanted, g.came, g.passed, g.forced) for g in message.gates),
        modality=message.modality or "image",
        table=from_table(message.table) if message.HasField("table") else None,
    )


def from_versions(response: vae_service_pb2.ListModelsResponse) -> list[results.ModelVersion]:
    """Of a server that tells of models alone, these."""
    models = [from_model(model) for model in response.models]
    if not response.versions:
        return [
            results.ModelVersion(m.name, m.version, "ready", "", True, m.digest, 0, model=m) for m in models
        ]
    by_version = {(model.name, model.version): model for model in models}
    return [
        results.ModelVersion(
            name=version.name,
            version=version.version,
            state=_STATES.get(version.state, "unknown"),
            reason=version.reason,
            is_default=version.is_default,
            digest=version.digest,
            memory_bytes=version.memory_bytes,
            model=by_version.get((version.name, version.version)),
        )
        for version in response.versions
    ]


def _from_metric(message: models_pb2.Metric) -> results.Metric:
    error = message.standard_error if message.HasField("standard_error") else None
    return results.Metric(message.value, error)
