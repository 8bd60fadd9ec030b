"""Images, as their graphs have them. C is the number of channels, H height and W width."""

import math

import numpy as np

from serving.bundle import Bundle
from serving.modalities.modality import ByteForm, Rows, RowTensor


class ImageModality:
    """See ``Modality``."""

    name = "image"
    most_bytes = None
    cells = 0
    columns = ()

    def __init__(self, bundle: Bundle) -> None:
        assert bundle.manifest.image, "of an image, as the manifest says"
        self.spec = bundle.manifest.image
        shape = self.spec.shape
        self.takes = self.gives = RowTensor("image", shape)
        self.byte_form = ByteForm(self.spec.value_range, (shape, (shape[0], 1, 1)))
        self.values = math.prod(shape)
        self.row_bytes = 4 * self.values

    def examples(self, rng: np.random.Generator, rows: int) -> Rows:
        low, high = self.spec.value_range
        return (low + (high - low) * rng.random((rows, *self.spec.shape))).astype(np.float32)
