"""Foreign graphs in the form of a bundle, or refused in one line with nothing left behind."""

import json
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load

from serving import bundle
from training.__main__ import main
from training.config import FitConfig
from training.export.parity import cpu_session
from training.import_onnx import ForeignModel, from_diffusers, import_onnx
from training.import_onnx.equivalence import difference, equivalence_gate
from training.modalities import load as load_data
from training.models.posterior_head import LOG_VAR_RANGE
from training.training_error import TrainingError

LATENTS, PIXELS, IMAGE = 3, 64, (1, 8, 8)
RNG = np.random.default_rng(0)
MEAN, LOG_VAR = (RNG.normal(size=(PIXELS, LATENTS)).astype(np.float32) / 8 for _ in range(2))
OUT = RNG.normal(size=(LATENTS, PIXELS)).astype(np.float32)
ROWS = RNG.random((5, *IMAGE), np.float32)
FLAT = ROWS.reshape(5, PIXELS)


def model(nodes, inputs, outputs, constants, *, opset=18, ir_version=10, dtype=TensorProto.FLOAT, domains=()):
    infos = [
        [helper.make_tensor_value_info(n, dtype, s) for n, s in part.items()] for part in (inputs, outputs)
    ]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(
        [helper.make_node(*node[:3], **node[3]) for node in nodes], "g", *infos, weights
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="elsewhere")


def encoder(batch="n", shape=IMAGE, extra=(), outputs=("stats",), weights=(MEAN, LOG_VAR), **options):
    """image → mean‖log_var in one tensor "stats", or as "mu" and "logvar"; ``extra`` nodes come last."""
    width = weights[0].shape[1]
    nodes = [
        ("Flatten", ["pixels"], ["flat"], {}),
        ("MatMul", ["flat", "a"], ["mu"], {}),
        ("MatMul", ["flat", "b"], ["logvar"], {}),
        ("Concat", ["mu", "logvar"], ["stats"], {"axis": 1}),
        *extra,
    ]
    widths = {"stats": 2 * width}
    return model(
        nodes,
        {"pixels": [batch, *shape]},
        {name: [batch, widths.get(name, width)] for name in outputs},
        {"a": weights[0], "b": weights[1]},
        **options,
    )


def decoder(batch="n", op="Sigmoid", latents=LATENTS, shape=IMAGE, **options):
    nodes = [
        ("MatMul", ["z", "w"], ["logits"], {}),
        (op, ["logits"], ["p"], {}),
        ("Reshape", ["p", "shape"], ["image"], {}),
    ]
    constants = {"w": OUT[:latents], "shape": np.array([-1, *shape], np.int64)}
    return model(nodes, {"z": [batch, latents]}, {"image": [batch, *shape]}, constants, **options)


def imported(tmp_path, encoder_model, decoder_model, dataset=None, **facts) -> bundle.Bundle:
    for name, part in (("encoder", encoder_model), ("decoder", decoder_model)):
        content = part if isinstance(part, bytes) else part.SerializeToString()
        (tmp_path / f"{name}.onnx").write_bytes(content)
    foreign = ForeignModel(tmp_path / "encoder.onnx", tmp_path / "decoder.onnx", **facts)
    return import_onnx(foreign, repository=tmp_path / "models", name="mine", dataset=dataset)


def encoded(sealed):
    return cpu_session(sealed.content("encoder.onnx")).run(["mean", "log_var"], {"image": ROWS})


RANDOM = [("RandomNormalLike", ["mu"], ["noise"], {}), ("Add", ["mu", "noise"], ["sample"], {})]


