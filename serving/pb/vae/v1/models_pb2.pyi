import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VersionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERSION_STATE_UNSPECIFIED: _ClassVar[VersionState]
    VERSION_STATE_READY: _ClassVar[VersionState]
    VERSION_STATE_LOADING: _ClassVar[VersionState]
    VERSION_STATE_REFUSED: _ClassVar[VersionState]
    VERSION_STATE_AVAILABLE: _ClassVar[VersionState]
    VERSION_STATE_UNLOADING: _ClassVar[VersionState]
    VERSION_STATE_MISSING: _ClassVar[VersionState]
VERSION_STATE_UNSPECIFIED: VersionState
VERSION_STATE_READY: VersionState
VERSION_STATE_LOADING: VersionState
VERSION_STATE_REFUSED: VersionState
VERSION_STATE_AVAILABLE: VersionState
VERSION_STATE_UNLOADING: VersionState
VERSION_STATE_MISSING: VersionState

class ModelRef(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class ServedModel(_message.Message):
    __slots__ = ("name", "version", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    digest: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ...) -> None: ...

class ImageSpec(_message.Message):
    __slots__ = ("channels", "height", "width", "value_min", "value_max")
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    VALUE_MIN_FIELD_NUMBER: _ClassVar[int]
    VALUE_MAX_FIELD_NUMBER: _ClassVar[int]
    channels: int
    height: int
    width: int
    value_min: float
    value_max: float
    def __init__(self, channels: _Optional[int] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., value_min: _Optional[float] = ..., value_max: _Optional[float] = ...) -> None: ...

class TableColumn(_message.Message):
    __slots__ = ("name", "type", "nullable", "categories", "category_count", "has_rest", "integer", "least", "most", "resolution", "has_zone", "constant", "made_anew")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NULLABLE_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_COUNT_FIELD_NUMBER: _ClassVar[int]
    HAS_REST_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    HAS_ZONE_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_FIELD_NUMBER: _ClassVar[int]
    MADE_ANEW_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    nullable: bool
    categories: _containers.RepeatedScalarFieldContainer[str]
    category_count: int
    has_rest: bool
    integer: bool
    least: float
    most: float
    resolution: float
    has_zone: bool
    constant: _struct_pb2.Value
    made_anew: bool
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., nullable: bool = ..., categories: _Optional[_Iterable[str]] = ..., category_count: _Optional[int] = ..., has_rest: bool = ..., integer: bool = ..., least: _Optional[float] = ..., most: _Optional[float] = ..., resolution: _Optional[float] = ..., has_zone: bool = ..., constant: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., made_anew: bool = ...) -> None: ...

class ColumnOrder(_message.Message):
    __slots__ = ("least", "most")
    LEAST_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    least: str
    most: str
    def __init__(self, least: _Optional[str] = ..., most: _Optional[str] = ...) -> None: ...

class Table(_message.Message):
    __slots__ = ("columns", "label", "orders")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedCompositeFieldContainer[TableColumn]
    label: str
    orders: _containers.RepeatedCompositeFieldContainer[ColumnOrder]
    def __init__(self, columns: _Optional[_Iterable[_Union[TableColumn, _Mapping]]] = ..., label: _Optional[str] = ..., orders: _Optional[_Iterable[_Union[ColumnOrder, _Mapping]]] = ...) -> None: ...

class Pool(_message.Message):
    __slots__ = ("name", "weight", "rows", "aggregate")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    weight: float
    rows: int
    aggregate: bool
    def __init__(self, name: _Optional[str] = ..., weight: _Optional[float] = ..., rows: _Optional[int] = ..., aggregate: bool = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("name", "value", "standard_error")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    standard_error: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., standard_error: _Optional[float] = ...) -> None: ...

class Gate(_message.Message):
    __slots__ = ("name", "wanted", "came", "passed", "forced")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    CAME_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    FORCED_FIELD_NUMBER: _ClassVar[int]
    name: str
    wanted: str
    came: str
    passed: bool
    forced: bool
    def __init__(self, name: _Optional[str] = ..., wanted: _Optional[str] = ..., came: _Optional[str] = ..., passed: bool = ..., forced: bool = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("model", "ready", "image", "latent_shape", "kind", "likelihood", "prior", "pools", "metrics", "created", "execution_provider", "max_rows", "dataset", "offers_score", "offers_latent_map", "gates", "modality", "table")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LATENT_SHAPE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LIKELIHOOD_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    OFFERS_SCORE_FIELD_NUMBER: _ClassVar[int]
    OFFERS_LATENT_MAP_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    model: ServedModel
    ready: bool
    image: ImageSpec
    latent_shape: _containers.RepeatedScalarFieldContainer[int]
    kind: str
    likelihood: str
    prior: str
    pools: _containers.RepeatedCompositeFieldContainer[Pool]
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    created: _timestamp_pb2.Timestamp
    execution_provider: str
    max_rows: int
    dataset: str
    offers_score: bool
    offers_latent_map: bool
    gates: _containers.RepeatedCompositeFieldContainer[Gate]
    modality: str
    table: Table
    def __init__(self, model: _Optional[_Union[ServedModel, _Mapping]] = ..., ready: bool = ..., image: _Optional[_Union[ImageSpec, _Mapping]] = ..., latent_shape: _Optional[_Iterable[int]] = ..., kind: _Optional[str] = ..., likelihood: _Optional[str] = ..., prior: _Optional[str] = ..., pools: _Optional[_Iterable[_Union[Pool, _Mapping]]] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., created: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., execution_provider: _Optional[str] = ..., max_rows: _Optional[int] = ..., dataset: _Optional[str] = ..., offers_score: bool = ..., offers_latent_map: bool = ..., gates: _Optional[_Iterable[_Union[Gate, _Mapping]]] = ..., modality: _Optional[str] = ..., table: _Optional[_Union[Table, _Mapping]] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("name", "version", "state", "reason", "digest", "memory_bytes", "is_default")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    state: VersionState
    reason: str
    digest: str
    memory_bytes: int
    is_default: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[VersionState, str]] = ..., reason: _Optional[str] = ..., digest: _Optional[str] = ..., memory_bytes: _Optional[int] = ..., is_default: bool = ...) -> None: ...
