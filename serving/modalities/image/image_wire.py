"""The messages of images: ``vae.v1.Images``."""

from dataclasses import dataclass
from typing import Any

from serving.bundle import ImageSpec
from serving.errors import InvalidInput
from serving.host.background import Background
from serving.modalities.image import image_messages
from serving.modalities.image.image_modality import ImageModality
from serving.modalities.modality import Rows
from serving.modalities.wire_form import Decoded, Draws, Partial
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.wire.replies import Part
from serving.wire.tensors import TensorLike


@dataclass(frozen=True)
class ImageWriter:
    """See ``Writer``."""

    spec: ImageSpec
    wanted: int
    """A ``vae.v1.ImageFormat``."""

    @property
    def as_pixels(self) -> bool:
        return image_messages.are_bytes(self.wanted)

    async def written(
        self, response: Any, decoded: Decoded, background: Background, draws: Draws | None = None
    ) -> tuple[Part, ...]:
        field: int = response.IMAGES_FIELD_NUMBER
        return await image_messages.written(field, decoded, self.wanted, self.spec, background)


@dataclass(frozen=True)
class GivenImages:
    """See ``GivenRows``."""

    spec: ImageSpec
    message: tensors_pb2.Images
    field: str

    def rows_said(self, max_rows: int) -> int:
        return image_messages.rows_said(self.message, max_rows)

    async def read(self, max_rows: int, background: Background) -> Rows:
        return await image_messages.read(self.message, self.field, self.spec, max_rows, background)

    async def read_partial(self, max_rows: int, background: Background) -> Partial:
        raise InvalidInput(self.field, "images are not filled; want a model of tables")


class ImageWire:
    """See ``WireForm``."""

    many, one = "images", "image"
    asked: tuple[str, ...] = ("image_format",)
    fills = False

    def __init__(self, modality: ImageModality) -> None:
        self._spec = modality.spec

    def given(self, message: tensors_pb2.Images, field: str) -> GivenImages:
        return GivenImages(self._spec, message, field)

    async def read_tensor(
        self, tensor: TensorLike, field: str, max_rows: int, background: Background
    ) -> Rows:
        return await image_messages.read_tensor(tensor, field, self._spec, max_rows, background)

    def writer(self, request: Any) -> ImageWriter:
        return ImageWriter(self._spec, image_messages.image_format(request.image_format, self._spec))

    def describe(self, described: models_pb2.Model) -> None:
        channels, height, width = self._spec.shape
        low, high = self._spec.value_range
        described.image.CopyFrom(
            models_pb2.ImageSpec(channels=channels, height=height, width=width, value_min=low, value_max=high)
        )