@pytest.mark.parametrize(
    ("encoder_model", "facts"),
    [
        pytest.param(encoder(), {}, id="concatenated"),
        pytest.param(encoder(outputs=("logvar", "mu")), {}, id="two outputs in another order"),
        pytest.param(
            encoder(outputs=("sample", "mu", "logvar"), extra=RANDOM), {}, id="a random sample beside them"
        ),
        pytest.param(
            encoder(outputs=("stats", "mu", "logvar")),
            {"mean_output": "mu", "log_var_output": "logvar"},
            id="named by the user",
        ),
        pytest.param(encoder(opset=14, ir_version=7), {}, id="old opset"),
        pytest.param(encoder(opset=21, ir_version=11), {}, id="new opset"),
        pytest.param(encoder(domains=("unused.domain",)), {}, id="a domain that no node is of"),
        pytest.param(encoder(shape=(1, "h", "w")), {"image_size": (8, 8)}, id="open height and width"),
        pytest.param(encoder(batch=None), {}, id="open batch without a name"),
    ],
)
def test_foreign_encoders_become_mean_and_log_variance(tmp_path, encoder_model, facts):
    """Whatever its outputs are called and in which version it is written, the bundle's encoder says the same."""
    sealed = imported(tmp_path, encoder_model, decoder(), **facts)
    mean, log_var = encoded(sealed)
    np.testing.assert_allclose(mean, FLAT @ MEAN, atol=1e-5)
    np.testing.assert_allclose(log_var, FLAT @ LOG_VAR, atol=1e-5)
    graph = sealed.manifest.graphs["encoder"]
    assert 17 <= graph.opset <= 20
    assert graph.ir_version == 10
    assert sealed.manifest.latent_shape == (LATENTS,)
    assert sealed.manifest.training.versions["elsewhere"] == "unknown"
    assert [gate.name for gate in sealed.manifest.training.gates] == ["same_as_imported"]


def test_log_variances_and_pixels_are_clamped(tmp_path, caplog):
    """To the ranges that were given; a range that most pixels miss is doubted aloud."""
    sealed = imported(tmp_path, encoder(), decoder(op="Identity"), log_var_range=(-0.1, 0.1))
    np.testing.assert_allclose(encoded(sealed)[1], (FLAT @ LOG_VAR).clip(-0.1, 0.1), atol=1e-5)
    latent = RNG.normal(size=(4, LATENTS)).astype(np.float32)
    (image,) = cpu_session(sealed.content("decoder.onnx")).run(["image"], {"latent": latent})
    np.testing.assert_allclose(image.reshape(4, -1), (latent @ OUT).clip(0, 1), atol=1e-5)
    assert "lie beyond --value-range=0,1" in caplog.text


def test_deterministic_encoder_is_an_autoencoder(tmp_path):
    """With --kind ae it is sealed with a posterior as narrow as that of the project's own autoencoders."""
    sealed = imported(tmp_path, encoder(outputs=("mu",)), decoder(), kind="ae")
    mean, log_var = encoded(sealed)
    np.testing.assert_allclose(mean, FLAT @ MEAN, atol=1e-5)
    np.testing.assert_array_equal(log_var, np.full_like(mean, LOG_VAR_RANGE[0]))
    assert sealed.manifest.kind == "ae"


def test_pools_are_of_scaled_latents_and_the_reference_of_those_of_the_graph(tmp_path):
    """Callers sample from pools, in (z - shift)·scale; the server watches the drift of z itself."""
    digits = load_data(FitConfig.parse({"data": "digits"}))
    sealed = imported(tmp_path, encoder(), decoder(), digits, latent_scale=0.5, latent_shift=2.0)
    assert [pool.name for pool in sealed.manifest.pools] == [*"0123456789", "aggregate"]
    pools = bundle.Pools.from_bytes(sealed.content("pools.safetensors"), pools=11, latents=LATENTS)
    reference = bundle.Reference.from_bytes(sealed.content("reference.safetensors"), latents=LATENTS)
    np.testing.assert_allclose(pools.mean[-1], (reference.mean - 2) * 0.5, atol=1e-5)
    assert sealed.manifest.pools[-1].rows == 1797  # nothing is held out
    golden = load(sealed.content("golden.safetensors"))
    np.testing.assert_array_equal(golden["latent"][0], golden["mean"][0])
    assert sealed.manifest.training.dataset_sha256 == digits.sha256


def external() -> onnx.ModelProto:
    outside = encoder()
    tensor = outside.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return outside


