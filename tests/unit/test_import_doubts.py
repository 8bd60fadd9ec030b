"""What a foreign graph gives beside what the user says of it: logits, ranges, variances."""

import re

import numpy as np
import pytest
from onnx import helper, numpy_helper
from scipy import special

from tests.unit.test_import_onnx import (
    FLAT,
    LOG_VAR,
    OUT,
    RNG,
    decoder,
    encoded,
    encoder,
    imported,
)
from training.__main__ import main
from training.export.parity import cpu_session
from training.import_onnx import ForeignModel, import_onnx
from training.training_error import TrainingError

BERNOULLI = {"likelihood": "bernoulli", "decoder_output": "logits"}


def write(folder, encoder_model, decoder_model) -> list[str]:
    for name, part in (("encoder", encoder_model), ("decoder", decoder_model)):
        (folder / f"{name}.onnx").write_bytes(part.SerializeToString())
    return ["--encoder", str(folder / "encoder.onnx"), "--decoder", str(folder / "decoder.onnx")]


def came(sealed) -> str:
    (gate,) = sealed.manifest.training.gates
    return gate.came


def test_logits_become_the_image_by_a_sigmoid(tmp_path, caplog):
    """The bundle's decoder gives chances, the proof is of them, and nothing is clamped or doubted."""
    sealed = imported(tmp_path, encoder(), decoder(op="Identity"), **BERNOULLI)
    latent = 30 * RNG.normal(size=(4, len(OUT))).astype(np.float32)
    (image,) = cpu_session(sealed.content("decoder.onnx")).run(["image"], {"latent": latent})
    np.testing.assert_allclose(image.reshape(4, -1), special.expit(latent @ OUT), atol=1e-5)
    assert (sealed.manifest.likelihood.name, sealed.manifest.training.gates[0].passed) == ("bernoulli", True)
    assert "clamped" not in came(sealed)
    assert not caplog.text


def test_logits_taken_for_an_image_are_doubted_aloud(tmp_path, caplog, capsys):
    """The share of clamped pixels stands in the warning, which names the option, and in the proof, which is not 0
    without a word any more."""
    files = write(tmp_path, encoder(), decoder(op="Identity"))
    where = ["--repository", str(tmp_path / "models"), "--name", "mine"]
    assert main(["import-onnx", *where, *files]) == 0
    share = re.search(r"decoder: (\d+)% of the pixels lie beyond --value-range=0,1", caplog.text)
    assert share
    assert 40 < int(share[1]) < 70
    assert "--decoder-output logits" in caplog.text
    assert f"{share[1]}% of its pixels clamped to 0,1" in capsys.readouterr().out
    again = ["--decoder-output", "logits", "--likelihood", "bernoulli"]
    caplog.clear()
    assert main(["import-onnx", *where, *files, *again]) == 0
    assert "clamped" not in capsys.readouterr().out
    assert not caplog.text


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"decoder_output": "logits"}, "want --likelihood bernoulli, came gaussian"),
        ({**BERNOULLI, "value_range": (-1.0, 1.0)}, "want --value-range=0,1, came -1,1"),
    ],
    ids=["gaussian", "range"],
)
def test_logits_want_bernoulli_pixels_from_0_to_1(tmp_path, facts, message):
    """One line that says what is wanted, before a file is opened."""
    foreign = ForeignModel(tmp_path / "no.onnx", tmp_path / "no.onnx", **facts)
    with pytest.raises(TrainingError, match=f"^--decoder-output logits: .*{message}"):
        import_onnx(foreign, repository=tmp_path / "models", name="mine")


def pixels_from(low: float, high: float):
    """A decoder whose pixels fill that range."""
    made = decoder(op="Sigmoid")
    made.graph.node[-1].input[0] = "ranged"
    made.graph.initializer.append(numpy_helper.from_array(np.float32(high - low), "span"))
    made.graph.initializer.append(numpy_helper.from_array(np.float32(low), "low"))
    made.graph.node.insert(2, helper.make_node("Mul", ["p", "span"], ["spanned"]))
    made.graph.node.insert(3, helper.make_node("Add", ["spanned", "low"], ["ranged"]))
    return made


@pytest.mark.parametrize(
    ("decoder_model", "facts", "doubt"),
    [
        pytest.param(pixels_from(0, 1), {}, "", id="as declared"),
        pytest.param(pixels_from(-1, 1), {"value_range": (-1.0, 1.0)}, "", id="as declared, -1 to 1"),
        pytest.param(
            pixels_from(0, 1), {"value_range": (-1.0, 1.0)}, "no pixel lies below 0", id="half the range"
        ),
        pytest.param(
            pixels_from(-1, 1), {}, r"5\d% of the pixels|4\d% of the pixels", id="-1 to 1 as 0 to 1"
        ),
        pytest.param(pixels_from(0, 255), {}, "100% of the pixels", id="bytes"),
        pytest.param(pixels_from(0, 1), BERNOULLI, "no logit lies beyond 0 to 1", id="image as logits"),
    ],
)
def test_pixels_in_another_range_than_declared_are_doubted(tmp_path, caplog, decoder_model, facts, doubt):
    """Beyond the range, in half of it alone, or already between 0 and 1."""
    imported(tmp_path, encoder(), decoder_model, **facts)
    assert re.search(doubt, caplog.text) if doubt else not caplog.text


EXP = [("Exp", ["logvar"], ["variance"], {}), ("Sqrt", ["variance"], ["sigma"], {})]
HALF = [("Mul", ["logvar", "half"], ["log_sigma"], {})]


@pytest.mark.parametrize(
    ("extra", "named", "doubt"),
    [
        ((), "logvar", ""),
        (EXP, "variance", "every log-variance is above 0"),
        (EXP, "sigma", "sigma is taken for the log-variance; by its name it is a standard deviation"),
        (HALF, "log_sigma", "log_sigma is taken for the log-variance; by its name"),
    ],
)
def test_what_is_no_log_variance_is_doubted(tmp_path, caplog, extra, named, doubt):
    """σ² and σ are above 0 wherever they are; log σ shows by its name alone."""
    made = encoder(extra=extra, outputs=("mu", named))
    if extra is HALF:
        made.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "half"))
    sealed = imported(tmp_path, made, decoder(), mean_output="mu", log_var_output=named)
    assert doubt in caplog.text if doubt else not caplog.text
    if not extra:
        np.testing.assert_allclose(encoded(sealed)[1], FLAT @ LOG_VAR, atol=1e-5)


def test_log_variances_that_are_mostly_clamped_are_doubted(tmp_path, caplog):
    """The share is told, as it is for pixels; an autoencoder's made-up one is neither clamped nor doubted."""
    imported(tmp_path, encoder(), decoder(), log_var_range=(-0.01, 0.01))
    assert re.search(r"encoder: \d+% of the log-variances lie beyond -0.01,0.01", caplog.text)
    caplog.clear()
    (tmp_path / "ae").mkdir()
    imported(tmp_path / "ae", encoder(outputs=("mu",)), decoder(), kind="ae", log_var_range=(-0.01, 0.01))
    assert not caplog.text
