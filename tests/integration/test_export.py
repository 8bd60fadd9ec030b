"""From a run to a sealed bundle and its report, as a user does it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from serving import bundle
from tests.support.brief_fits import MLP
from training.__main__ import main
from training.data import to_unit
from training.export.parity import cpu_session
from training.pools import posterior
from training.runs import load_run

TINY = [*MLP, "--width", "24", "--latent", "4"]
PICTURES = {"samples.png", "reconstructions.png", "latent_map.png", "loss_curves.png"}


def fit(run: Path, *arguments: str) -> Path:
    assert main(["fit", "--run", str(run), *TINY, *arguments]) == 0
    return run


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """A VAE of the digits, briefly trained."""
    return fit(tmp_path_factory.mktemp("runs") / "digits", "--steps", "300", "--likelihood", "bernoulli")


@pytest.fixture(scope="module")
def sealed(digits, tmp_path_factory) -> bundle.Bundle:
    """Exported without an evaluation before it."""
    repository = tmp_path_factory.mktemp("models")
    assert main(["export", "--run", str(digits), "--repository", str(repository), "--name", "mine"]) == 0
    return bundle.read(repository / "mine/1")


def test_bundle_says_where_it_comes_from(sealed, digits):
    """Likelihood, data, steps, pools of every label, a quick evaluation with its k, pictures, gates."""
    manifest, run = sealed.manifest, load_run(digits)
    assert (manifest.kind, manifest.likelihood.name) == ("vae", "bernoulli")
    assert manifest.likelihood.binarisation == "dynamic"
    assert manifest.training.dataset_sha256 == run.dataset().sha256
    assert manifest.training.steps == 300
    assert [pool.name for pool in manifest.pools] == [*"0123456789", "aggregate"]
    metrics = manifest.training.metrics
    assert {"nelbo", "rate", "distortion", "nll_100", "active_units"} <= set(metrics)
    assert metrics["nll_100"].value < metrics["nelbo"].value
    assert metrics["nelbo"].standard_error > 0
    assert all(gate.passed for gate in manifest.training.gates)
    assert {f"report/{name}" for name in PICTURES} | {"report/metrics.json"} <= set(manifest.files)
    document = json.loads(sealed.content("report/metrics.json"))
    assert (document["split"], document["images"], document["binarisation"]) == ("test", 180, "dynamic")


def test_sealed_graphs_are_the_averaged_model(sealed, digits):
    """On real images and any batch size, the files give what the EMA weights give in PyTorch."""
    model, data = load_run(digits).model, load_run(digits).dataset()
    encoder, decoder = (cpu_session(sealed.content(name)) for name in ("encoder.onnx", "decoder.onnx"))
    for rows in (1, 5, 180):
        image = to_unit(data.test.images[:rows])
        with torch.inference_mode():
            mean, log_var = model.encoder(image)
            expected = model.likelihood.mean(model.decoder(mean))
        got = encoder.run(None, {"image": image.numpy()})
        np.testing.assert_allclose(got, [mean, log_var], atol=1e-4)
        decoded = decoder.run(None, {"latent": got[0]})[0]
        np.testing.assert_allclose(decoded, expected, atol=1e-4)
        assert decoded.min() >= 0
        assert decoded.max() <= 1


def test_pools_lie_where_their_digits_lie(sealed, digits):
    """Of each held-out digit's neighbourhood: most posterior means are nearest to their own label's pool."""
    data = load_run(digits).dataset()
    pools = bundle.Pools.from_bytes(sealed.content("pools.safetensors"), pools=11, latents=4)
    _, latents = posterior(load_run(digits).model.encoder, data.test.images)
    densities = [
        torch.distributions.MultivariateNormal(torch.from_numpy(mean), scale_tril=torch.from_numpy(lower))
        .log_prob(torch.from_numpy(latents.mean))
        .numpy()
        for mean, lower in zip(pools.mean[:10], pools.cholesky[:10], strict=True)
    ]
    assert (np.argmax(densities, axis=0) == data.test.labels.numpy()).mean() > 0.5


def test_evaluation_is_used_by_export_and_report(digits, tmp_path, capsys):
    """What `evaluate` measured is what the bundle and the report state; the figures are printed."""
    run = Path(shutil.copytree(digits, tmp_path / "run"))
    arguments = ["--run", str(run), "--split", "val", "--k", "7", "--images", "30", "--seed", "5"]
    assert main(["evaluate", *arguments]) == 0
    assert "nll_7" in capsys.readouterr().out
    assert main(["report", "--run", str(run)]) == 0
    document = json.loads((run / "report/metrics.json").read_text())
    assert (document["k"], document["images"], document["evaluation_seed"]) == (7, 30, 5)
    assert document["training_seconds"] > 0
    for name in PICTURES:
        with Image.open(run / "report" / name) as picture:
            assert min(picture.size) > 200, name
    assert (
        main(["export", "--run", str(run), "--repository", str(tmp_path / "models"), "--name", "mine"]) == 0
    )
    output = capsys.readouterr().out
    sealed = bundle.read(tmp_path / "models/mine/1")
    assert "nll_7" in sealed.manifest.training.metrics
    assert sealed.digest in output
    assert f"vae-serve --repository {tmp_path / 'models'}" in output


def test_autoencoder_is_exported_as_one(tmp_path):
    """Kind ae: no bound among its figures, a posterior as narrow as can be, the same pools."""
    run = fit(tmp_path / "ae", "--model", "ae", "--steps", "60")
    assert main(["export", "--run", str(run), "--repository", str(tmp_path / "models")]) == 0
    sealed = bundle.read(tmp_path / "models/ae/1")
    assert sealed.manifest.kind == "ae"
    assert set(sealed.manifest.training.metrics) == {"distortion", "active_units"}
    assert len(sealed.manifest.pools) == 11
    golden = load(sealed.content("golden.safetensors"))
    assert (golden["log_var"] == golden["log_var"].flatten()[0]).all()


def test_colour_images_without_labels(tmp_path):
    """A flat folder of non-square colour images: Gaussian likelihood with its σ, aggregate pool alone, 2 latents."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(40):
        pixels = np.zeros((9, 14, 3), np.uint8) + rng.integers(0, 256, 3, np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    run = fit(tmp_path / "mine", "--data", str(folder), "--steps", "40", "--latent", "2")
    assert main(["export", "--run", str(run), "--repository", str(tmp_path / "models")]) == 0
    manifest = bundle.read(tmp_path / "models/mine/1").manifest
    assert (manifest.image.shape, manifest.image.colour) == ((3, 9, 14), "rgb")
    assert manifest.likelihood.name == "gaussian"
    assert manifest.likelihood.sigma > 0
    assert [pool.name for pool in manifest.pools] == ["aggregate"]
    assert "bits_per_dim_density" in manifest.training.metrics


def test_an_iwae_is_sealed_as_one(tmp_path):
    """Its objective is no ELBO; the −ELBO among its metrics is one, and its bound the tighter."""
    run = fit(tmp_path / "iwae", "--steps", "40", "--model", "iwae", "--importance-samples", "3")
    where = ["--repository", str(tmp_path / "models"), "--name", "iwae", "--force"]
    assert main(["export", "--run", str(run), *where]) == 0
    manifest = bundle.read(tmp_path / "models/iwae/1").manifest
    assert (manifest.kind, manifest.training.objective.split(",")[0]) == ("iwae", "iwae")
    assert "k = 3" in manifest.training.objective
    metrics = {name: metric.value for name, metric in manifest.training.metrics.items()}
    assert metrics["nelbo"] == pytest.approx(metrics["distortion"] + metrics["rate"])
    assert metrics["nll_100"] < metrics["nelbo"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--run", "nowhere"], "--run nowhere"),
        (["evaluate", "--run", "{run}", "--k", "0"], "--k: want a whole number from 1 to 1000000, came '0'"),
        (["evaluate", "--run", "{run}", "--images", "0"], "--images: want a whole number from 1 "),
        (["evaluate", "--run", "{run}", "--split", "train"], "--split"),
        (["export", "--run", "{run}", "--repository", "{out}", "--name", "a/b"], "--name 'a/b': want"),
        (
            ["export", "--run", "{run}", "--repository", "{run}/config.json", "--name", "x"],
            "want a folder, came a file",
        ),
        (["report", "--run", "{out}"], "cannot read config.json"),
    ],
)
def test_refusals_are_one_line(digits, tmp_path, capsys, arguments, message):
    """Exit code 2 and one line on stderr that names the option; nothing is written."""
    filled = [argument.format(run=digits, out=tmp_path / "out") for argument in arguments]
    assert main(filled) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("vae-train: error: ")
    assert message in error
    assert not (tmp_path / "out").exists()