BAKED = [("Reshape", ["stats", "two"], ["out"], {})]
CUSTOM = [("Whiten", ["stats"], ["out"], {"domain": "com.example"})]
NOISY = [("RandomNormalLike", ["stats"], ["noise"], {}), ("Add", ["stats", "noise"], ["out"], {})]
MATES = [("ReduceMean", ["stats"], ["m"], {}), ("Sub", ["stats", "m"], ["out"], {})]


def ending_in(extra, **options) -> onnx.ModelProto:
    made = encoder(extra=extra, outputs=("out",), **options)
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2 * LATENTS
    made.graph.initializer.append(numpy_helper.from_array(np.array([2, 2 * LATENTS]), "two"))
    return made


@pytest.mark.parametrize(
    ("encoder_model", "decoder_model", "message"),
    [
        pytest.param(b"no graph", decoder(), "want an ONNX file", id="not ONNX"),
        pytest.param(b"", decoder(), "want an ONNX file", id="empty"),
        pytest.param(encoder(batch=1), decoder(), "encoder: pixels: want a dynamic batch.* came 1", id="batch"),
        pytest.param(ending_in(BAKED), decoder(), "encoder: .*dynamic batch|encoder: cannot run a batch", id="baked batch"),
        pytest.param(external(), decoder(), "encoder: want the weights inside the file", id="external data"),
        pytest.param(ending_in(CUSTOM, domains=("com.example",)), decoder(), "standard ONNX operators only, came com.example", id="custom operator"),
        pytest.param(ending_in(NOISY), decoder(), "no random operator in a graph, came RandomNormalLike", id="random"),
        pytest.param(ending_in(MATES), decoder(), "gate same_as_imported: .* came encoder", id="rows that see each other"),
        pytest.param(encoder(), decoder(latents=2), "do not fit together: stats: want .* 4 channels, .* came 6", id="latents"),
        pytest.param(encoder(), decoder(shape=(1, 4, 16)), "decoder: want images of 1×8×8 .*, came 1×4×16", id="images"),
        pytest.param(encoder(shape=(64,)), decoder(), r"want images \[batch, C, H, W\], came \['n', 64\]", id="rank"),
        pytest.param(encoder(shape=(1, "h", "w")), decoder(), "--image-size: want HxW", id="open size"),
        pytest.param(encoder(outputs=("mu",)), decoder(), "just what the decoder takes; .* --kind ae", id="deterministic"),
        pytest.param(encoder(outputs=("mu", "stats")), decoder(), "want --mean-output and --log-var-output .* came mu, stats", id="unclear outputs"),
        pytest.param(encoder(weights=(MEAN.astype(np.float16), LOG_VAR.astype(np.float16)), dtype=TensorProto.FLOAT16), decoder(), "want float32 weights, came FLOAT16", id="float16"),
        pytest.param(encoder(weights=(MEAN * np.inf, LOG_VAR)), decoder(), "gate same_as_imported: .* came encoder inf", id="not finite"),
    ],
)  # fmt: skip
def test_what_a_bundle_cannot_hold_is_refused(tmp_path, encoder_model, decoder_model, message):
    """One line that says what was wanted and what came; nothing is left behind."""
    with pytest.raises(TrainingError, match=message) as caught:
        imported(tmp_path, encoder_model, decoder_model)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "models").rglob("*"))


