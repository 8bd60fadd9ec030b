"""What the client can do with models of tables alone, without input or output."""

from serving.client import messages, requests, results
from serving.client.listing import Operation
from serving.client.records.described_table import Table
from serving.client.records.given_records import Absent, GivenRecords, RecordRows, Unknown
from serving.client.splitting import Splitting
from serving.client.streams import Stream, Streams
from serving.pb.vae.v1 import vae_service_pb2 as pb

IMPUTE_SAMPLES = 128
"""Of each posterior, unless asked for otherwise: what the server takes."""


class RecordOperations(Splitting, Streams):
    """The methods of ``Client`` and ``AsyncClient`` for records."""

    def sample_records(  # noqa: PLR0913  # all but two are options of the one request, by keyword
        self,
        model: str,
        count: int,
        *,
        given: RecordRows | None = None,
        seed: int | None = None,
        pool: str | None = None,
        near: RecordRows | None = None,
        near_latent: messages.Rows | None = None,
        spread: float | None = None,
        temperature: float | None = None,
        observation_temperature: float | None = None,
        samples: int | None = None,
        unknown: Unknown = "refuse",
        latents: bool = False,
        first_row: int = 0,
        version: int = 0,
    ) -> Operation[results.Samples]:
        """Draw ``count`` new records, as ``records`` of the result; the same seed gives the same ones.

        >>> frame = client.sample_records("people", 1000, given={"sex": "Female"}).records.to_pandas()

        Args:
            given: cells that all have; the rest is drawn given these, from ``samples`` of their posterior.
            seed: 0 to 2⁶⁴-1; drawn by the server if None, and returned in any case.
            pool: the pool to sample from instead of the prior.
            near, near_latent: one record or one latent to sample around with deviation ``spread``.
            temperature: multiplies the noise of prior or pool; below 1 gives typical records.
            observation_temperature: divides the logits that each cell is drawn by; 0 gives the most likely.
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
            latents=latents,
            version=version,
        )
        _add(request, given, unknown, observation_temperature, samples)
        fill = requests.fill_rows(request, first_row)
        responses = yield from self._answers("Sample", request, count, fill, first_row=first_row)
        table = yield from self._table(responses[0])
        return messages.from_samples(responses, table, first_row=first_row, latents=latents)

    def sample_records_stream(  # noqa: PLR0913  # all but two are options of the one request, by keyword
        self,
        model: str,
        count: int,
        *,
        given: RecordRows | None = None,
        seed: int | None = None,
        pool: str | None = None,
        near: RecordRows | None = None,
        near_latent: messages.Rows | None = None,
        spread: float | None = None,
        temperature: float | None = None,
        observation_temperature: float | None = None,
        samples: int | None = None,
        unknown: Unknown = "refuse",
        latents: bool = False,
        first_row: int = 0,
        rows_per_response: int = 0,
        version: int = 0,
    ) -> Stream[results.Samples]:
        """Draw ``count`` new records, any number of them, and iterate over them some rows at a time.

        The rows are those of ``sample_records``, whose arguments mean the same; deadlines, and how the stream
        ends, are those of ``sample_stream``.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = requests.sample(
            model,
            seed=seed,
            pool=pool,
            around=requests.neighbourhood(pool, near, near_latent, spread),
            temperature=temperature,
            latents=latents,
            version=version,
        )
        _add(request, given, unknown, observation_temperature, samples)
        return self._samples(request, count, first_row, rows_per_response)

    def impute(  # noqa: PLR0913  # all but two are options of the one request, by keyword
        self,
        model: str,
        records: RecordRows,
        *,
        draws: int = 1,
        samples: int | None = None,
        seed: int | None = None,
        observation_temperature: float | None = None,
        unknown: Unknown = "refuse",
        absent: Absent | None = None,
        first_row: int = 0,
        version: int = 0,
    ) -> Operation[results.Imputed]:
        """Fill the missing and unknown cells of records, by draws from what the model makes of the others.

        Args:
            draws: of each record; several tell how sure the model is (multiple imputation).
            samples: of each posterior, of which those of the draws are chosen, 1 to 10,000; 128 if None.
            seed: 0 to 2⁶⁴-1; drawn by the server if None, and returned in any case.
            observation_temperature: divides the logits that each cell is drawn by; 0 gives the most likely.
            first_row: index of the first record in the noise of the seed.

        Raises:
            VaeError: from the server; ValueError: for arguments that cannot be sent.
        """
        request = pb.ImputeRequest(
            model=requests.ref(model, version),
            draws=requests.checked_whole("draws", draws),
            samples=None if samples is None else requests.checked_whole("samples", samples),
            seed=requests.checked_seed(seed),
            observation_temperature=observation_temperature,
            record_format=requests.PACKED,
        )
        rows = GivenRecords(records, "records", unknown, absent)
        fill = requests.fill_seeded(request, rows, first_row)
        each = max(draws, IMPUTE_SAMPLES if samples is None else samples)
        responses = yield from self._answers(
            "Impute", request, len(rows), fill, each=each, first_row=first_row
        )
        table = yield from self._table(responses[0])
        return messages.from_imputed(responses, table or Table(()))


def _add(
    request: pb.SampleRequest,
    given: RecordRows | None,
    unknown: Unknown,
    observation_temperature: float | None,
    samples: int | None,
) -> None:
    """The options of records."""
    request.record_format = requests.PACKED
    if given is not None:
        requests.add_given(request, given, unknown)
    if observation_temperature is not None:
        request.observation_temperature = observation_temperature
    if samples is not None:
        request.samples = requests.checked_whole("samples", samples)
