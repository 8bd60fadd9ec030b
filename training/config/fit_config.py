"""Every option of ``vae-train fit``; saved as ``config.json`` in the run folder."""

import reprlib
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from training.config.conflicts import conflicts
from training.config.data_options import LARGEST_COUNT, LARGEST_NUMBER, DataOptions, Options
from training.config.latent_shape import Latent
from training.training_error import TrainingError

MOST_THREADS = 1024
WANTED = {"int_parsing_size": "want a whole number of fewer digits"}
"""Where pydantic says what is wrong and not what is wanted."""
MACHINE_FIELDS = frozenset(
    {
        "data_dir",
        "cache_dir",
        "in_memory",
        "strict",
        "device",
        "execution",
        "threads",
        "accumulate",
        "tensorboard",
    }
)
"""Fields that do not change the result but for rounding: they may differ when a run is resumed elsewhere."""


class ModelOptions(Options):
    """model"""

    model: Literal["ae", "vae", "iwae"] = Field(
        "vae",
        description="ae: plain autoencoder, the baseline; vae; or iwae: trained on the tighter bound of "
        "--importance-samples samples, with doubly reparameterised gradients",
    )
    importance_samples: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="samples of each posterior in training, iwae alone (left out: 5); the memory of "
        "a step grows with them, --accumulate makes it less",
    )
    importance_from: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the steps, the first ones, that an iwae takes with one sample, fast as a vae",
    )
    beta: float = Field(
        1.0, ge=0, le=LARGEST_NUMBER, description="weight of the rate (KL) in the loss; 1 is the ELBO"
    )
    free_bits: float = Field(
        0.0,
        ge=0,
        le=LARGEST_NUMBER,
        description="nats that each latent may tell about an image for nothing; against latents that "
        "collapse; vae with --prior normal alone",
    )
    network: Literal["residual", "mlp", "conv", "patches"] = Field(
        "conv",
        description="gated MLP; residual convolutions; those behind a stem of patches, which images above "
        "64x64 pixels and a map of latents get where this is left out; residual MLP: for tables",
    )
    latent: Latent = Field(
        32,
        description="number of latents, or CxHxW, like 4x32x32: a map of them, as latent diffusion wants",
    )
    width: int | None = Field(
        None,
        ge=1,
        le=8192,
        description="mlp: hidden units (left out: 512); else channels of the first stage (left out: 32)",
    )
    depth: int = Field(1, ge=1, le=32, description="mlp: hidden layers; else residual blocks per stage")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the encoder's hidden units that each step leaves out: of a VAE it is the "
        "encoder that learns images by heart; not for mlp",
    )
    likelihood: Literal["auto", "bernoulli", "gaussian", "discretised_logistic", "columns"] = Field(
        "auto",
        description="p(x|z); auto: bernoulli for grey images, gaussian with a learned sigma for colour; "
        "discretised_logistic: the probability of each of 256 levels, for bits/dim that compare with "
        "others'; columns: that of tables",
    )
    mixture_components: int = Field(
        3,
        ge=1,
        le=100,
        description="discretised_logistic: of the mixture of each pixel, whose colours share its weights",
    )
    binarisation: Literal["auto", "dynamic", "none"] = Field(
        "auto",
        description="dynamic: every pixel of a training image is drawn anew each time it is shown; "
        "auto: dynamic for bernoulli, else none",
    )
    prior: Literal["normal", "flow"] = Field(
        "normal", description="p(z): N(0, I), or a real NVP flow of it, learned with the rest"
    )
    couplings: int = Field(6, ge=1, le=64, description="flow: affine couplings")
    coupling_width: int = Field(256, ge=1, le=8192, description="flow: hidden units of a coupling")


