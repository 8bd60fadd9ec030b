"""What the client can do, without input or output: the same code serves both clients.

An operation is a generator: it yields the calls to make, is sent their responses, and returns its
result. ``Client`` makes the calls one after the other and ``AsyncClient`` awaits them.
"""

from serving.client import messages, requests, results
from serving.client.listing import Call, Operation
from serving.client.records.given_records import Absent, GivenRecords, RecordRows, Unknown
from serving.client.records.record_operations import RecordOperations
from serving.client.streams import Format, Streams
from serving.pb.vae.v1 import vae_service_pb2 as pb


class Operations(RecordOperations, Streams):
    """The methods of ``Client`` and ``AsyncClient``.

    ``model`` names the model, "" the only one; ``version`` 0 is the highest in service. Jobs of more rows
    than the server takes at once become several calls, each with its own deadline; all are answered by
    the same version.

    Models of tables take records where those of images take images, in any of these forms: a list of
    dictionaries, a row each; a dictionary of columns, lists or arrays; one dictionary of values, for one
    record; ``Records`` as they came; a frame of pandas or polars; an Arrow table. None, NaN, NaT and pandas'
    NA are cells without a value. ``unknown`` says what becomes of a category that the data did not have
    ("refuse", or "rest": it counts as a rare one), ``absent`` of a column that is not there ("refuse",
    "unknown" to the model, or "missing" as cells are missing in the data).
    """

    def sample(  # noqa: PLR0913  # all but two are options of the one request, by keyword
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
            around=requests.neighbourhood(pool, near, near_latent, spread),
            temperature=temperature,
            format=format,
            latents=latents,
            version=version,
        )
        responses = yield from self._answers("Sample", request, count, requests.fill_rows(request, first_row))
        table = yield from self._table(responses[0])
        return messages.from_samples(responses, table, first_row=first_row, latents=latents)

    def encode(  # noqa: PLR0913  # all but two are options of the one request, by keyword
        self,
        model: str,
        images: requests.Given,
        *,
        latents: bool = False,
        seed: int | None = None,
        pool_probabilities: bool = False,
        unknown: Unknown = "refuse",
        absent: Absent | None = None,
        first_row: int = 0,
        version: int = 0,
    ) -> Operation[results.Posteriors]:
        """The posterior of each image or record.

        Args:
            images: [N, C, H, W], float32 in the model's value range or uint8, or N PNG files; or records.
            latents: ask for one sample of each posterior too, with ``seed``.
            pool_probabilities: ask which pool each row belongs to.
            first_row: index of the first row in the noise of the seed.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = pb.EncodeRequest(
            model=requests.ref(model, version),
            include_latents=latents,
            seed=requests.checked_seed(seed),
            include_pool_probabilities=pool_probabilities,
        )
        given = requests.given_rows(images, unknown, absent)
        fill = requests.fill_seeded(request, given, first_row)
        responses = yield from self._answers("Encode", request, len(given), fill, first_row=first_row)
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
        """The image or record of each latent [N, *latent_shape].

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = pb.DecodeRequest(
            model=requests.ref(model, version),
            image_format=messages.image_format(format),
        )

        def fill(rows: slice) -> None:
            request.latents.CopyFrom(messages.to_latents(latents[rows]))

        responses = yield from self._answers("Decode", request, len(latents), fill)
        table = yield from self._table(responses[0])
        decoded = messages.from_rows(responses, table)
        return results.Decoded(messages.from_served(responses[0].model), **decoded)

    def reconstruct(
        self,
        model: str,
        images: requests.Given,
        *,
        format: Format = "float32",
        latents: bool = False,
        unknown: Unknown = "refuse",
        absent: Absent | None = None,
        version: int = 0,
    ) -> Operation[results.Reconstructions]:
        """Encode each row and decode its posterior mean; ``latents`` asks for these means too.

        Args:
            images: [N, C, H, W], float32 in the model's value range or uint8, or N PNG files; or records.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = pb.ReconstructRequest(
            model=requests.ref(model, version),
            image_format=messages.image_format(format),
            include_latents=latents,
        )
        given = requests.given_rows(images, unknown, absent)
        if isinstance(given, GivenRecords):
            request.record_format = requests.PACKED
        fill = requests.fill_given(request, given)
        responses = yield from self._answers("Reconstruct", request, len(given), fill)
        table = yield from self._table(responses[0])
        return results.Reconstructions(
            model=messages.from_served(responses[0].model),
            latents=messages.from_tensors(r.latents for r in responses) if latents else None,
            **messages.from_rows(responses, table),
        )

    def score(  # all but two are options of the one request, by keyword
        self,
        model: str,
        images: requests.Given,
        *,
        samples: int = 16,
        seed: int | None = None,
        unknown: Unknown = "refuse",
        absent: Absent | None = None,
        first_row: int = 0,
        version: int = 0,
    ) -> Operation[results.Scores]:
        """How well the model explains each row: −ELBO with its parts, and the likelihood, in nats.

        Args:
            images: [N, C, H, W], float32 in the model's value range or uint8, or N PNG files; or records.
            samples: of each posterior, 1 to 10,000; more make every figure steadier and ``nll`` tighter.
            seed: 0 to 2⁶⁴-1; drawn by the server if None, and returned in any case.
            first_row: index of the first row in the noise of the seed.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = pb.ScoreRequest(
            model=requests.ref(model, version),
            samples=requests.checked_whole("samples", samples),
            seed=requests.checked_seed(seed),
        )
        given = requests.given_rows(images, unknown, absent)
        fill = requests.fill_seeded(request, given, first_row)
        responses = yield from self._answers(
            "Score", request, len(given), fill, each=samples, first_row=first_row
        )
        return messages.from_scores(responses)

    def interpolate(
        self,
        model: str,
        steps: int,
        *,
        images: messages.ImageRows | None = None,
        latents: messages.Rows | None = None,
        records: RecordRows | None = None,
        spherical: bool = False,
        format: Format = "float32",
        version: int = 0,
    ) -> Operation[results.Reconstructions]:
        """Walk through latent space from point to point, ``steps`` from each to the next.

        Args:
            images, latents, records: the points, at least two: images [N, C, H, W], latents
                [N, *latent_shape] or records.
            spherical: turn from one direction to the other instead of going straight.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        if sum(points is not None for points in (images, latents, records)) != 1:
            raise ValueError("images, latents or records: want one of them")
        request = pb.InterpolateRequest(
            model=requests.ref(model, version),
            images=None if images is None else messages.to_images(images),
            latents=None if latents is None else messages.to_latents(latents),
            records=None if records is None else GivenRecords(records).message(),
            steps=requests.checked_whole("steps", steps),
            path=pb.INTERPOLATION_PATH_SPHERICAL if spherical else pb.INTERPOLATION_PATH_LINEAR,
            image_format=messages.image_format(format),
            include_latents=True,
            record_format=None if records is None else requests.PACKED,
        )
        response = yield Call("Interpolate", request)
        table = yield from self._table(response)
        return results.Reconstructions(
            model=messages.from_served(response.model),
            latents=messages.from_tensors([response.latents]),
            **messages.from_rows([response], table),
        )