@pytest.mark.parametrize(
    ("config", "given", "message"),
    [
        pytest.param(None, {}, "want a folder with vae_encoder/ and vae_decoder/", id="no config"),
        pytest.param(
            {},
            {},
            "scaling_factor: want a number other than 0 .*, came None; or give --latent-scale",
            id="no factor",
        ),
        pytest.param({"scaling_factor": "big"}, {}, "came 'big'", id="no number"),
        pytest.param({"scaling_factor": 10**400}, {}, "want a number other than 0", id="no float"),
        pytest.param({"scaling_factor": 1e300}, {}, r"to 1e\+30, came 1e\+300", id="beyond float32"),
        pytest.param({"scaling_factor": 0}, {}, "want a number other than 0 .*, came 0", id="zero"),
        pytest.param(
            {"scaling_factor": 1, "latents_mean": [0.1, 0.2]},
            {},
            "latents_mean: want one factor",
            id="by channel",
        ),
    ],
)
def test_diffusers_folders_that_say_too_little_are_refused(tmp_path, config, given, message):
    """What config.json lacks is never guessed."""
    if config is not None:
        (tmp_path / "vae_encoder").mkdir()
        (tmp_path / "vae_encoder/config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match=message):
        from_diffusers(tmp_path, **given)


def test_flags_replace_what_the_folder_says(tmp_path):
    """A factor given on the command line wins, and then may be missing from config.json."""
    (tmp_path / "vae_encoder").mkdir()
    (tmp_path / "vae_encoder/config.json").write_text('{"shift_factor": null}')
    foreign = from_diffusers(tmp_path, latent_scale=0.5)
    assert (foreign.latent_scale, foreign.latent_shift, foreign.value_range) == (0.5, 0.0, (-1.0, 1.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--encoder", "e.onnx"], "--decoder: want both files", id="one file"),
        pytest.param(["--diffusers", "f", "--encoder", "e"], "came --encoder as well", id="too many"),
        pytest.param(["--value-range=1,0"], "want two numbers LOW,HIGH", id="range"),
        pytest.param(["--latent-scale", "0"], "want a number other than 0", id="scale"),
        pytest.param(["--image-size", "12"], "want HxW", id="size"),
        pytest.param(["--encoder", "no.onnx", "--decoder", "no.onnx"], "no.onnx: cannot be read", id="missing file"),
    ],
)  # fmt: skip
def test_command_refuses_in_one_line(tmp_path, capsys, arguments, message):
    """Exit code 2, the option named."""
    assert main(["import-onnx", "--repository", str(tmp_path / "m"), "--name", "x", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert not (tmp_path / "m").exists()


def test_too_many_latents_for_pools_are_refused(tmp_path, monkeypatch):
    """A covariance of latents × latents has a limit, which is named before anything is written."""
    monkeypatch.setattr("training.import_onnx.foreign_latents.MAX_LATENTS", LATENTS - 1)
    digits = load_data(FitConfig.parse({"data": "digits"}))
    with pytest.raises(TrainingError, match="--data: want at most 2 latents for pools, came 3"):
        imported(tmp_path, encoder(), decoder(), digits)
    assert not list((tmp_path / "models").rglob("*"))


def test_subgraphs_keep_what_they_take_from_outside(tmp_path):
    """A branch of If that reads tensors of the outer graph still does so under the new names."""
    wanted = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, ["n", 2 * LATENTS])
    branch = helper.make_graph([helper.make_node("Neg", ["stats"], ["chosen"])], "branch", [], [wanted])
    branching = ending_in([("If", ["yes"], ["out"], {"then_branch": branch, "else_branch": branch})])
    branching.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    mean, _ = encoded(imported(tmp_path, branching, decoder()))
    np.testing.assert_allclose(mean, -(FLAT @ MEAN), atol=1e-5)


@pytest.mark.parametrize(
    ("sealed", "wanted", "least"),
    [
        pytest.param(lambda rows, _: [rows], lambda rows: [rows], 0.0, id="the same"),
        pytest.param(lambda rows, _: [rows], lambda rows: [rows + 0.5], 0.2, id="another value"),
        pytest.param(lambda rows, _: [rows], lambda rows: [rows[:, :1]], np.inf, id="another shape"),
        pytest.param(lambda rows, _: [rows * len(rows)], lambda rows: [rows * len(rows)], 0.2, id="batch"),
    ],
)
def test_proof_sees_what_differs(sealed, wanted, least):
    """Values and shapes other than the file's, and rows that change with the batch, are no proof."""
    came = difference(sealed, wanted, FLAT)
    assert came == 0 if least == 0 else came >= least
    assert equivalence_gate({"encoder": came}).passed == (least == 0)
