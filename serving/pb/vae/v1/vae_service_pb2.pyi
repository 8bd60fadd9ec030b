from serving.pb.vae.v1 import models_pb2 as _models_pb2
from serving.pb.vae.v1 import tensors_pb2 as _tensors_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InterpolationPath(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTERPOLATION_PATH_UNSPECIFIED: _ClassVar[InterpolationPath]
    INTERPOLATION_PATH_LINEAR: _ClassVar[InterpolationPath]
    INTERPOLATION_PATH_SPHERICAL: _ClassVar[InterpolationPath]
INTERPOLATION_PATH_UNSPECIFIED: InterpolationPath
INTERPOLATION_PATH_LINEAR: InterpolationPath
INTERPOLATION_PATH_SPHERICAL: InterpolationPath

class Neighbourhood(_message.Message):
    __slots__ = ("image", "latent", "record", "spread")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LATENT_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    image: _tensors_pb2.Images
    latent: _tensors_pb2.Tensor
    record: _tensors_pb2.Records
    spread: float
    def __init__(self, image: _Optional[_Union[_tensors_pb2.Images, _Mapping]] = ..., latent: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., record: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ..., spread: _Optional[float] = ...) -> None: ...

class SampleRequest(_message.Message):
    __slots__ = ("model", "count", "seed", "first_row", "pool", "neighbourhood", "given", "temperature", "image_format", "include_latents", "observation_temperature", "record_format", "samples")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROW_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURHOOD_FIELD_NUMBER: _ClassVar[int]
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_LATENTS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    RECORD_FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ModelRef
    count: int
    seed: int
    first_row: int
    pool: str
    neighbourhood: Neighbourhood
    given: _tensors_pb2.Records
    temperature: float
    image_format: _tensors_pb2.ImageFormat
    include_latents: bool
    observation_temperature: float
    record_format: _tensors_pb2.RecordFormat
    samples: int
    def __init__(self, model: _Optional[_Union[_models_pb2.ModelRef, _Mapping]] = ..., count: _Optional[int] = ..., seed: _Optional[int] = ..., first_row: _Optional[int] = ..., pool: _Optional[str] = ..., neighbourhood: _Optional[_Union[Neighbourhood, _Mapping]] = ..., given: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ..., temperature: _Optional[float] = ..., image_format: _Optional[_Union[_tensors_pb2.ImageFormat, str]] = ..., include_latents: bool = ..., observation_temperature: _Optional[float] = ..., record_format: _Optional[_Union[_tensors_pb2.RecordFormat, str]] = ..., samples: _Optional[int] = ...) -> None: ...

class SampleResponse(_message.Message):
    __slots__ = ("model", "seed", "images", "latents", "records")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ServedModel
    seed: int
    images: _tensors_pb2.Images
    latents: _tensors_pb2.Tensor
    records: _tensors_pb2.Records
    def __init__(self, model: _Optional[_Union[_models_pb2.ServedModel, _Mapping]] = ..., seed: _Optional[int] = ..., images: _Optional[_Union[_tensors_pb2.Images, _Mapping]] = ..., latents: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ...) -> None: ...

class SampleStreamRequest(_message.Message):
    __slots__ = ("sample", "rows_per_response")
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    sample: SampleRequest
    rows_per_response: int
    def __init__(self, sample: _Optional[_Union[SampleRequest, _Mapping]] = ..., rows_per_response: _Optional[int] = ...) -> None: ...

class SampleStreamResponse(_message.Message):
    __slots__ = ("model", "seed", "images", "latents", "first_row", "records")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROW_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ServedModel
    seed: int
    images: _tensors_pb2.Images
    latents: _tensors_pb2.Tensor
    first_row: int
    records: _tensors_pb2.Records
    def __init__(self, model: _Optional[_Union[_models_pb2.ServedModel, _Mapping]] = ..., seed: _Optional[int] = ..., images: _Optional[_Union[_tensors_pb2.Images, _Mapping]] = ..., latents: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., first_row: _Optional[int] = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ...) -> None: ...

class EncodeRequest(_message.Message):
    __slots__ = ("model", "images", "include_latents", "seed", "include_pool_probabilities", "first_row", "records")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_LATENTS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_POOL_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROW_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ModelRef
    images: _tensors_pb2.Images
    include_latents: bool
    seed: int
    include_pool_probabilities: bool
    first_row: int
    records: _tensors_pb2.Records
    def __init__(self, model: _Optional[_Union[_models_pb2.ModelRef, _Mapping]] = ..., images: _Optional[_Union[_tensors_pb2.Images, _Mapping]] = ..., include_latents: bool = ..., seed: _Optional[int] = ..., include_pool_probabilities: bool = ..., first_row: _Optional[int] = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("model", "mean", "log_var", "latents", "seed", "pool_probabilities", "pools")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    LOG_VAR_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    POOL_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ServedModel
    mean: _tensors_pb2.Tensor
    log_var: _tensors_pb2.Tensor
    latents: _tensors_pb2.Tensor
    seed: int
    pool_probabilities: _tensors_pb2.Tensor
    pools: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[_Union[_models_pb2.ServedModel, _Mapping]] = ..., mean: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., log_var: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., latents: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., seed: _Optional[int] = ..., pool_probabilities: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., pools: _Optional[_Iterable[str]] = ...) -> None: ...

class DecodeRequest(_message.Message):
    __slots__ = ("model", "latents", "image_format", "record_format")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    RECORD_FORMAT_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ModelRef
    latents: _tensors_pb2.Tensor
    image_format: _tensors_pb2.ImageFormat
    record_format: _tensors_pb2.RecordFormat
    def __init__(self, model: _Optional[_Union[_models_pb2.ModelRef, _Mapping]] = ..., latents: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., image_format: _Optional[_Union[_tensors_pb2.ImageFormat, str]] = ..., record_format: _Optional[_Union[_tensors_pb2.RecordFormat, str]] = ...) -> None: ...

class DecodeResponse(_message.Message):
    __slots__ = ("model", "images", "records")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ServedModel
    images: _tensors_pb2.Images
    records: _tensors_pb2.Records
    def __init__(self, model: _Optional[_Union[_models_pb2.ServedModel, _Mapping]] = ..., images: _Optional[_Union[_tensors_pb2.Images, _Mapping]] = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ...) -> None: ...

class ReconstructRequest(_message.Message):
    __slots__ = ("model", "images", "image_format", "include_latents", "records", "record_format")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_LATENTS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    RECORD_FORMAT_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ModelRef
    images: _tensors_pb2.Images
    image_format: _tensors_pb2.ImageFormat
    include_latents: bool
    records: _tensors_pb2.Records
    record_format: _tensors_pb2.RecordFormat
    def __init__(self, model: _Optional[_Union[_models_pb2.ModelRef, _Mapping]] = ..., images: _Optional[_Union[_tensors_pb2.Images, _Mapping]] = ..., image_format: _Optional[_Union[_tensors_pb2.ImageFormat, str]] = ..., include_latents: bool = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ..., record_format: _Optional[_Union[_tensors_pb2.RecordFormat, str]] = ...) -> None: ...

class ReconstructResponse(_message.Message):
    __slots__ = ("model", "images", "latents", "records")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ServedModel
    images: _tensors_pb2.Images
    latents: _tensors_pb2.Tensor
    records: _tensors_pb2.Records
    def __init__(self, model: _Optional[_Union[_models_pb2.ServedModel, _Mapping]] = ..., images: _Optional[_Union[_tensors_pb2.Images, _Mapping]] = ..., latents: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ...) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("model", "images", "samples", "seed", "first_row", "records")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROW_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ModelRef
    images: _tensors_pb2.Images
    samples: int
    seed: int
    first_row: int
    records: _tensors_pb2.Records
    def __init__(self, model: _Optional[_Union[_models_pb2.ModelRef, _Mapping]] = ..., images: _Optional[_Union[_tensors_pb2.Images, _Mapping]] = ..., samples: _Optional[int] = ..., seed: _Optional[int] = ..., first_row: _Optional[int] = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ...) -> None: ...

class ScoreResponse(_message.Message):
    __slots__ = ("model", "seed", "samples", "nelbo", "distortion", "rate", "nll", "quantile", "column_distortion", "columns")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    NELBO_FIELD_NUMBER: _ClassVar[int]
    DISTORTION_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    NLL_FIELD_NUMBER: _ClassVar[int]
    QUANTILE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_DISTORTION_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ServedModel
    seed: int
    samples: int
    nelbo: _tensors_pb2.Tensor
    distortion: _tensors_pb2.Tensor
    rate: _tensors_pb2.Tensor
    nll: _tensors_pb2.Tensor
    quantile: _tensors_pb2.Tensor
    column_distortion: _tensors_pb2.Tensor
    columns: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[_Union[_models_pb2.ServedModel, _Mapping]] = ..., seed: _Optional[int] = ..., samples: _Optional[int] = ..., nelbo: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., distortion: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., rate: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., nll: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., quantile: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., column_distortion: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., columns: _Optional[_Iterable[str]] = ...) -> None: ...

