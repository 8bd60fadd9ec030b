"""The networks of a bundle: their graphs, the proof that these compute the same, and golden rows.

B is a batch, k the number of draws of each posterior.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import onnx
import torch
from torch import Tensor, nn

from serving.bundle import Graph
from training.data import to_unit
from training.export.gates import Admission, parity_gate
from training.export.graphs import check_graph, evaluating, to_onnx
from training.export.parity import DRAWS, parity, score_parity
from training.modalities.data_form import DataForm
from training.modalities.image.image_form import IMAGES
from training.training_error import TrainingError

Role = Literal["encoder", "decoder", "prior", "score"]
Rows = dict[str, Tensor]
"""Input name to rows."""

AXES = {"score": {"noise": ("batch", "samples")}}
"""Where more than the batch is dynamic."""
GOLDEN_ROWS = 8
PARITY_ROWS = 64


@dataclass(frozen=True)
class Networks:
    """Modules on the CPU; X stands for the axes of a row of data."""

    encoder: nn.Module
    """Row [B, *X] → (mean, log_var), each [B, *latent_shape]."""
    decoder: nn.Module
    """Latent [B, *latent_shape] → what tells of p(x|z): of images its mean [B, C, H, W], in [0, 1]."""
    prior: nn.Module | None = None
    """Noise [B, *latent_shape] ~ N(0, I) → latent of a learned prior; None where N(0, I) is the prior."""
    score: nn.Module | None = None
    """See ``training.models.score.Score``; None where there is nothing to score with."""
    form: DataForm = IMAGES

    def items(self) -> list[tuple[Role, nn.Module]]:
        """Those that there are."""
        roles: tuple[Role, ...] = ("encoder", "decoder", "prior", "score")
        return [(role, module) for role in roles if (module := getattr(self, role)) is not None]

    def outputs(self, role: Role) -> tuple[str, ...]:
        """Names of what a network gives, in its order."""
        names: Mapping[Role, tuple[str, ...]] = {
            "encoder": ("mean", "log_var"),
            "decoder": (self.form.decoded,),
            "prior": ("latent",),
            "score": self.form.scores,
        }
        return names[role]

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """All in evaluation mode, and afterwards as they were."""
        with ExitStack() as stack:
            for _, module in self.items():
                stack.enter_context(evaluating(module))
            yield


@torch.inference_mode()
def golden(networks: Networks, images: Tensor) -> Rows:
    """Real images, latents and noise with what PyTorch makes of them; half the latents are posterior means.

    Raises:
        TrainingError: modules that do not fit together.
    """
    given = _inputs(networks, images, GOLDEN_ROWS)
    data, latent = given["encoder"][networks.form.data], given["decoder"]["latent"]
    mean, log_var = networks.encoder(data)
    decoded = networks.decoder(latent)
    if mean.shape != log_var.shape:
        raise TrainingError(
            f"encoder: want mean and log_var alike, came {_shape(mean)} and {_shape(log_var)}"
        )
    networks.form.check_decoded(data, decoded)
    rows = {networks.form.data: data, "mean": mean, "log_var": log_var, "latent": latent, "decoded": decoded}
    if networks.prior is not None:
        noise = given["prior"]["noise"]
        rows |= {"prior_noise": noise, "prior_latent": _like_noise(networks.prior(noise), noise)}
    if networks.score is not None:
        noise = given["score"]["noise"]
        scores = networks.score(data, noise)
        wanted = [noise.shape[:1], noise.shape[:1], noise.shape[:2]]
        if [score.shape for score in scores[: len(wanted)]] != wanted:
            came = ", ".join(_shape(score) for score in scores)
            raise TrainingError(f"score: want {', '.join(map(_sizes, wanted))}, came {came}")
        rows |= {"score_noise": noise, **dict(zip(networks.outputs("score"), scores, strict=True))}
    return {name: tensor.clone().contiguous() for name, tensor in rows.items()}


class Exported(NamedTuple):
    """The graphs of a bundle."""

    graphs: dict[Role, Graph]
    """Of the manifest."""
    contents: dict[str, bytes]
    """File name to content."""


def export_graphs(networks: Networks, images: Tensor, admission: Admission) -> Exported:
    """Export every network, and compare it with PyTorch; the gate on that is noted, not yet decided on.

    Raises:
        TrainingError: a network that cannot be exported, or parity that is beyond all measure.
    """
    given = _inputs(networks, images, PARITY_ROWS)
    contents: dict[Role, bytes] = {}
    parities: dict[str, dict[str, float]] = {}
    for role, module in networks.items():
        rows, outputs = given[role], networks.outputs(role)
        contents[role] = to_onnx(module, rows, outputs, label=role, axes=AXES.get(role))
        compared: Callable[..., dict[str, float]] = score_parity if role == "score" else parity
        parities[role] = compared(contents[role], module, rows)
    differences = [value for by_batch in parities.values() for value in by_batch.values()]
    admission.note(parity_gate(parities), figures=differences)
    graphs = {
        role: _entry(role, (given[role], networks.outputs(role)), content, parities[role])
        for role, content in contents.items()
    }
    return Exported(graphs, {f"{role}.onnx": content for role, content in contents.items()})


def _entry(
    role: Role, tensors: tuple[Rows, tuple[str, ...]], content: bytes, differences: dict[str, float]
) -> Graph:
    inputs, outputs = tensors
    model = onnx.load_model_from_string(content)
    return Graph(
        file=f"{role}.onnx",
        inputs={name: name for name in inputs},
        outputs={name: name for name in outputs},
        opset=check_graph(model, label=role),
        ir_version=model.ir_version,
        parity=differences,
    )


@torch.inference_mode()
def _inputs(networks: Networks, images: Tensor, count: int) -> dict[Role, Rows]:
    """What each network will be given in use, at most ``count`` rows of it, from a fixed seed."""
    data = sample_rows(images, count)
    mean, _ = networks.encoder(data)
    noise = _normal(mean.shape)
    # The rows of the means in turn with draws of N(0, I), since both will be decoded.
    latent = torch.stack([mean, noise], dim=1).flatten(0, 1)[: len(mean)]
    draws = _normal((len(mean), max(DRAWS), *mean.shape[1:]))
    given: dict[Role, Rows] = {
        "encoder": {networks.form.data: data},
        "decoder": {"latent": latent},
        "prior": {"noise": noise},
        "score": {networks.form.data: data, "noise": draws},
    }
    return {role: {name: rows.clone() for name, rows in given[role].items()} for role in given}


def sample_rows(images: Tensor, count: int) -> Tensor:
    """At most ``count`` images, evenly spaced over all, at least two, as float32 in [0, 1]."""
    rows = torch.linspace(0, len(images) - 1, max(2, min(count, len(images)))).long()
    return to_unit(images[rows])


def _normal(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _like_noise(latent: Tensor, noise: Tensor) -> Tensor:
    if latent.shape != noise.shape:
        raise TrainingError(f"prior: want latents of {_shape(noise[0])}, came {_shape(latent[0])}")
    return latent


def _shape(tensor: Tensor) -> str:
    return _sizes(tensor.shape)


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
