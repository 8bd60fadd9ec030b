"""Command-line flags made from the fields of a config: one place says what an option is."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from training.config import DataOptions, FitConfig, ModelOptions, TrainingOptions, flag
from training.training_error import TrainingError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

GROUPS: tuple[type[BaseModel], ...] = (DataOptions, ModelOptions, TrainingOptions)


class Parser(argparse.ArgumentParser):
    """Refuses in one line, like every other error of the program; no abbreviated flags."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        raise TrainingError(f"{message}; see {self.prog} --help")

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Unlike argparse's own, not silent where it cannot be written."""
        print(self.format_help(), end="", file=file)


def path_flag(name: str, path: Path) -> list[str]:
    """A flag as it can be typed; a value that begins with a minus sign wants an equals sign."""
    return [f"{name}={path}"] if str(path).startswith("-") else [name, str(path)]


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each field of FitConfig; one that is not given is absent from the parsed arguments."""
    _add(parser.add_argument_group("preset"), "preset", FitConfig.model_fields["preset"])
    for options in GROUPS:
        group = parser.add_argument_group(options.__doc__)
        for name, field in options.model_fields.items():
            _add(group, name, field)


def explicit_values(args: argparse.Namespace) -> dict[str, Any]:
    """The fields that the user gave."""
    return {name: getattr(args, name) for name in FitConfig.model_fields if hasattr(args, name)}


def _add(group: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    """Values stay text here; pydantic converts and checks them, so the config has one set of rules."""
    default = "" if field.default is None else f" (default: {field.default})"
    text = f"{field.description}{default}".replace("%", "%%")
    if field.annotation is bool:
        group.add_argument(
            flag(name), action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
        )
        return
    choices = _choices(field.annotation)
    metavar = "{" + ",".join(choices) + "}" if choices else name.rpartition("_")[2].upper()
    group.add_argument(
        flag(name), dest=name, choices=choices or None, default=argparse.SUPPRESS, metavar=metavar, help=text
    )


def _choices(annotation: Any) -> list[str]:
    """Of a Literal, also inside an Optional."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return next((list(get_args(a)) for a in get_args(annotation) if get_origin(a) is Literal), [])
