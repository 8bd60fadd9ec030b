"""What the server must know of a kind of data on the wire: rows in requests, and rows in responses."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.host.background import Background
from serving.modalities.modality import Rows
from serving.pb.vae.v1 import models_pb2
from serving.wire.replies import Part
from serving.wire.tensors import TensorLike

Decoded = NDArray[np.float32] | NDArray[np.uint8]


class Known(Protocol):
    """What of rows stays as it came."""

    def rows(self, places: NDArray[np.intp]) -> "Known":
        """Of the rows at these indices, which may be there several times."""


@dataclass(frozen=True)
class Partial:
    """Rows of which some is known."""

    rows: Rows
    """For the encoder: [rows, *takes.shape]."""
    known: Known


@dataclass(frozen=True)
class Draws:
    """Rows that are drawn from p(x|z): row i with the noise of row ``first_row`` + i of the seed."""

    seed: int
    first_row: int
    known: Any = None
    """What of them is known already, ``Known`` of as many rows; None if nothing is."""


class Writer(Protocol):
    """Writes the rows of one response, in the form that its request has asked for."""

    @property
    def as_pixels(self) -> bool:
        """Whether bytes are as good as what the decoder gives, see ``Modality.byte_form``."""

    async def written(
        self, response: Any, decoded: Decoded, background: Background, draws: Draws | None = None
    ) -> tuple[Part, ...]:
        """The field of the response (its class) that holds rows: of what the decoder gave, [rows, …].

        Those that p(x|z) is likeliest to give, its mean or its most likely row, or those that are drawn, in
        kinds of data that are.
        """


class GivenRows(Protocol):
    """Rows as a request has them, not looked at yet."""

    def rows_said(self, max_rows: int) -> int:
        """How many there are said to be, at most as many as there may be; whether there are is to be seen."""

    async def read(self, max_rows: int, background: Background) -> Rows:
        """[rows, *takes.shape]. Raises InvalidInput."""

    async def read_partial(self, max_rows: int, background: Background) -> Partial:
        """The same of rows to be filled, in kinds of data that are. Raises InvalidInput."""


class WireForm(Protocol):
    """The messages of one model's rows."""

    many: str
    """Name of the field of requests and responses that holds rows."""
    one: str
    """The same where it is a single one."""
    asked: tuple[str, ...]
    """Names of the fields of requests that tell how rows of this kind are wanted."""
    fills: bool
    """Whether rows of which a part is known can be filled."""

    def given(self, message: Any, field: str) -> GivenRows:
        """Those of a message in a field of that name."""

    async def read_tensor(
        self, tensor: TensorLike, field: str, max_rows: int, background: Background
    ) -> Rows:
        """[rows, *takes.shape] of the tensor itself. Raises InvalidInput."""

    def writer(self, request: Any) -> Writer:
        """What the request says of the form of its response. Raises InvalidInput."""

    def describe(self, described: models_pb2.Model) -> None:
        """Add what is to be known of the rows."""
