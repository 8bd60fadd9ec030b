"""What the client can do, without input or output: the same code serves both clients.

An operation is a generator: it yields the calls to make, is sent their responses, and returns its
result. ``Client`` makes the calls one after the other and ``AsyncClient`` awaits them.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from serving.client import messages, requests, results
from serving.client.listing import Call, Listing, Operation
from serving.client.result_size import check_result_size
from serving.client.streams import Format, Streams
from serving.pb.vae.v1 import models_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb

_REMEMBERED_S = 5.0
"""How long the client goes by a limit that the server told: one that is started anew may have another."""


class Operations(Listing, Streams):
    """The methods of ``Client`` and ``AsyncClient``.

    ``model`` names the model, "" the only one; ``version`` 0 is the highest in service. Jobs of more rows
    than the server takes at once become several calls, each with its own deadline; all are answered by
    the same version.
    """

    def __init__(self) -> None:
        self._max_rows: dict[tuple[str, int], tuple[int, float]] = {}
        """What the server takes at once of a model and version, and when it said so."""

    def sample(  # noqa: PLR0913  # all but two are options of the one request, by keyword
        self,
        model: str,
        count: int,
        *,
        seed: int | None = None,
        pool: str | None = None,
        near: messages.ImageRows | None = None,
        near_latent: messages.Rows | None = None,
        spread: float | None = None,
        temperature: float | None = None,
        format: Format = "float32",
        latents: bool = False,
        first_row: int = 0,
        version: int = 0,
    ) -> Operation[results.Samples]:
        """Draw ``count`` new images; the same seed gives the same rows.

        Args:
            seed: 0 to 2⁶⁴-1; drawn by the server if None, and returned in any case.
            pool: the pool to sample from instead of the prior.
            near, near_latent: one image or one latent, [1, ...], to sample around with deviation ``spread``.
            temperature: multiplies the noise of prior or pool; below 1 gives typical images.
            latents: ask for the latents too.
            first_row: index of the first row of the seed.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = requests.sample(
            model,
            seed=seed,
            pool=pool,
            near=near,
            near_latent=near_latent,
            spread=spread,
            temperature=temperature,
            format=format,
            latents=latents,
            version=version,
        )
        responses = yield from self._answers("Sample", request, count, requests.fill_rows(request, first_row))
        return messages.from_samples(responses, first_row=first_row, latents=latents)

    def encode(
        self,
        model: str,
        images: messages.ImageRows,
        *,
        latents: bool = False,
        seed: int | None = None,
        pool_probabilities: bool = False,
        version: int = 0,
    ) -> Operation[results.Posteriors]:
        """The posterior of each image.

        Args:
            images: [N, C, H, W], float32 in the model's value range or uint8, or N PNG files.
            latents: ask for one sample of each posterior too, with ``seed``.
            pool_probabilities: ask which pool each image belongs to.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = pb.EncodeRequest(
            model=requests.ref(model, version),
            include_latents=latents,
            seed=requests.checked_seed(seed),
            include_pool_probabilities=pool_probabilities,
        )
        fill = requests.fill_seeded_images(request, images)
        responses = yield from self._answers("Encode", request, len(images), fill)
        first = responses[0]
        asked = first.HasField("pool_probabilities")
        return results.Posteriors(
            model=messages.from_served(first.model),
            mean=messages.from_tensors(r.mean for r in responses),
            log_var=messages.from_tensors(r.log_var for r in responses),
            latents=messages.from_tensors(r.latents for r in responses) if latents else None,
            seed=first.seed if latents else None,
            pool_probabilities=messages.from_tensors(r.pool_probabilities for r in responses)
            if asked
            else None,
            pools=list(first.pools),
        )

    def decode(
        self, model: str, latents: messages.Rows, *, format: Format = "float32", version: int = 0
    ) -> Operation[results.Decoded]:
        """The image of each latent [N, *latent_shape].

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = pb.DecodeRequest(
            model=requests.ref(model, version), image_format=messages.image_format(format)
        )

        def fill(rows: slice) -> None:
            request.latents.CopyFrom(messages.to_latents(latents[rows]))

        responses = yield from self._answers("Decode", request, len(latents), fill)
        images, png = messages.from_images([response.images for response in responses])
        return results.Decoded(messages.from_served(responses[0].model), images, png)

    def reconstruct(
        self,
        model: str,
        images: messages.ImageRows,
        *,
        format: Format = "float32",
        latents: bool = False,
        version: int = 0,
    ) -> Operation[results.Reconstructions]:
        """Encode each image and decode its posterior mean; ``latents`` asks for these means too.

        Args:
            images: [N, C, H, W], float32 in the model's value range or uint8, or N PNG files.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = pb.ReconstructRequest(
            model=requests.ref(model, version),
            image_format=messages.image_format(format),
            include_latents=latents,
        )
        fill = requests.fill_images(request, images)
        responses = yield from self._answers("Reconstruct", request, len(images), fill)
        decoded, png = messages.from_images([response.images for response in responses])
        return results.Reconstructions(
            model=messages.from_served(responses[0].model),
            images=decoded,
            png=png,
            latents=messages.from_tensors(r.latents for r in responses) if latents else None,
        )

    def score(
        self,
        model: str,
        images: messages.ImageRows,
        *,
        samples: int = 16,
        seed: int | None = None,
        version: int = 0,
    ) -> Operation[results.Scores]:
        """How well the model explains each image: −ELBO with its parts, and the likelihood, in nats.

        Args:
            images: [N, C, H, W], float32 in the model's value range or uint8, or N PNG files.
            samples: of each posterior, 1 to 10,000; more make every figure steadier and ``nll`` tighter.
            seed: 0 to 2⁶⁴-1; drawn by the server if None, and returned in any case.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = pb.ScoreRequest(
            model=requests.ref(model, version),
            samples=requests.checked_whole("samples", samples),
            seed=requests.checked_seed(seed),
        )
        fill = requests.fill_seeded_images(request, images)
        responses = yield from self._answers("Score", request, len(images), fill, each=samples)
        return messages.from_scores(responses)

    def interpolate(
        self,
        model: str,
        steps: int,
        *,
        images: messages.ImageRows | None = None,
        latents: messages.Rows | None = None,
        spherical: bool = False,
        format: Format = "float32",
        version: int = 0,
    ) -> Operation[results.Reconstructions]:
        """Walk through latent space from point to point, ``steps`` from each to the next.

        Args:
            images, latents: the points, at least two: images [N, C, H, W] or latents [N, *latent_shape].
            spherical: turn from one direction to the other instead of going straight.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        if (images is None) == (latents is None):
            raise ValueError("images or latents: want one of them")
        request = pb.InterpolateRequest(
            model=requests.ref(model, version),
            images=None if images is None else messages.to_images(images),
            latents=None if latents is None else messages.to_latents(latents),
            steps=requests.checked_whole("steps", steps),
            path=pb.INTERPOLATION_PATH_SPHERICAL if spherical else pb.INTERPOLATION_PATH_LINEAR,
            image_format=messages.image_format(format),
            include_latents=True,
        )
        response = yield Call("Interpolate", request)
        decoded, png = messages.from_images([response.images])
        return results.Reconstructions(
            model=messages.from_served(response.model),
            images=decoded,
            png=png,
            latents=messages.from_tensors([response.latents]),
        )

    def _answers(
        self, method: str, request: Any, rows: int, fill: Callable[[slice], None], *, each: int = 1
    ) -> Operation[list[Any]]:
        """One call a part of the rows, after ``fill`` has put it into the request.

        ``each`` is the work that one row makes, in rows. What the server chose for the first part, version
        and seed, is asked for in the others.
        """
        responses: list[Any] = []
        for part in (yield from self._parts(request.model, rows, each)):
            fill(part)
            response = yield Call(method, request)
            if not responses and part.stop < rows:  # more to come, of which this is a measure
                check_result_size(rows, response.ByteSize() / (part.stop - part.start))
            request.model.version = response.model.version
            if method in ("Sample", "Encode", "Score"):
                request.seed = response.seed
            responses.append(response)
        return responses

    def _parts(self, model: models_pb2.ModelRef, rows: int, each: int) -> Operation[Iterator[slice]]:
        """``rows`` in parts that one request may have; an impossible number is left to the server."""
        if rows <= 1:
            return iter([slice(0, rows)])
        key = (model.name, model.version)
        max_rows, told = self._max_rows.get(key, (0, -math.inf))
        if time.monotonic() - told > _REMEMBERED_S:
            response: pb.GetModelResponse = yield Call("GetModel", pb.GetModelRequest(model=model))
            max_rows = response.model.max_rows
            self._max_rows[key] = max_rows, time.monotonic()
        size = max(1, max_rows // max(1, each))
        return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
