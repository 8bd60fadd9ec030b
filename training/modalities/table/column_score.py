"""The score of a table's rows, and of each of their cells."""

from torch import Tensor

from training.modalities.table.column_likelihood import ColumnLikelihood
from training.models import VAE
from training.models.score import Score


class ColumnScore(Score):
    """``Score`` with the distortion of each column beside it: which cell is odd."""

    def __init__(self, model: VAE) -> None:
        assert isinstance(model.likelihood, ColumnLikelihood)
        super().__init__(model.encoder, model.decoder, model.likelihood, model.prior)
        self.columns = model.likelihood

    def forward(self, features: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Distortion and rate [B], log_weight [B, k] and column_distortion [B, C], in nats.

        Shapes: features [B, 3C]; noise [B, k, *latent_shape] ~ N(0, I). A column's distortion is the mean of
        -log p(cell|z) over the draws, 0 of a cell that is unknown; they sum to the distortion.
        """
        parameters, estimates, rate = self.drawn(features, noise)
        by_column = self.columns.by_column(features, parameters)
        log_prob = by_column.sum(dim=-1)
        distortion = -by_column.mean(dim=0)
        return -log_prob.mean(dim=0), rate, (log_prob - estimates).transpose(0, 1), distortion
