"""Parts of requests, checked before they are sent."""

from collections.abc import Callable

from serving.client import messages
from serving.pb.vae.v1 import models_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb


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


def neighbourhood(
    pool: str | None, image: messages.ImageRows | None, latent: messages.Rows | None, spread: float | None
) -> pb.Neighbourhood | None:
    if image is None and latent is None:
        if spread is not None:
            raise ValueError("spread: want near or near_latent with it")
        return None
    if pool is not None:
        raise ValueError("pool and near or near_latent: want one of them")
    if spread is None or (image is not None and latent is not None):
        raise ValueError("near or near_latent: want one of them, and spread with it")
    if image is not None:
        return pb.Neighbourhood(image=messages.to_images(image), spread=spread)
    assert latent is not None
    return pb.Neighbourhood(latent=messages.to_latents(latent), spread=spread)


def sample(  # noqa: PLR0913  # the options of one request
    model: str,
    *,
    seed: int | None,
    pool: str | None,
    near: messages.ImageRows | None,
    near_latent: messages.Rows | None,
    spread: float | None,
    temperature: float | None,
    format: str,
    latents: bool,
    version: int,
) -> pb.SampleRequest:
    """Everything but the rows."""
    return pb.SampleRequest(
        model=ref(model, version),
        seed=checked_seed(seed),
        pool=pool,
        neighbourhood=neighbourhood(pool, near, near_latent, spread),
        temperature=temperature,
        image_format=messages.image_format(format),
        include_latents=latents,
    )


def fill_rows(request: pb.SampleRequest, first_row: int) -> Callable[[slice], None]:
    def fill(rows: slice) -> None:
        request.count = checked_whole("count", rows.stop - rows.start)
        request.first_row = checked_whole("first_row", first_row + rows.start)

    return fill


def fill_images(
    request: pb.EncodeRequest | pb.ReconstructRequest | pb.ScoreRequest, images: messages.ImageRows
) -> Callable[[slice], None]:
    def fill(rows: slice) -> None:
        request.images.CopyFrom(messages.to_images(images[rows]))

    return fill


def fill_seeded_images(
    request: pb.EncodeRequest | pb.ScoreRequest, images: messages.ImageRows
) -> Callable[[slice], None]:
    """The same for a request whose noise goes by row."""
    fill_them = fill_images(request, images)

    def fill(rows: slice) -> None:
        fill_them(rows)
        request.first_row = rows.start

    return fill
