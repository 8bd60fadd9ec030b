"""The report of a model of a table."""

from typing import Any

from training.config import FitConfig
from training.evaluate import Metrics
from training.evaluate.measured_run import MeasuredRun
from training.modalities.table.evaluation.taken import Samples
from training.modalities.table.pictures.table_sections import table_sections
from training.modalities.table.table_samples import prior_records
from training.report.page import page
from training.report.pictures.autoencoder_comparison import AutoencoderRun
from training.report.pictures.rate_chart import activity_of
from training.report.pictures.reported_model import ReportedModel
from training.report.run_duration import duration
from training.report.sections import Section, losses_section, map_section, rates_section
from training.runs.training_log import read_rows
from training.training_error import TrainingError

MOST_RECORDS = 20_000


def report_files(measured: MeasuredRun, *, beside: AutoencoderRun | None = None) -> dict[str, bytes]:
    """See ``training.report.run_report.report_files``."""
    if beside is not None:
        raise TrainingError("--beside: only for images, came runs of a table")
    metrics, config = measured.metrics, measured.loaded.config
    reported = ReportedModel(measured.loaded.model, measured.dataset, measured.latents, unit="rows")
    found = [
        *_records(reported),
        map_section(reported),
        rates_section(reported, activity_of(metrics, measured.latents)),
    ]
    found.append(losses_section(reported, read_rows(measured.run.log_file)))
    files = {"index.html": page(reported, config, metrics, lead(reported, config, metrics), found, None)}
    files |= {picture.file: picture.content() for section in found for picture in section.pictures}
    return files | {"metrics.json": metrics.to_json().encode()}


def _records(reported: ReportedModel) -> list[Section]:
    """Synthetic records beside held-out ones; an autoencoder has no prior to draw them from."""
    if reported.is_point:
        return []
    data, schema = reported.dataset, reported.dataset.schema
    count = min(MOST_RECORDS, len(data.train))
    drawn = prior_records(reported.model, schema, count, seed=reported.seed)
    samples = Samples(data.train.cells, data.test.cells, drawn)
    return [Section(*part) for part in table_sections(schema, samples, seed=reported.seed)]


def lead(reported: ReportedModel, config: FitConfig, metrics: Metrics) -> list[str]:
    """What the model is, in two paragraphs."""
    model, data = reported.model, reported.dataset
    schema: Any = data.schema
    labels = f", {len(data.label_names)} labels in {schema.label}" if data.label_names else ", no labels"
    weights = sum(parameter.numel() for parameter in model.parameters())
    latents = reported.latents.pools.mean.shape[1]
    prior = "" if reported.is_point else f", prior {'a real NVP flow' if reported.has_flow else 'N(0, I)'}"
    return [
        "It compresses each row to a short latent vector, and is trained so that the vectors of all rows "
        "fill a known distribution. So new records can be drawn, with some cells given or none, missing "
        "cells filled, and a row or a cell that does not fit told by what it costs.",
        f"A residual multilayer perceptron with {latents:,} latents and {weights:,} parameters, a law "
        f"for each of {len(schema.modelled):,} columns{prior}. Trained on {len(data.train):,} rows"
        f"{labels}: {config.total_steps:,} steps of {config.batch_size} rows"
        f"{duration(metrics.protocol.training_seconds)}.",
    ]
