"""Requirements of the user on the metrics: ``nll<=88``."""

import math
import operator
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from serving.bundle import Gate
from training.evaluate import Figure
from training.training_error import TrainingError

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_PATTERN = re.compile(r"\s*([A-Za-z][\w.]*)\s*(<=|>=|<|>)\s*([^\s<>=]+)\s*")


@dataclass(frozen=True)
class Requirement:
    """A metric, a comparison and a number."""

    metric: str
    """As in ``metrics.json``; "nll" is the ``nll_<k>`` that there is."""
    comparison: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises TrainingError for what is not METRIC<=NUMBER, with <=, >=, < or >."""
        match = _PATTERN.fullmatch(text)
        try:
            bound = float(match[3]) if match else float("nan")
        except ValueError:
            bound = float("nan")
        if match is None or not math.isfinite(bound):
            raise TrainingError(
                f"--require {reprlib.repr(text)}: want METRIC<=NUMBER (or >=, <, >), such as 'nll<=88'"
            )
        return cls(match[1], match[2], bound)

    def gate(self, metrics: Mapping[str, Figure]) -> Gate:
        """Whether the metrics meet it; a metric that was not measured does not."""
        name = self._measured(metrics)
        figure = metrics.get(name)
        if figure is None:
            came = f"not measured; measured: {', '.join(metrics) or 'nothing'}"
        else:
            error = "" if figure.standard_error is None else f" ± {figure.standard_error:.2g}"
            came = f"{name} {figure.value:.6g}{error}"
        return Gate(
            name=f"require {self.metric}",
            wanted=f"{self.metric}{self.comparison}{self.bound:g}",
            came=came,
            passed=figure is not None and COMPARISONS[self.comparison](figure.value, self.bound),
            forced=False,
        )

    def _measured(self, metrics: Mapping[str, Figure]) -> str:
        """The name of the metric; of several ``nll_<k>``, the one of the largest k, the tightest bound."""
        if self.metric != "nll":
            return self.metric
        samples = [int(name[4:]) for name in metrics if re.fullmatch(r"nll_\d+", name)]
        return f"nll_{max(samples)}" if samples else self.metric
