"""The estimators against a model whose likelihood is known exactly, and the figures made of them."""

import math

import pytest
import torch
from torch import Tensor, nn

from training.evaluate import Metrics, Protocol, estimate, estimates, summarise
from training.evaluate.log_mean_exp import LogMeanExp
from training.models import VAE, portions
from training.models.priors import StandardNormal
from training.training_error import TrainingError

SHAPE = (1, 2, 3)
PIXELS = math.prod(SHAPE)
SIGMA = 0.5


class FixedGaussian(nn.Module):
    """p(x|z) = N(logits, σ² I): linear, where the product's own likelihoods put a sigmoid."""

    name = "gaussian"
    sigma = SIGMA

    def log_prob(self, image: Tensor, logits: Tensor) -> Tensor:
        return torch.distributions.Normal(logits, SIGMA).log_prob(image).sum(dim=(-3, -2, -1))


class LinearEncoder(nn.Module):
    """q(z|x) = N(A x + shift, variance)."""

    def __init__(self, matrix: Tensor, shift: float, variance: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)
        self.shift = shift
        self.log_var = variance.log()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean = image.flatten(1) @ self.matrix.T + self.shift
        return mean, self.log_var.expand_as(mean)


class LinearGaussian:
    """z ~ N(0, I), x = W z + noise, so that x ~ N(0, W Wᵀ + σ² I) and log p(x) is known.

    W has orthogonal columns; so the true posterior is a diagonal Gaussian and an encoder can be exact.
    """

    def __init__(self, latents: int = 2) -> None:
        generator = torch.Generator().manual_seed(1)
        basis, _ = torch.linalg.qr(torch.randn(PIXELS, latents, generator=generator))
        self.loadings = basis * torch.tensor([1.5, 0.7])
        self.precision = 1 + self.loadings.square().sum(dim=0) / SIGMA**2
        covariance = self.loadings @ self.loadings.T + SIGMA**2 * torch.eye(PIXELS)
        self.marginal = torch.distributions.MultivariateNormal(torch.zeros(PIXELS), covariance)
        self.images = self.marginal.sample((300,)).unflatten(1, SHAPE)

    def model(self, *, shift: float = 0.0, widened: float = 1.0, kind: str = "vae") -> VAE:
        """With the exact posterior, or one moved by ``shift`` and with ``widened`` times its variance."""
        variance = 1 / self.precision
        decoder = nn.Sequential(nn.Linear(2, PIXELS, bias=False), nn.Unflatten(1, SHAPE))
        decoder[0].weight.data = self.loadings
        encoder = LinearEncoder(variance[:, None] * self.loadings.T / SIGMA**2, shift, widened * variance)
        prior = StandardNormal((2,))
        parts = (encoder, decoder, FixedGaussian(), prior)
        return VAE(*parts, kind=kind, image_shape=SHAPE, latent_shape=(2,)).eval()

    @property
    def exact(self) -> Tensor:
        """[N] log p(x)."""
        return self.marginal.log_prob(self.images.flatten(1)).double()


@pytest.fixture(scope="module")
def world() -> LinearGaussian:
    torch.manual_seed(0)
    return LinearGaussian()


@pytest.fixture
def chunks_of_ten(monkeypatch) -> None:
    """Ten draws at a time, so that small k cross the border of a chunk."""
    monkeypatch.setattr(portions, "PIXELS_AT_ONCE", 10 * estimates.IMAGES_AT_ONCE * PIXELS)


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_log_mean_exp_in_chunks(chunk):
    """In any chunks, and for weights far beyond the range of exp, it is logsumexp - log k."""
    log_weights = torch.randn(50, 4, dtype=torch.float64) * 300 - torch.tensor([0, 1e4, -1e4, 5.0])
    streamed = LogMeanExp(4)
    for part in log_weights.split(chunk):
        streamed.add(part)
    torch.testing.assert_close(streamed.value, log_weights.logsumexp(dim=0) - math.log(50))
    shares = log_weights.softmax(dim=0)
    torch.testing.assert_close(streamed.effective_samples, 1 / shares.square().sum(dim=0))
    torch.testing.assert_close(streamed.largest_share, shares.amax(dim=0))


@pytest.mark.parametrize("k", [1, 3, 10, 37])
def test_exact_posterior_gives_the_exact_likelihood(world, chunks_of_ten, k):
    """With the true posterior every weight is p(x): to 1e-4 nats for any k, and exactly k samples count."""
    found = estimate(world.model(), world.images, k=k, seed=0)
    torch.testing.assert_close(found.log_likelihood, world.exact, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.effective_samples, torch.full((300,), k, dtype=torch.float64))


def test_elbo_falls_short_by_the_divergence_from_the_true_posterior(world):
    """-ELBO = -log p(x) + KL(q ‖ p(z|x)), within four standard errors of 300 images and 100 draws."""
    shift, widened = 0.3, 1.6
    found = estimate(world.model(shift=shift, widened=widened), world.images, k=100, seed=0)
    gap = 0.5 * (shift**2 * world.precision + widened - 1 - math.log(widened)).sum()
    error = found.distortion + found.rate + world.exact - gap
    assert abs(error.mean()) < 4 * error.std() / math.sqrt(len(error))
    assert abs(error.mean()) < 0.05


