"""Decoders of less precision: admitted by what they cost, and served as they were sealed."""

from dataclasses import replace

import onnx
import pytest
import torch
from torch import nn

from serving.bundle import Bundle, BundleError, Likelihood
from serving.models.golden import prove_parity
from serving.runtime.providers import Provider
from serving.runtime.session import Session
from training.config import FitConfig
from training.data import to_unit
from training.export import Facts, export_bundle
from training.modalities import load
from training.modalities.image.networks.likelihoods import DiscretisedLogistic
from training.models.priors import StandardNormal
from training.models.score import Score
from training.training_error import TrainingError

SIGMA = 0.3
GAUSSIAN = Likelihood(name="gaussian", sigma=SIGMA, binarisation="none")


@pytest.fixture(scope="module")
def images():
    return load(FitConfig()).train.images


class Encoder(nn.Module):
    """The principal components of the digits, whatever they are: enough to decode something real."""

    def __init__(self, images):
        super().__init__()
        flat = to_unit(images).flatten(1)
        self.mean = flat.mean(dim=0)
        self.axes = torch.linalg.svd(flat - self.mean, full_matrices=False)[2][:16]

    def forward(self, image):
        mean = (image.flatten(1) - self.mean) @ self.axes.T
        return mean, torch.full_like(mean, -6.0)


class Decoder(nn.Module):
    """Their inverse through two layers; ``spoilt`` adds a unit that is huge and of no effect."""

    def __init__(self, encoder, *, spoilt=0.0):
        super().__init__()
        self.hidden, self.out = nn.Linear(16, 33), nn.Linear(33, 64)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.hidden.weight[:16], self.hidden.weight[16:32] = torch.eye(16), -torch.eye(16)
            self.hidden.bias[32] = spoilt
            self.hidden.weight[32] = spoilt
            self.out.weight[:, :16], self.out.weight[:, 16:32] = encoder.axes.T, -encoder.axes.T
            self.out.bias.copy_(encoder.mean)

    def forward(self, latent):
        return self.out(torch.relu(self.hidden(latent))).clamp(0, 1).unflatten(1, (1, 8, 8))


def export(folder, images, *, encoder=None, spoilt=0.0, likelihood=GAUSSIAN, **options) -> Bundle:
    encoder = encoder or Encoder(images)
    return export_bundle(
        encoder,
        Decoder(encoder, spoilt=spoilt),
        repository=folder,
        name="digits",
        images=images,
        labels=torch.arange(len(images)) % 2,
        label_names=("even", "odd"),
        facts=replace(Facts(), likelihood=likelihood),
        **options,
    )


def proved(sealed: Bundle) -> None:
    cpu = Provider("cpu", "tests")
    graphs = sealed.manifest.graphs.items()
    sessions = {role: Session(sealed.content(graph.file), graph, cpu, role=role) for role, graph in graphs}
    prove_parity(sealed, sessions)


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_a_decoder_of_less_precision_is_sealed_and_served(tmp_path, images, precision):
    """The manifest says what it is and what it costs, its golden rows are its own, the rest is float32."""
    exact = export(tmp_path / "exact", images)
    sealed = export(tmp_path / "less", images, precision=precision)
    kinds = {role: graph.precision for role, graph in sealed.manifest.graphs.items()}
    assert kinds == {"encoder": "float32", "decoder": precision}
    gate = next(gate for gate in sealed.manifest.training.gates if gate.name == f"precision {precision}")
    assert gate.passed
    assert float(gate.came.split()[0]) > -0.5  # a precision gains nothing
    proved(sealed)
    assert sealed.content("encoder.onnx") == exact.content("encoder.onnx")
    graph = onnx.load_model_from_string(sealed.content("decoder.onnx")).graph
    assert {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)} == {1}
    kinds_of_weights = {tensor.data_type for tensor in graph.initializer}
    if precision == "float16":
        assert onnx.TensorProto.FLOAT16 in kinds_of_weights
        assert onnx.TensorProto.FLOAT not in kinds_of_weights
    if precision == "int8":
        assert onnx.TensorProto.INT8 in kinds_of_weights
        *_, last = [node for node in graph.node if node.op_type in ("Gemm", "MatMul")]
        dequantised = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
        assert dequantised, "nothing was quantised"
        assert last.input[1] not in dequantised, "the output layer was"


def test_the_cost_is_that_of_the_likelihood(tmp_path, images):
    """A Gaussian of a tenth of the σ weighs the same error a hundred times."""
    tight = Likelihood(name="gaussian", sigma=SIGMA / 10, binarisation="none")
    losses = []
    for name, likelihood in (("wide", GAUSSIAN), ("tight", tight)):
        sealed = export(tmp_path / name, images, likelihood=likelihood, precision="int8", force=True)
        gates = {gate.name: gate for gate in sealed.manifest.training.gates}
        losses.append(float(gates["precision int8"].came.split()[0]))
    assert losses[0] >= 0.003, "too small to be compared in three decimals"
    assert losses[1] == pytest.approx(100 * losses[0], rel=0.3, abs=0.06)


