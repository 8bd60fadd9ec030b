"""Parts of requests, checked before they are sent."""

from collections.abc import Callable, Sequence

import numpy as np

from serving.client import messages
from serving.client.records.given_records import Absent, GivenRecords, RecordRows, Unknown
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb

Given = messages.ImageRows | RecordRows
"""Images or records."""
PACKED = tensors_pb2.RECORD_FORMAT_COLUMNS
"""How records are asked for, where it is known that the model is of tables: others refuse it."""


def ref(name: str, version: int) -> models_pb2.ModelRef:
    return models_pb2.ModelRef(name=name, version=checked_whole("version", version))


def checked_seed(seed: int | None) -> int | None:
    if seed is not None and not 0 <= seed < 2**64:
        raise ValueError(f"seed: want 0 to 2**64-1, came {seed}")
    return seed


def checked_whole(name: str, value: int) -> int:
    """What the field of a request can hold; whether it makes sense is for the server to say."""
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name}: want -2**63 to 2**63-1, came {value}")
    return value


class GivenImages:
    """Images to be sent, some rows at a time."""

    field = "images"

    def __init__(self, images: messages.ImageRows) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def message(self, rows: slice = slice(None)) -> tensors_pb2.Images:
        """Raises ValueError for values that are no pixels."""
        return messages.to_images(self._images[rows])


def given_rows(
    rows: Given, unknown: Unknown = "refuse", absent: Absent | None = None
) -> GivenImages | GivenRecords:
    """Images, if it is an array or a list of files, or else records.

    Raises:
        ValueError: no records either.
    """
    is_array = isinstance(rows, np.ndarray)
    if is_array or (isinstance(rows, Sequence) and all(isinstance(row, str | bytes) for row in rows)):
        return GivenImages(rows)
    return GivenRecords(rows, "records", unknown, absent)


def neighbourhood(
    pool: str | None, near: Given | None, latent: messages.Rows | None, spread: float | None
) -> pb.Neighbourhood | None:
    if near is None and latent is None:
        if spread is not None:
            raise ValueError("spread: want near or near_latent with it")
        return None
    if pool is not None:
        raise ValueError("pool and near or near_latent: want one of them")
    if spread is None or (near is not None and latent is not None):
        raise ValueError("near or near_latent: want one of them, and spread with it")
    if near is not None:
        one = given_rows(near)
        if isinstance(one, GivenRecords):
            return pb.Neighbourhood(record=one.message(), spread=spread)
        return pb.Neighbourhood(image=one.message(), spread=spread)
    assert latent is not None
    return pb.Neighbourhood(latent=messages.to_latents(latent), spread=spread)


def sample(  # the options of one request
    model: str,
    *,
    seed: int | None,
    pool: str | None,
    around: pb.Neighbourhood | None,
    temperature: float | None,
    latents: bool,
    version: int,
    format: str = "float32",
) -> pb.SampleRequest:
    """Everything but the rows."""
    return pb.SampleRequest(
        model=ref(model, version),
        seed=checked_seed(seed),
        pool=pool,
        neighbourhood=around,
        temperature=temperature,
        image_format=messages.image_format(format),
        include_latents=latents,
    )


def add_given(request: pb.SampleRequest, given: RecordRows, unknown: Unknown) -> None:
    """Cells that every record is to have. Raises ValueError."""
    if request.WhichOneof("source") is not None:
        raise ValueError("given: want no pool, near or near_latent with it")
    request.given.CopyFrom(GivenRecords(given, "given", unknown).message())


def fill_rows(request: pb.SampleRequest, first_row: int) -> Callable[[slice], None]:
    def fill(rows: slice) -> None:
        request.count = checked_whole("count", rows.stop - rows.start)
        request.first_row = checked_whole("first_row", first_row + rows.start)

    return fill


def fill_given(
    request: pb.EncodeRequest | pb.ReconstructRequest | pb.ScoreRequest | pb.ImputeRequest,
    given: GivenImages | GivenRecords,
) -> Callable[[slice], None]:
    def fill(rows: slice) -> None:
        getattr(request, given.field).CopyFrom(given.message(rows))

    return fill


def fill_seeded(
    request: pb.EncodeRequest | pb.ScoreRequest | pb.ImputeRequest,
    given: GivenImages | GivenRecords,
    first_row: int,
) -> Callable[[slice], None]:
    """The same for a request whose noise goes by row."""
    fill_them = fill_given(request, given)

    def fill(rows: slice) -> None:
        fill_them(rows)
        request.first_row = checked_whole("first_row", first_row + rows.start)

    return fill
