"""How well a model explains data, in nats: what is exported as ``score.onnx``."""

from torch import Tensor, nn

from training.models.flow import RealNVP
from training.models.gaussians import gaussian_kl, gaussian_log_density
from training.models.likelihood import Likelihood
from training.models.priors import StandardNormal


class Score(nn.Module):
    """Distortion, rate and importance weights of images, in nats summed over pixels and latents.

    Args:
        encoder: image [B, C, H, W] in [0, 1] → (mean, log_var), each [B, *latent_shape].
        decoder: latent [n, *latent_shape] → logits [n, P, H, W] of ``likelihood``.
        likelihood: p(x|z).
        prior: p(z).
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: StandardNormal | RealNVP,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Distortion and rate [B], and log_weight [B, k], of B images with k draws each.

        Shapes: image [B, C, H, W] in [0, 1]; noise [B, k, *latent_shape] ~ N(0, I).

        Distortion -log p(x|z) and rate are means over the k draws of q(z|x), the rate in closed form where
        the prior is N(0, I); ``log_weight`` is log p(x|z) + log p(z) - log q(z|x) of each draw, so that
        -logmeanexp over k estimates -log p(x): Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519),
        equation 8. distortion + rate is -ELBO.

        A Bernoulli likelihood takes the image as it is: for grey pixels the distortion is the mean over all
        binary images with these chances, given the posterior of the grey one. The exact -ELBO of a model
        trained on binarised images wants binary images. A discretised likelihood takes an image between its
        256 levels for the nearest one.
        """
        logits, estimates, rate = self.drawn(image, noise)
        log_prob = self.likelihood.log_prob(image, logits)
        return -log_prob.mean(dim=0), rate, (log_prob - estimates).transpose(0, 1)

    def drawn(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [k, B, P, H, W] of the draws, log q(z|x) - log p(z) of each [k, B], and the rate [B]."""
        mean, log_var = self.encoder(image)
        draws = noise.transpose(0, 1)
        latent = mean + (0.5 * log_var).exp() * draws  # [k, B, *latent_shape]
        logits = self.decoder(latent.flatten(0, 1)).unflatten(0, draws.shape[:2])
        posterior = gaussian_log_density(latent, mean, log_var)
        estimates = posterior - self.prior.log_prob(latent)
        closed_form = self.prior.name == "standard_normal"
        rate = gaussian_kl(mean, log_var) if closed_form else estimates.mean(dim=0)
        return logits, estimates, rate