class ImputeRequest(_message.Message):
    __slots__ = ("model", "records", "draws", "samples", "seed", "first_row", "observation_temperature", "record_format")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    DRAWS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROW_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    RECORD_FORMAT_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ModelRef
    records: _tensors_pb2.Records
    draws: int
    samples: int
    seed: int
    first_row: int
    observation_temperature: float
    record_format: _tensors_pb2.RecordFormat
    def __init__(self, model: _Optional[_Union[_models_pb2.ModelRef, _Mapping]] = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ..., draws: _Optional[int] = ..., samples: _Optional[int] = ..., seed: _Optional[int] = ..., first_row: _Optional[int] = ..., observation_temperature: _Optional[float] = ..., record_format: _Optional[_Union[_tensors_pb2.RecordFormat, str]] = ...) -> None: ...

class ImputeResponse(_message.Message):
    __slots__ = ("model", "seed", "records", "draws", "samples")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    DRAWS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ServedModel
    seed: int
    records: _tensors_pb2.Records
    draws: int
    samples: int
    def __init__(self, model: _Optional[_Union[_models_pb2.ServedModel, _Mapping]] = ..., seed: _Optional[int] = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ..., draws: _Optional[int] = ..., samples: _Optional[int] = ...) -> None: ...

class InterpolateRequest(_message.Message):
    __slots__ = ("model", "images", "latents", "records", "steps", "path", "image_format", "include_latents", "record_format")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_LATENTS_FIELD_NUMBER: _ClassVar[int]
    RECORD_FORMAT_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ModelRef
    images: _tensors_pb2.Images
    latents: _tensors_pb2.Tensor
    records: _tensors_pb2.Records
    steps: int
    path: InterpolationPath
    image_format: _tensors_pb2.ImageFormat
    include_latents: bool
    record_format: _tensors_pb2.RecordFormat
    def __init__(self, model: _Optional[_Union[_models_pb2.ModelRef, _Mapping]] = ..., images: _Optional[_Union[_tensors_pb2.Images, _Mapping]] = ..., latents: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ..., steps: _Optional[int] = ..., path: _Optional[_Union[InterpolationPath, str]] = ..., image_format: _Optional[_Union[_tensors_pb2.ImageFormat, str]] = ..., include_latents: bool = ..., record_format: _Optional[_Union[_tensors_pb2.RecordFormat, str]] = ...) -> None: ...

