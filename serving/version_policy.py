"""Which versions of a model should be in service: the grammar of ``--versions``, and what it chooses.

A rule is ``latest`` or ``latest:N``, the N highest that can be served, ``all``, or versions by number, with +
between them. A policy is rules with commas between them, each after ``MODEL=`` or, at most once, for all
others: ``latest:2``, ``1+3``, ``digits=1+3,faces=all,latest:2``. None of these letters means anything to a
shell, to YAML or to a file of variables.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from serving.errors import quoted

DEFAULT = "latest:1"

_LATEST, _ALL = "latest", "all"
_RULES = "latest, latest:N, all, or versions with + between them, as in 1+3"
_LONGEST_NAME = 128
_LARGEST = (1 << 63) - 1
"""Of the wire's int64."""


@dataclass(frozen=True)
class Rule:
    """For one model."""

    most: int | None
    """How many versions, the highest that can be served; None for all of them."""
    named: tuple[int, ...] = ()
    """The only ones, if any are named; highest first."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        kind, colon, count = (part.strip() for part in text.partition(":"))
        if kind == _LATEST:
            return cls(_number(count) if colon else 1)
        if text == _ALL:
            return cls(None)
        return cls(None, tuple(sorted({_number(part.strip()) for part in text.split("+")}, reverse=True)))

    def wanted(self, there: Iterable[int]) -> list[int]:
        """Of the versions that are there those to be tried, highest first, until ``most`` are in service."""
        named = set(self.named)
        return sorted((version for version in there if not named or version in named), reverse=True)

    def __str__(self) -> str:
        if self.named:
            return "+".join(map(str, reversed(self.named)))
        return _ALL if self.most is None else f"{_LATEST}:{self.most}"


@dataclass(frozen=True)
class VersionPolicy:
    """A rule for every model."""

    by_model: dict[str, Rule]
    others: Rule

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, saying what was wanted."""
        by_model: dict[str, Rule] = {}
        others: Rule | None = None
        for clause in text.split(","):
            model, named, rule = (part.strip() for part in clause.rpartition("="))
            parsed = _parsed(clause.strip(), rule)
            if not named:
                if others:
                    raise ValueError(f"want one rule for all other models, versions as in 1+3; {_FORM}")
                others = parsed
            elif not _is_name(model):
                raise ValueError(f"{quoted(clause.strip())}: want a model's name before the =; {_FORM}")
            elif model in by_model:
                raise ValueError(f"want one rule for {quoted(model)}, versions as in 1+3; {_FORM}")
            else:
                by_model[model] = parsed
        return cls(by_model, others or Rule.parse(DEFAULT))

    def of(self, model: str) -> Rule:
        return self.by_model.get(model, self.others)


_FORM = "want RULE or MODEL=RULE, with commas between them"


def _parsed(clause: str, rule: str) -> Rule:
    try:
        return Rule.parse(rule)
    except ValueError:
        raise ValueError(f"{quoted(clause)}: want {_RULES}; {_FORM}") from None


def _number(text: str) -> int:
    """A positive one, in ASCII digits."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_LARGEST)) else 0
    if not 0 < number <= _LARGEST:
        raise ValueError
    return number


def _is_name(text: str) -> bool:
    """As a bundle's manifest has them, but for the first letter."""
    return 0 < len(text) <= _LONGEST_NAME and all(c.isascii() and (c.isalnum() or c in "_.-") for c in text)
