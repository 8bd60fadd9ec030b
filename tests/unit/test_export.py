"""Graphs that keep the contract, and bundles made of a user's own modules."""

import math
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load
from torch import nn

from serving import bundle
from training.evaluate import Figure
from training.export import Facts, export_bundle
from training.export.graphs import check_graph, to_onnx
from training.export.parity import cpu_session
from training.export.sealing import free_target
from training.training_error import TrainingError

SHAPE = (3, 4, 6)
LATENT_SHAPE = (2, 2, 3)
LIKELIHOOD = bundle.Likelihood(name="gaussian", sigma=0.1, binarisation="none")
FACTS = Facts(kind="vae", likelihood=LIKELIHOOD, dataset="toy", objective="elbo")


class SpatialEncoder(nn.Module):
    """Someone else's encoder: spatial latents, dropout, batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.BatchNorm2d(4), nn.Dropout(0.5))

    def forward(self, pictures):
        return self.layers(pictures).chunk(2, dim=1)


class SpatialDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 3, 2, stride=2)

    def forward(self, code):
        return torch.sigmoid(self.up(code))


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class BatchOfTwo(nn.Module):
    """Works for one batch size alone."""

    def forward(self, x):
        return (x.reshape(2, -1) @ torch.ones(3, 3)).reshape(2, 3)


class Undecided(nn.Module):
    """Its way depends on the values."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def export(tmp_path, encoder=None, decoder=None, **options):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (40, *SHAPE), dtype=torch.uint8)
    settings = {"repository": tmp_path / "models", "name": "toy", "images": images, "facts": FACTS} | options
    return export_bundle(encoder or SpatialEncoder(), decoder or SpatialDecoder(), **settings)


def nothing_left(tmp_path) -> bool:
    return not [path for path in (tmp_path / "models").rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory) -> bundle.Bundle:
    """Someone's modules, with labels, figures and a picture."""
    return export(
        tmp_path_factory.mktemp("sealed"),
        labels=torch.arange(40) % 2,
        label_names=("cat", "dog"),
        facts=replace(FACTS, metrics={"nelbo": Figure(-3.5, 0.1)}),
        report={"a.txt": b"picture"},
    )


def test_modules_of_a_user_become_a_bundle(sealed):
    """Spatial latents, colour, non-square: sealed, consistent, and in the words of the contract."""
    manifest = sealed.manifest
    assert (manifest.image.shape, manifest.image.colour) == (SHAPE, "rgb")
    assert manifest.latent_shape == LATENT_SHAPE
    assert [pool.name for pool in manifest.pools] == ["cat", "dog", "aggregate"]
    assert manifest.training.metrics["nelbo"].value == -3.5
    assert {gate.name: gate.passed for gate in manifest.training.gates} == {
        "parity": True,
        "finite_metrics": True,
        "posterior_collapse": True,
    }
    assert set(manifest.graphs["encoder"].parity) == {"1", "2", "3", "7", "64"}
    assert {"torch", "onnx", "onnxscript", "onnxruntime", "vaeserve"} == set(manifest.training.versions)
    assert sealed.content("report/a.txt") == b"picture"
    assert bundle.read(sealed.root).digest == sealed.digest


def test_golden_rows_are_what_the_graphs_give(sealed):
    """ONNX Runtime on the sealed files gives the golden outputs: real images, and latents of both kinds."""
    golden = {name: tensor.numpy() for name, tensor in load(sealed.content("golden.safetensors")).items()}
    encoded = cpu_session(sealed.content("encoder.onnx")).run(["mean", "log_var"], {"image": golden["image"]})
    np.testing.assert_allclose(encoded, [golden["mean"], golden["log_var"]], atol=1e-5)
    decoded = cpu_session(sealed.content("decoder.onnx")).run(["image"], {"latent": golden["latent"]})
    np.testing.assert_allclose(decoded[0], golden["decoded"], atol=1e-5)
    np.testing.assert_array_equal(golden["latent"][::2], golden["mean"][:4])


def test_no_version_is_ever_replaced(sealed):
    """The version that is there is refused; the next free one is the one after it."""
    repository = sealed.root.parents[1]
    with pytest.raises(TrainingError, match="toy/1: exists already"):
        free_target(repository, "toy", 1)
    assert free_target(repository, "toy", None) == repository / "toy/2"
    assert free_target(repository, "toy", 7) == repository / "toy/7"


