"""What tests compare with, written as plainly as the formulas."""

from torch import Tensor

from training.models import VAE
from training.models.gaussians import gaussian_log_density


def log_weights(model: VAE, image: Tensor, noise: Tensor) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) for k samples of the posterior, in nats.

    Shapes: image [B, C, H, W]; noise [k, B, Z] ~ N(0, I) -> [k, B]. The mean over k of their
    exponentials estimates p(x): Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519), equation 8.
    """
    mean, log_var = (part.float() for part in model.encoder(image))
    latent = mean + (0.5 * log_var).exp() * noise
    posterior = gaussian_log_density(latent, mean, log_var)
    logits = model.decoder(latent.flatten(0, 1)).unflatten(0, latent.shape[:2])
    likelihood = model.likelihood.log_prob(image, logits)
    return likelihood + model.prior.log_prob(latent) - posterior
