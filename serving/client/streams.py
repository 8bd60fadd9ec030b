"""What the client can do with one call and many responses, without input or output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from google.protobuf.message import Message

from serving.client import messages, requests, results
from serving.client.listing import Listing, Operation
from serving.pb.vae.v1 import vae_service_pb2 as pb

T = TypeVar("T")
Format = Literal["float32", "uint8", "png"]


@dataclass(frozen=True)
class Stream(Generic[T]):
    """One streaming RPC to make, and what each of its responses means."""

    method: str
    request: Message
    read: Callable[[Any], Operation[T]]


class Streams(Listing):
    """The methods of ``Client`` and ``AsyncClient`` that give results as they come."""

    def sample_stream(  # noqa: PLR0913  # all but two are options of the one request, by keyword
        self,
        model: str,
        count: int,
        *,
        seed: int | None = None,
        pool: str | None = None,
        near: requests.Given | None = None,
        near_latent: messages.Rows | None = None,
        spread: float | None = None,
        temperature: float | None = None,
        format: Format = "float32",
        latents: bool = False,
        first_row: int = 0,
        rows_per_response: int = 0,
        version: int = 0,
    ) -> Stream[results.Samples]:
        """Draw ``count`` new images, any number of them, and iterate over them some rows at a time.

        The rows are those of ``sample``, whose arguments mean the same. The server draws no faster than
        they are read, so the call has no deadline, but each response has the client's; it ends with the loop
        over it (in asyncio, use ``contextlib.aclosing`` where the loop may be left early).

        Args:
            rows_per_response: the largest number of rows at a time; chosen by the server if 0.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = requests.sample(
            model,
            seed=seed,
            pool=pool,
            around=requests.neighbourhood(pool, near, near_latent, spread),
            temperature=temperature,
            format=format,
            latents=latents,
            version=version,
        )
        return self._samples(request, count, first_row, rows_per_response)

    def _samples(
        self, request: pb.SampleRequest, count: int, first_row: int, rows_per_response: int
    ) -> Stream[results.Samples]:
        request.count = requests.checked_whole("count", count)
        request.first_row = requests.checked_whole("first_row", first_row)
        latents = request.include_latents

        def read(response: pb.SampleStreamResponse) -> Operation[results.Samples]:
            table = yield from self._table(response)
            return messages.from_samples([response], table, first_row=response.first_row, latents=latents)

        message = pb.SampleStreamRequest(sample=request, rows_per_response=rows_per_response)
        return Stream("SampleStream", message, read)