def test_graphs_keep_the_contract_and_say_nothing_of_this_machine(tmp_path):
    """IR 10, opset 18, dynamic batch, no path of this machine, and the same bytes each time."""
    module = SpatialEncoder().eval()
    examples = {"image": torch.rand(2, *SHAPE)}
    content = to_onnx(module, examples, ("mean", "log_var"), label="encoder")
    model = onnx.load_model_from_string(content)
    assert (model.ir_version, check_graph(model, label="encoder")) == (10, 18)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["image", "mean", "log_var"]
    assert b".py" not in content
    assert content == to_onnx(module, examples, ("mean", "log_var"), label="encoder")


def test_exporting_leaves_the_module_in_its_mode():
    """A module in training mode is exported as in evaluation, and then is in training mode again."""
    module = SpatialEncoder().train()
    content = to_onnx(module, {"image": torch.rand(2, *SHAPE)}, ("mean", "log_var"), label="encoder")
    assert module.training
    assert module.layers[2].training
    assert "Dropout" not in {node.op_type for node in onnx.load_model_from_string(content).graph.node}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        pytest.param(Noisy(), "no random operator in a graph, came Random", id="random"),
        pytest.param(BatchOfTwo(), "want a dynamic batch on axis 0, came 2", id="fixed batch"),
        pytest.param(Undecided(), "cannot be exported to ONNX", id="not traceable"),
    ],
)
def test_module_that_breaks_the_contract_is_refused(module, message):
    """One line that names the graph and what is wrong with it."""
    with pytest.raises(TrainingError, match=message) as caught:
        to_onnx(module, {"x": torch.rand(2, 3)}, ("y",), label="decoder")
    assert str(caught.value).startswith("decoder: ")
    assert "\n" not in str(caught.value)


def graph(
    op: str = "Identity", batch: str | int = "batch", opset: int = 18, domain: str = ""
) -> onnx.ModelProto:
    shape = [batch, 3]
    node = helper.make_node(op, ["x"], ["y"], domain=domain)
    inputs, outputs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    made = helper.make_graph([node], "g", [inputs], [outputs])
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(graph(batch=1), "dynamic batch on axis 0, came 1", id="batch"),
        pytest.param(graph(opset=16), "want opset 17-20, came 16", id="old opset"),
        pytest.param(graph(opset=21), "want opset 17-20, came 21", id="new opset"),
        pytest.param(graph("RandomNormalLike"), "came RandomNormalLike", id="random"),
        pytest.param(graph("Gelu", domain="com.microsoft"), "standard ONNX operators only", id="domain"),
        pytest.param(graph("NoSuchOperator"), "not a valid ONNX model", id="unknown operator"),
    ],
)
def test_graph_that_breaks_the_contract_is_refused(model, message):
    """What cannot be served everywhere is refused, whoever made it."""
    check_graph(graph(), label="prior")
    with pytest.raises(TrainingError, match=message):
        check_graph(model, label="prior")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"name": "../evil"}, "--name '../evil': want", id="name"),
        pytest.param({"version": 0}, "--version 0: want 1 to", id="version"),
        pytest.param({"decoder": nn.Identity()}, "decoder: want images of 3×4×6, came 2×2×3", id="decoder"),
        pytest.param(
            {"facts": replace(FACTS, metrics={"nelbo": Figure(math.nan, None)})},
            "gate finite_metrics: .* nelbo not finite",
            id="metrics",
        ),
    ],
)
def test_refusals_leave_nothing_behind(tmp_path, options, message):
    """A bad name or version, halves that do not fit, a figure that is no number: named, nothing written."""
    with pytest.raises(TrainingError, match=message):
        export(tmp_path, **options)
    assert nothing_left(tmp_path)


def test_more_pools_than_a_bundle_holds(tmp_path):
    """One for each of thousands of labels: said before the work of exporting, with the way out."""
    count = bundle.MOST_POOLS
    images = torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8)
    labels, names = torch.arange(count), tuple(map(str, range(count)))
    with pytest.raises(
        TrainingError, match=r"want at most 4096 pools, .* came 4097; want --pools mixture or"
    ):
        export(tmp_path, images=images, labels=labels, label_names=names)
    assert nothing_left(tmp_path)