class InterpolateResponse(_message.Message):
    __slots__ = ("model", "images", "latents", "records")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ServedModel
    images: _tensors_pb2.Images
    latents: _tensors_pb2.Tensor
    records: _tensors_pb2.Records
    def __init__(self, model: _Optional[_Union[_models_pb2.ServedModel, _Mapping]] = ..., images: _Optional[_Union[_tensors_pb2.Images, _Mapping]] = ..., latents: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., records: _Optional[_Union[_tensors_pb2.Records, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "versions")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[_models_pb2.Model]
    versions: _containers.RepeatedCompositeFieldContainer[_models_pb2.ModelVersion]
    def __init__(self, models: _Optional[_Iterable[_Union[_models_pb2.Model, _Mapping]]] = ..., versions: _Optional[_Iterable[_Union[_models_pb2.ModelVersion, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ModelRef
    def __init__(self, model: _Optional[_Union[_models_pb2.ModelRef, _Mapping]] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model", "versions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.Model
    versions: _containers.RepeatedCompositeFieldContainer[_models_pb2.ModelVersion]
    def __init__(self, model: _Optional[_Union[_models_pb2.Model, _Mapping]] = ..., versions: _Optional[_Iterable[_Union[_models_pb2.ModelVersion, _Mapping]]] = ...) -> None: ...

class GetLatentMapRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ModelRef
    def __init__(self, model: _Optional[_Union[_models_pb2.ModelRef, _Mapping]] = ...) -> None: ...

class GetLatentMapResponse(_message.Message):
    __slots__ = ("model", "points", "latents", "labels", "label_of", "pool_of", "quantile")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_OF_FIELD_NUMBER: _ClassVar[int]
    POOL_OF_FIELD_NUMBER: _ClassVar[int]
    QUANTILE_FIELD_NUMBER: _ClassVar[int]
    model: _models_pb2.ServedModel
    points: _tensors_pb2.Tensor
    latents: _tensors_pb2.Tensor
    labels: _containers.RepeatedScalarFieldContainer[str]
    label_of: _containers.RepeatedScalarFieldContainer[int]
    pool_of: _containers.RepeatedScalarFieldContainer[int]
    quantile: _tensors_pb2.Tensor
    def __init__(self, model: _Optional[_Union[_models_pb2.ServedModel, _Mapping]] = ..., points: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., latents: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., label_of: _Optional[_Iterable[int]] = ..., pool_of: _Optional[_Iterable[int]] = ..., quantile: _Optional[_Union[_tensors_pb2.Tensor, _Mapping]] = ...) -> None: ...