class TrainingOptions(Options):
    """training"""

    epochs: int | None = Field(
        None, ge=1, le=LARGEST_COUNT, description="passes over the training set; instead of --steps"
    )
    steps: int | None = Field(
        None, ge=1, le=LARGEST_COUNT, description="optimiser steps; instead of --epochs"
    )
    batch_size: int = Field(
        128, ge=1, le=LARGEST_COUNT, description="images per step; at most the training set"
    )
    accumulate: int = Field(
        1,
        ge=1,
        le=LARGEST_COUNT,
        description="parts that a batch is computed in, one after the other: less memory, the same result",
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        description="muon: steps of hidden weights are made orthogonal, the rest is AdamW's; "
        "fewer steps to the same loss, each of which takes longer",
    )
    learning_rate: float = Field(
        1e-3, gt=0, le=LARGEST_NUMBER, description="the optimiser's, at the start of the cosine"
    )
    learning_rate_floor: float = Field(
        0.01, ge=0, le=1, description="learning rate at the end, as a share of the one at the start"
    )
    warmup: float = Field(
        0.1, ge=0, le=1, description="share of the steps, 0 to 1, in which beta grows linearly from 0"
    )
    beta_cycles: int = Field(
        1,
        ge=1,
        le=1000,
        description="how often in a training beta grows from 0 again; each cycle spends --warmup of it "
        "on that",
    )
    weight_decay: float = Field(0.0, ge=0, le=LARGEST_NUMBER, description="decoupled weight decay")
    deformation: float = Field(
        0.0,
        ge=0,
        le=4,
        description="strength of small deformations of the training images, others each time they are "
        "shown, until the last fifth of the steps; 1 turns them by about 4 degrees",
    )
    input_noise: float = Field(
        0.0,
        ge=0,
        le=LARGEST_NUMBER,
        description="of a table: standard deviation of the noise on the scores of numbers that the encoder "
        "sees while it learns, in those of the column; rows are still to be explained as they are",
    )
    following: float = Field(
        0.0,
        ge=0,
        le=LARGEST_NUMBER,
        description="of a table: weight, in the loss, of how far the posterior of a row with hidden cells is "
        "from that of the whole row, so that the encoder takes rows with unknown cells; 0 hides none",
    )
    clip: float | None = Field(
        None,
        gt=0,
        le=LARGEST_NUMBER,
        description="longest gradient; left out: 200 for bernoulli, else 10 for each pixel value",
    )
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights, which are the result")
    seed: int = Field(0, ge=0, le=LARGEST_COUNT, description="seed of weights, order, noise and binarisation")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda if there is one")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "float32",
        description="bfloat16: the networks compute in it, weights and losses stay float32; "
        "auto: bfloat16 where the device has instructions for it",
    )
    execution: Literal["auto", "eager", "graph", "compiled"] = Field(
        "auto",
        description="how a step runs: eager: kernel by kernel; graph: a GPU repeats a recorded step; "
        "compiled: with kernels fused by torch.compile as well, which takes a minute first; auto: graph on a "
        "GPU that trains alone, else eager",
    )
    threads: int | None = Field(
        None, ge=1, le=MOST_THREADS, description="CPU threads; left out: one for each core, as torch does"
    )
    log_every: int = Field(
        50, ge=1, le=LARGEST_COUNT, description="steps between rows of log.jsonl and TensorBoard"
    )
    checkpoint_every: int = Field(
        500,
        ge=1,
        le=LARGEST_COUNT,
        description="steps between checkpoints, each after a look at the validation images",
    )
    tensorboard: bool = Field(True, description="write the log for TensorBoard too")


class FitConfig(TrainingOptions, ModelOptions, DataOptions):
    """What to train, on what, and how. The descriptions are the help texts of the command line.

    ``training.fit.presets.resolve`` fills in what depends on the data ("auto", steps); what is saved, and
    what every function but ``training.data.load`` takes, is a resolved config.
    """

    preset: Literal["demo", "small", "standard", "quality", "gpu", "table", "small_table"] | None = Field(
        None, description="named defaults; left out: chosen by the size of the data set"
    )

    @property
    def total_steps(self) -> int:
        """Of a resolved config."""
        if self.steps is None:
            raise ValueError("want a resolved config, its steps are still open")
        return self.steps

    @property
    def single_steps(self) -> int:
        """The first so many steps take one sample of each posterior; of a resolved config."""
        return round(self.importance_from * self.total_steps)

    @property
    def draws_inside(self) -> bool:
        """Whether the networks draw something of their own, for a batch as a whole."""
        return self.dropout > 0 or self.input_noise > 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for broken, message in conflicts(self):
            if broken:
                raise ValueError(message)
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Raises TrainingError, one line that names the flag, unless the values make a config."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            message = WANTED.get(first["type"]) or first["msg"].removeprefix("Value error, ")
            if not first["loc"]:
                raise TrainingError(message) from None
            came = "" if first["type"] == "value_error" else f"; came {reprlib.repr(first['input'])}"
            raise TrainingError(f"{flag(str(first['loc'][0]))}: {message}{came}") from None


def flag(field: str) -> str:
    """The command-line flag of a field."""
    return "--" + field.removeprefix("table_").replace("_", "-")