def test_importance_weighted_bound_rises_to_the_likelihood(world):
    """With a wrong posterior the bound grows with k, from the ELBO to within 0.01 nats of log p(x)."""
    model = world.model(shift=0.3, widened=1.6)
    mean_bound = [
        float(estimate(model, world.images, k=k, seed=3).log_likelihood.mean()) for k in (1, 10, 100, 2000)
    ]
    assert mean_bound == sorted(mean_bound)
    exact = float(world.exact.mean())
    assert mean_bound[0] < exact - 0.3
    assert mean_bound[-1] == pytest.approx(exact, abs=0.01)


def test_same_seed_same_estimates(world):
    """A seed decides everything; another one gives other numbers."""
    model = world.model(shift=0.3)
    one, same, other = (estimate(model, world.images, k=20, seed=seed).log_likelihood for seed in (5, 5, 6))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_bfloat16_rounds_the_decoder_alone(world):
    """Its likelihood is a little off the exact one, by what three digits of logits cost; the rate is the same."""
    model = world.model(shift=0.3)
    whole, rounded = (
        estimate(model, world.images, k=20, seed=5, decoder=name) for name in ("float32", "bfloat16")
    )
    assert torch.equal(whole.rate, rounded.rate)
    off = (whole.log_likelihood - rounded.log_likelihood).abs()
    assert 0 < off.mean() < 0.1


def test_closed_form_divergence_is_the_sampled_one(world):
    """KL(q ‖ N(0, I)) in closed form is what 50,000 draws of log q - log p average to, within 0.02 nats."""
    mean, log_var = world.model(widened=1.6).encoder(world.images[:1])
    prior = StandardNormal((2,))
    latent = mean + (0.5 * log_var).exp() * torch.randn(50_000, 2)
    log_q = torch.distributions.Normal(mean, (0.5 * log_var).exp()).log_prob(latent).sum(dim=1)
    sampled = (log_q - prior.log_prob(latent)).mean()
    torch.testing.assert_close(sampled, prior.rate(mean, log_var, latent)[0], atol=0.02, rtol=0)


@pytest.mark.parametrize(("k", "images"), [(0, 5), (-3, 5), (4, 0)])
def test_nothing_to_estimate_is_refused(world, k, images):
    """k below 1 or no images: an error that says so."""
    with pytest.raises(TrainingError, match=r"--k|want at least 1 image"):
        estimate(world.model(), world.images[:images], k=k, seed=0)


PROTOCOL = Protocol(
    dataset="toy",
    split="test",
    images=300,
    images_in_split=300,
    binarisation="none",
    likelihood="gaussian",
    k=20,
    model_seed=1,
    evaluation_seed=2,
    step=3,
    seconds=1.0,
    images_per_second=300.0,
    training_seconds=None,
    training_images_per_second=None,
)


def test_metrics_are_means_with_standard_errors(world, tmp_path):
    """nelbo = distortion + rate, se = sd/√N, k is in the name; the file reads back as what was written."""
    found = estimate(world.model(), world.images, k=20, seed=0)
    metrics = summarise(found, PROTOCOL, pixels=PIXELS)
    document = metrics.document()
    assert document["nelbo"] == pytest.approx(document["distortion"] + document["rate"])
    assert document["nll_20"] == pytest.approx(-float(found.log_likelihood.mean()))
    assert document["nll_20_se"] == pytest.approx(float(found.log_likelihood.std()) / math.sqrt(300))
    assert sum(document["kl_per_dimension"]) == pytest.approx(document["rate"])
    bits = document["nelbo"] / (PIXELS * math.log(2)) + math.log2(255)
    assert document["bits_per_dim_density"] == pytest.approx(bits)
    (tmp_path / "metrics.json").write_text(metrics.to_json())
    assert Metrics.read(tmp_path / "metrics.json") == metrics


def test_dead_latent_is_not_active(world):
    """A latent whose posterior mean never moves does not count."""
    model = world.model()
    assert (
        summarise(estimate(model, world.images, k=1, seed=0), PROTOCOL, pixels=6)
        .figures["active_units"]
        .value
        == 2
    )
    model.encoder.matrix.data[1] = 0
    assert (
        summarise(estimate(model, world.images, k=1, seed=0), PROTOCOL, pixels=6)
        .figures["active_units"]
        .value
        == 1
    )


def test_autoencoder_has_no_bound(world):
    """An autoencoder is no model of p(x): distortion and active units are all that is reported."""
    found = estimate(world.model(kind="ae"), world.images, k=5, seed=0)
    metrics = summarise(found, PROTOCOL, pixels=PIXELS)
    assert set(metrics.figures) == {"distortion", "active_units"}


def test_broken_metrics_are_named(tmp_path):
    """A file that is not an evaluation is named in the error."""
    path = tmp_path / "metrics.json"
    path.write_text('{"nelbo": 1}')
    with pytest.raises(TrainingError, match=r"metrics\.json: not the metrics"):
        Metrics.read(path)