class Logits(nn.Module):
    """Weight, locations and scales of levels whose means are nearly the images of ``Decoder``."""

    def __init__(self, encoder, log_scale):
        super().__init__()
        self.decoder, self.log_scale = Decoder(encoder), log_scale

    def forward(self, latent):
        image = self.decoder(latent)
        log_scale = torch.full_like(image, self.log_scale)
        return torch.cat([torch.zeros_like(image), 2 * image - 1, log_scale], dim=1)


class Mean(nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits, self.likelihood = logits, DiscretisedLogistic()

    def forward(self, latent):
        return self.likelihood.mean(self.logits(latent))


def export_levels(folder, images, log_scale, *, with_score=True) -> Bundle:
    encoder = Encoder(images)
    logits = Logits(encoder, log_scale)
    score = Score(encoder, logits, DiscretisedLogistic(), StandardNormal((16,)))
    levels = Likelihood(name="discretised_logistic", sigma=None, binarisation="none")
    options = {"facts": replace(Facts(), likelihood=levels), "images": images, "precision": "int8"}
    options |= {"score": score if with_score else None, "force": True}
    return export_bundle(encoder, Mean(logits), repository=folder, name="levels", **options)


def test_the_cost_is_told_from_the_scales_of_levels(tmp_path, images):
    """Small scales weigh the same error more; a discretised likelihood without its score tells no cost."""
    losses = []
    for name, log_scale in (("wide", 0.0), ("tight", -1.5)):
        gates = export_levels(tmp_path / name, images, log_scale).manifest.training.gates
        losses.append(float(next(gate for gate in gates if gate.name == "precision int8").came.split()[0]))
    assert losses[1] > 2 * abs(losses[0]) > 0
    with pytest.raises(TrainingError, match="--precision: want the score of the discretised likelihood"):
        export_levels(tmp_path / "none", images, 0.0, with_score=False)


def test_a_precision_that_costs_too_much_is_refused(tmp_path, images):
    """One huge activation leaves int8 no steps for the rest: refused, unless forced, which is recorded."""
    with pytest.raises(TrainingError, match=r"gate precision int8: want at most 0.5 nats .*, came \+\d"):
        export(tmp_path, images, spoilt=1e4, precision="int8")
    assert not list(tmp_path.rglob("manifest.json"))
    sealed = export(tmp_path, images, spoilt=1e4, precision="int8", force=True)
    assert [gate.name for gate in sealed.manifest.training.gates if gate.forced] == ["precision int8"]
    proved(sealed)


def test_two_images_are_enough(tmp_path, images):
    """One calibrates with as many latents of the prior, the other is measured."""
    proved(export(tmp_path, images[:2], encoder=Encoder(images), precision="int8", force=True))


def test_a_decoder_of_one_layer_is_not_called_int8(tmp_path, images):
    """Its only weights are those of the output layer, which stays in float32."""
    encoder = Encoder(images)
    decoder = nn.Sequential(nn.Linear(16, 64), nn.Unflatten(1, (1, 8, 8)), nn.Sigmoid())
    options = {"facts": replace(Facts(), likelihood=GAUSSIAN), "precision": "int8"}
    with pytest.raises(TrainingError, match=r"--precision int8: .* no weights but those of the output layer"):
        export_bundle(encoder, decoder, repository=tmp_path, name="one", images=images, **options)


def test_what_is_lost_cannot_be_told_without_a_sigma(tmp_path, images):
    """The message says what is missing; nothing is written."""
    with pytest.raises(TrainingError, match="--precision: want the σ of the Gaussian likelihood"):
        export(tmp_path, images, likelihood=replace_sigma(None), precision="int8")
    assert not list(tmp_path.rglob("*.onnx"))


def test_an_int8_decoder_that_answers_otherwise_is_not_served(tmp_path, images):
    """The wider tolerance of int8 still tells another decoder apart."""
    sealed = export(tmp_path / "a", images, precision="int8")
    other = export(tmp_path / "b", images.flip(3), precision="int8")
    cpu = Provider("cpu", "tests")
    graphs = sealed.manifest.graphs.items()
    sessions = {role: Session(sealed.content(graph.file), graph, cpu, role=role) for role, graph in graphs}
    decoder = other.manifest.graphs["decoder"]
    sessions["decoder"] = Session(other.content(decoder.file), decoder, cpu, role="decoder")
    with pytest.raises(BundleError, match="decoded: differs from the golden rows"):
        prove_parity(sealed, sessions)


def replace_sigma(sigma):
    return GAUSSIAN.model_copy(update={"sigma": sigma})
