"""What GetModel, ListModels and GetLatentMap say of a model and of its versions."""

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from serving.bundle import PROJECTION
from serving.errors import NotOffered
from serving.modalities import on_the_wire
from serving.models.model import Model
from serving.models.version_states import VersionState
from serving.pb.vae.v1 import models_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import replies


def describe(model: Model) -> models_pb2.Model:
    manifest = model.manifest
    created = Timestamp()
    created.FromDatetime(manifest.created)
    weights = model.pools.weight if model.pools else np.empty(0)
    described = models_pb2.Model(
        model=models_pb2.ServedModel(name=model.name, version=model.version, digest=model.digest),
        ready=True,
        latent_shape=manifest.latent_shape,
        kind=manifest.kind,
        likelihood=manifest.likelihood.name,
        prior=manifest.prior,
        pools=[
            models_pb2.Pool(name=pool.name, weight=weight, rows=pool.rows, aggregate=pool.aggregate)
            for pool, weight in zip(manifest.pools, weights, strict=True)
        ],
        metrics=[
            models_pb2.Metric(name=name, value=metric.value, standard_error=metric.standard_error)
            for name, metric in manifest.training.metrics.items()
        ],
        created=created,
        execution_provider=model.provider.name,
        max_rows=model.max_rows,
        dataset=manifest.training.dataset,
        offers_score=model.scorer is not None,
        offers_latent_map=model.projection is not None,
        gates=[models_pb2.Gate(**gate.model_dump()) for gate in manifest.training.gates],
        modality=model.modality.name,
    )
    on_the_wire.wire_of(model.modality).describe(described)
    return described


def describe_version(state: VersionState) -> models_pb2.ModelVersion:
    return models_pb2.ModelVersion(
        name=state.name,
        version=state.version,
        state=f"VERSION_STATE_{state.state.upper()}",
        reason=state.reason,
        digest=state.digest,
        memory_bytes=state.memory_bytes,
        is_default=state.is_default,
    )


def latent_map(model: Model) -> bytes:
    """The response to GetLatentMap, serialised. Raises NotOffered for a model without a map."""
    found = model.projection
    if found is None:
        raise NotOffered(
            PROJECTION,
            f"model {model.name}: its bundle has no map of its latent space; want it exported anew",
        )

    def indices(of: NDArray[np.int32] | None) -> list[int]:
        return [] if of is None else of.tolist()

    known = pb.GetLatentMapResponse(
        labels=found.labels, label_of=indices(found.label_of), pool_of=indices(found.pool_of)
    )
    return replies.join(
        replies.served_model(model.name, model.version, model.digest),
        replies.tensor(pb.GetLatentMapResponse.POINTS_FIELD_NUMBER, found.points),
        replies.tensor(pb.GetLatentMapResponse.LATENTS_FIELD_NUMBER, found.latents),
        (known.SerializeToString(),),
        ()
        if found.quantile is None
        else replies.tensor(pb.GetLatentMapResponse.QUANTILE_FIELD_NUMBER, found.quantile),
    )
