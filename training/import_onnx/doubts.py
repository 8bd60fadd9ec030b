"""What foreign graphs give that hardly fits what the user says of them.

A warning and no refusal, for a graph does not tell for sure.
"""

import logging
import re

from training.import_onnx.equivalence import Rows
from training.import_onnx.foreign_model import ForeignModel
from training.import_onnx.graph_wrapping import EncoderOutputs

DOUBTFUL_SHARE = 0.05
"""Of values beyond a range, from which on the range itself is doubtful."""
DEVIATION_NAMES = re.compile(r"(?<![a-z])(log|ln)?_?(sigma|std|stddev|scale)(?![a-z])", re.IGNORECASE)

log = logging.getLogger(__name__)


def doubt_decoder(decoded: Rows, foreign: ForeignModel) -> str:
    """Warn of pixels [N, C, H, W], as the file gives them, that are no pixels of the value range.

    Returns:
        How many are clamped, for the record of the proof; empty where none is.
    """
    low, high = foreign.value_range
    least, most = float(decoded.min()), float(decoded.max())
    reach = f"they reach from {least:.3g} to {most:.3g}"
    if foreign.decoder_output == "logits":
        if least >= 0 and most <= 1:
            log.warning("decoder: no logit lies beyond 0 to 1 (%s), as pixels do; are they the image?", reach)
        return ""
    if low < 0 and least >= 0:
        log.warning("decoder: no pixel lies below 0 (%s); is --value-range=%g,%g right?", reach, low, high)
    slack = (high - low) / 255  # one step of an 8-bit pixel
    share = _share_beyond(decoded, low - slack, high + slack)
    if share > DOUBTFUL_SHARE:
        logits = (low, high) == (0, 1) and least < low and most > high
        log.warning(
            "decoder: %.0f%% of the pixels lie beyond --value-range=%g,%g (%s) and are clamped to it; is it "
            "the right one%s?",
            100 * share, low, high, reach, ", or are they logits: --decoder-output logits" if logits else "",
        )  # fmt: skip
    return f"; {share:.0%} of its pixels clamped to {low:g},{high:g}" if share else ""


def doubt_encoder(log_var: Rows, outputs: EncoderOutputs, foreign: ForeignModel) -> None:
    """Warn of log-variances [N, *latent], as the file gives them, that are hardly any."""
    least, most = float(log_var.min()), float(log_var.max())
    reach = f"they reach from {least:.3g} to {most:.3g}"
    name = outputs.log_var or ""
    if not outputs.concatenated and DEVIATION_NAMES.search(name):
        log.warning("encoder: %s is taken for the log-variance; by its name it is a standard deviation", name)
    if least > 0:
        log.warning(
            "encoder: every log-variance is above 0 (%s), a posterior wider than N(0, I); is it the variance "
            "or standard deviation itself? want the logarithm of the variance",
            reach,
        )
    if foreign.log_var_range is not None:
        share = _share_beyond(log_var, *foreign.log_var_range)
        if share > DOUBTFUL_SHARE:
            limits = "{:g},{:g}".format(*foreign.log_var_range)
            log.warning(
                "encoder: %.0f%% of the log-variances lie beyond %s (%s) and are clamped to it",
                100 * share, limits, reach,
            )  # fmt: skip


def _share_beyond(values: Rows, low: float, high: float) -> float:
    return float(((values < low) | (values > high)).mean())
