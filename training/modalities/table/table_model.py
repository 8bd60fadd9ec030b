"""The model of a table that a config describes."""

from serving.bundle.tables import Schema
from training.config import FitConfig, as_shape
from training.modalities.table.column_likelihood import ColumnLikelihood
from training.modalities.table.table_networks import Decoder, Encoder
from training.models import VAE
from training.models.from_config import kind_of, prior_of


def build_model(config: FitConfig, schema: Schema) -> VAE:
    """A model with fresh weights, drawn from torch's global generator; ``config`` is resolved."""
    if config.width is None:
        raise ValueError("want a resolved config, its width is still open")
    latent_shape = as_shape(config.latent)
    sizes = (latent_shape[0], config.width, config.depth)
    return VAE(
        Encoder(schema, *sizes, dropout=config.dropout, input_noise=config.input_noise),
        Decoder(schema, *sizes, dropout=config.dropout),
        ColumnLikelihood(schema),
        prior_of(config, latent_shape),
        kind=kind_of(config),
        image_shape=(schema.features,),
        latent_shape=latent_shape,
        importance_samples=config.importance_samples or 1,
    )
