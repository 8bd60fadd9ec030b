"""The sections of the page: pictures, each with what it shows and what to look for, in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.charts import Still
from training.evaluate import Metrics
from training.fit.losses import loss_in_words
from training.report.pictures import latent_walks, sample_grids
from training.report.pictures.autoencoder_comparison import AutoencoderRun, ae_beside_vae
from training.report.pictures.found_pools import FoundPools
from training.report.pictures.found_pools import pictures as found_pictures
from training.report.pictures.found_pools import words as found_words
from training.report.pictures.grid import Picture
from training.report.pictures.latent_map import latent_map
from training.report.pictures.loss_curves import loss_curves
from training.report.pictures.rate_chart import TELLING, Activity, activity_of, rate_per_latent
from training.report.pictures.reported_model import ReportedModel


@dataclass(frozen=True)
class Section:
    """Words and pictures."""

    anchor: str
    title: str
    words: Sequence[str]
    """Paragraphs of plain text."""
    pictures: Sequence[Picture]


def sections(
    reported: ReportedModel,
    rows: Sequence[dict[str, Any]],
    metrics: Metrics,
    *,
    found: FoundPools | None = None,
    beside: AutoencoderRun | None = None,
) -> list[Section]:
    """All of a report; ``rows`` are those of ``log.jsonl``."""
    activity = activity_of(metrics, reported.latents)
    first = [map_section(reported), _pools(reported)]
    if found is not None:
        shown = found_pictures(found, reported)
        first.append(Section("found", "Pools found without labels", found_words(found), shown))
    first.append(_prior(reported))
    if beside is not None:
        first.append(_beside(reported, metrics, beside))
    first += [_reconstructions(reported)]
    if len(reported.kinds) > 1:
        first.append(_interpolations(reported))
    return [
        *first,
        _steps(reported),
        _traversals(reported, activity),
        rates_section(reported, activity),
        losses_section(reported, rows),
    ]


def map_section(reported: ReportedModel) -> Section:
    labels = reported.dataset.train.labels
    picture = latent_map(
        reported.latents,
        None if labels is None else labels.numpy(),
        reported.dataset.label_names,
        standard_prior=not reported.has_flow,
    )
    latents = reported.latents.pools.mean.shape[1]
    where = (
        "An autoencoder puts its data anywhere: nothing ties them to the dashed circle, N(0, I), so a "
        f"point drawn from there mostly belongs to no {reported.one}."
        if reported.is_point
        else f"A VAE is trained so that the whole data set fills one known distribution "
        f"({_prior_in_words(reported)}), with as little empty land between the kinds as it can."
    )
    words = [f"Every point is a training {reported.one}, put where the encoder places it. " + where]
    words.append(
        "Each kind of data settles in a region of its own, its pool (ellipses: two standard deviations). "
        f"Pools are what makes the latent space useful: to get a new {reported.one} of one kind, draw a "
        "point from its pool and decode it; to name an unknown one, see whose pool it falls into."
    )
    if latents > 2:
        words.append(
            f"The map is a flat shadow of {latents:,} dimensions: pools that overlap here can lie well apart."
        )
    return Section("map", "Where the data live", words, [Still("latent_map.png", "Latent map", picture)])


def _prior_in_words(reported: ReportedModel) -> str:
    return "here a learned one" if reported.has_flow else "dashed: N(0, I), at two standard deviations"


def _pools(reported: ReportedModel) -> Section:
    named = (
        "each label"
        if reported.dataset.train.labels is not None
        else "each kind that was found without labels"
    )
    if all(reported.latents.entries[pool.row].aggregate for pool in reported.pools):
        named = "all the data, for no kinds are known"
    words = [
        f"New images, drawn from the pool of {named}: none of them is in the data, and none was picked by "
        "hand.",
        "Look for rows that are all of one kind and yet all different. What is shown is the mean of "
        "p(x|z), the average over all images that one latent could stand for, so fine detail comes out "
        "softer than in data.",
    ]
    return Section("pools", "Samples of each pool", words, [sample_grids.pool_samples(reported)])


def _prior(reported: ReportedModel) -> Section:
    if reported.is_point:
        words = [
            "An autoencoder has no prior. These images are decoded from N(0, I), as one would from a "
            "VAE: mostly trash, since nobody knows where its data lie."
        ]
    elif reported.has_flow:
        words = [
            "Drawn from the prior, without a word about the kind. Here the prior is learned: a flow "
            "bends N(0, I) to where the data are, so fewer points fall into the land between the pools."
        ]
    else:
        words = [
            "Drawn from the prior N(0, I), without a word about the kind. Points that fall between the "
            "pools give images between the kinds: that is why samples of a pool are mostly clearer."
        ]
    return Section("samples", "Samples of the prior", words, [sample_grids.prior_samples(reported)])


def _beside(reported: ReportedModel, metrics: Metrics, beside: AutoencoderRun) -> Section:
    words = [
        "The same data in an autoencoder and in this model, each sampled from N(0, I) and from pools "
        "fitted to where its encoder puts the data.",
        "Drawn from N(0, I), the autoencoder mostly gives trash: its data live elsewhere. Pools mend "
        "much of that, for they know where. The VAE gives images from either; its pools give the clearer "
        "ones.",
    ]
    if reported.has_flow:
        words.append(
            "This model's own prior is learned: that is the last row. N(0, I) without its flow is not "
            "where it was taught to look."
        )
    grid = ae_beside_vae(reported, metrics, beside)
    if any(line.note for line in grid.lines):
        words.append(
            "Trash: share of the samples that are no clear member of any class or lie where no real "
            "image lies. FD: Fréchet distance to test images. Lower is better."
        )
    return Section("ae-beside-vae", "Why not a plain autoencoder", words, [grid])


def _reconstructions(reported: ReportedModel) -> Section:
    words = [
        "Test images that the model never saw in training; below each, what it makes of its latent vector.",
        "The kind and the broad form should survive. Detail that the latents do not carry is replaced by "
        "its average, and an average is blurred: that is the price of this likelihood, not an accident. "
        "The more varied the data, the softer: of photographs a small model keeps little more than "
        "light, colour and layout.",
    ]
    return Section("reconstructions", "Reconstructions", words, [sample_grids.reconstructions(reported)])


def _interpolations(reported: ReportedModel) -> Section:
    words = [
        "Straight lines in latent space from one test image (far left) to one of another kind (far right).",
        "In a good latent space the way is smooth and every stop looks like something that could be in "
        "the data. A cross-fade, both images at once, would mean that the line leaves the land where "
        "data live.",
    ]
    return Section(
        "interpolations",
        "From one kind to another",
        words,
        [latent_walks.interpolations(reported)],
    )


def _steps(reported: ReportedModel) -> Section:
    words = [
        "Random steps around a test image. The unit is the spread of the whole training set in each "
        "latent, so a step of 1 leads about as far away as another image of the data.",
        "Small steps should give new, valid, slightly different results; with large ones the image may "
        "turn into another kind, or fall between kinds.",
    ]
    return Section("small-steps", "A small step", words, [latent_walks.small_steps(reported)])


def _traversals(reported: ReportedModel, activity: Activity) -> Section:
    words = [
        "One latent at a time, from far below its mean to far above, the others held at those of one "
        "test image; the latents that say most come first.",
        "Some change one thing that has a name, like size, slant or colour. Nothing in the training asks "
        "for that, so many change several things at once.",
    ]
    grid = latent_walks.traversals(reported, activity.values, activity.unit)
    return Section("traversals", "What a single latent does", words, [grid])


def rates_section(reported: ReportedModel, activity: Activity) -> Section:
    count, active = len(activity.values), activity.active_units
    rule = (
        f"By the usual rule, a posterior mean that varies by more than 0.01, {active} of {count} are active"
    )
    if activity.is_rate:
        words = [
            f"How many nats each latent tells about one of the {reported.unit}, on average; together "
            f"{activity.values.sum():.1f}, the rate. A latent near 0 is ignored: the model has found that "
            "it is not worth its price.",
            f"{rule}; {activity.telling} tell more than {TELLING:g} nats.",
        ]
    else:
        words = [
            f"How far the posterior mean of each latent moves over the training {reported.unit}. One that "
            "hardly moves says nothing about them.",
            f"{rule}.",
        ]
    if not reported.is_point:
        words.append(
            "Unused latents do no harm. If nearly all are unused, the posterior has collapsed and "
            "samples look alike."
        )
    return Section("rates", "What each latent is worth", words, [rate_per_latent(activity)])


def losses_section(reported: ReportedModel, rows: Sequence[dict[str, Any]]) -> Section:
    words = [
        f"Nats per {reported.one}. Training points are means of the steps since the point before, with the β "
        "of the time; validation is of the averaged weights, with the final β.",
        "Look for validation that has gone flat and does not rise again: rising while training falls is "
        "overfitting.",
    ]
    formula = loss_in_words(reported.model)
    if not reported.is_point:
        words.append(
            f"Loss = {formula}. While β warms up the rate may fall first and rise later: that is intended."
        )
    return Section(
        "training",
        "The course of training",
        words,
        [Still("loss_curves.png", "Loss curves", loss_curves(rows, loss=formula))],
    )
