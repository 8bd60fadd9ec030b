"""What of a configuration does not go together."""

from typing import TYPE_CHECKING

from training.config.data_options import NAMED_DATA

if TYPE_CHECKING:
    from training.config.fit_config import FitConfig


def conflicts(config: "FitConfig") -> list[tuple[bool, str]]:
    """Pairs (is it so, message): fields that do not go together."""
    return [*_data_conflicts(config), *_model_conflicts(config)]


def _data_conflicts(config: "FitConfig") -> list[tuple[bool, str]]:
    idx = config.data in ("mnist", "fashion-mnist")
    named = config.data in NAMED_DATA
    came = f"came --data {config.data}"
    fractions = f"--val-fraction {config.val_fraction} and --test-fraction {config.test_fraction}"
    return [
        (
            config.val_fraction + config.test_fraction >= 1,
            f"{fractions}: want their sum below 1, nothing is left to train on",
        ),
        (config.data_dir is not None and not idx, f"--data-dir: only for mnist and fashion-mnist, {came}"),
        (
            config.in_memory == "no" and (named or config.data.lower().endswith(".npz")),
            f"--in-memory no: only for a folder of images or an .npy file, {came}",
        ),
        (config.image_size is not None and named, f"--image-size: only for a folder of images, {came}"),
        (config.channels != "auto" and named, f"--channels: only for a folder of images, {came}"),
    ]


def _model_conflicts(config: "FitConfig") -> list[tuple[bool, str]]:
    return [
        (
            config.epochs is not None and config.steps is not None,
            f"--steps {config.steps} and --epochs {config.epochs}: want one of the two",
        ),
        (
            config.model == "ae" and config.beta != 1,
            f"--beta {config.beta}: an autoencoder has no rate to weight, want --model vae",
        ),
        (
            config.model == "iwae" and config.beta != 1,
            f"--beta {config.beta}: a bound of the likelihood wants 1 with --model iwae",
        ),
        (
            config.model != "iwae" and (config.importance_samples or 1) > 1,
            f"--importance-samples {config.importance_samples}: only for --model iwae, "
            f"came --model {config.model}",
        ),
        (
            config.model != "iwae" and config.importance_from > 0,
            f"--importance-from {config.importance_from}: only for --model iwae, came --model {config.model}",
        ),
        (
            config.free_bits > 0 and (config.model != "vae" or config.prior != "normal"),
            f"--free-bits {config.free_bits}: only for --model vae with --prior normal, which has a rate "
            f"for each latent; came --model {config.model} --prior {config.prior}",
        ),
        (
            config.prior == "flow" and config.model == "ae",
            "--prior flow: an autoencoder has no prior, want --model vae or iwae",
        ),
        (
            config.prior == "flow" and config.latent == 1,
            f"--prior flow: a coupling wants at least 2 latents, came --latent {config.latent}",
        ),
        (
            config.dropout > 0 and config.network == "mlp",
            f"--dropout {config.dropout}: not for --network mlp, want conv or patches",
        ),
        (
            config.likelihood not in ("auto", "bernoulli") and config.binarisation == "dynamic",
            f"--binarisation dynamic: binary images want --likelihood bernoulli, came {config.likelihood}",
        ),
    ]
