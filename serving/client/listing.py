"""What the client can ask about models, without input or output."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from serving.client import messages, requests, results
from serving.client.failures import VaeError
from serving.client.records.described_table import Table
from serving.pb.vae.v1 import vae_service_pb2 as pb

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One RPC to make."""

    method: str
    request: Message
    first_row: int = 0
    """Index of its first row in the caller's job."""

    @contextmanager
    def failing(self) -> Iterator[None]:
        """While the call is made: what the server says of a row is said to be of this part of the job."""
        try:
            yield
        except VaeError as exc:
            if self.first_row and exc.code is grpc.StatusCode.INVALID_ARGUMENT:
                message = f"{exc.message} (row 0 of this part is row {self.first_row} of all)"
                raise VaeError(exc.code, message, exc.details) from None
            raise


Operation: TypeAlias = Generator[Call, Any, T]


class Listing:
    """The methods of ``Client`` and ``AsyncClient`` that describe models."""

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}
        """By the digest of their model."""

    def models(self) -> Operation[list[results.Model]]:
        """The models in service, by name: every version in service, the highest first."""
        response = yield Call("ListModels", pb.ListModelsRequest())
        return [messages.from_model(model) for model in response.models]

    def versions(self) -> Operation[list[results.ModelVersion]]:
        """Every version that the server knows of, with its state and the reason of it: those in service, and
        those that are being loaded, were refused, are not chosen by the server's version policy, are missing
        or are on their way out. By name, the highest first.

        A server of before there were several versions tells of those in service alone.
        """
        response = yield Call("ListModels", pb.ListModelsRequest())
        return messages.from_versions(response)

    def model(self, model: str = "", *, version: int = 0) -> Operation[results.Model]:
        """One model: its shapes, pools and figures."""
        response = yield Call("GetModel", pb.GetModelRequest(model=requests.ref(model, version)))
        return messages.from_model(response.model)

    def latent_map(self, model: str = "", *, version: int = 0) -> Operation[results.LatentMap]:
        """A map of the model's latent space in two dimensions, any place of which can be decoded.

        >>> found = client.latent_map("digits")
        >>> images = client.decode("digits", found.latents_at(np.array([[0.0, 1.5]]))).images

        Raises:
            VaeError: from the server, FAILED_PRECONDITION of a bundle without a map.
        """
        response = yield Call("GetLatentMap", pb.GetLatentMapRequest(model=requests.ref(model, version)))
        return messages.from_latent_map(response)

    def _table(self, response: Any) -> Operation[Table | None]:
        """Of the model that answered, if it did with records; it is asked for once."""
        if not response.HasField("records"):
            return None
        served = response.model
        if served.digest not in self._tables:
            model = yield from self.model(served.name, version=served.version)
            self._tables[served.digest] = model.table or Table(())
        return self._tables[served.digest]
