"""Every option that takes a number says in one line what it wants, whatever comes."""

import argparse
import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from training.__main__ import main, parser
from training.commands.flags import explicit_values
from training.commands.numeric_options import NUMERIC
from training.config import LARGEST_COUNT, LARGEST_NUMBER, FitConfig, flag
from training.export.requirements import Requirement
from training.training_error import TrainingError

REQUIRED = {
    "evaluate": ["--run", "r"],
    "export": ["--run", "r"],
    "pools": ["--run", "r"],
    "import-onnx": ["--name", "n", "--encoder", "e", "--decoder", "d"],
    "fit": [],
    "report": ["--run", "r"],
}
BESIDE = {"image_size": ["--data", "x"], "importance_samples": ["--model", "iwae"]}
"""Options that want another beside them."""
NEVER = (
    "",
    " ",
    "x",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 40,
    "9" * 5000,
    "-1e400",
    "-9",
    "½",
    "1,2,3",
    "0x1f",
)
"""What no such option takes, but for the few that may be negative."""
MAY_BE_NEGATIVE = {"--latent-shift": "-9", "--latent-scale": "-9"}


def commands() -> dict[str, argparse.ArgumentParser]:
    (subparsers,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(subparsers.choices)


def numeric() -> list[tuple[str, str]]:
    """(command, flag) of every option that takes a number."""
    found = [
        (name, action.option_strings[0])
        for name, command in commands().items()
        for action in command._actions
        if isinstance(action.type, NUMERIC)
    ]
    fields = FitConfig.model_fields.items()
    of_fit = [
        ("fit", flag(name)) for name, field in fields if re.search(r"\b(int|float)\b", str(field.annotation))
    ]
    return found + of_fit


def parsed(command: str, option: str, text: str) -> object:
    """The value that the command would work with."""
    name = option.removeprefix("--").replace("-", "_")
    beside = BESIDE.get(name, []) if command == "fit" else []
    args = parser().parse_args([command, *REQUIRED[command], *beside, f"{option}={text}"])
    return getattr(FitConfig.parse(explicit_values(args)) if command == "fit" else args, name)


def within(value: object) -> bool:
    if isinstance(value, tuple):
        return all(within(part) for part in value)
    if isinstance(value, int):
        return 0 <= value <= LARGEST_COUNT
    return math.isfinite(value) and abs(value) <= LARGEST_NUMBER


def check(command: str, option: str, text: str) -> bool:
    """Whether it is taken, being in range; else that it is refused as it should be."""
    try:
        value = parsed(command, option, text)
    except TrainingError as exc:
        line = str(exc)
        assert re.search(rf"{option}\b", line)
        assert re.search("want|should|valid", line)
        assert "came" in line
        assert "\n" not in line.strip()
        assert len(line) < 300
        return False
    assert within(value)
    return True


def test_no_number_goes_unchecked():
    """Each option with a type has one of ours or is a path, and the list holds those that users need most."""
    types = {
        (name, action.dest): action.type
        for name, command in commands().items()
        for action in command._actions
    }
    assert not [where for where, kind in types.items() if kind in (int, float)]
    options = {option for _, option in numeric()}
    assert {"--seed", "--k", "--images", "--threads", "--count", "--version", "--beta", "--steps"} <= options
    assert len(numeric()) > 40


@pytest.mark.parametrize(("command", "option"), numeric(), ids=lambda value: value)
def test_nonsense_is_refused_in_one_line(command, option):
    """Not a number, infinite, negative, beyond 2⁶³, empty: the flag, what was wanted and what came."""
    taken = [text for text in NEVER if check(command, option, text)]
    assert taken == ([MAY_BE_NEGATIVE[option]] if option in MAY_BE_NEGATIVE else [])


TEXTS = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.tuples(st.floats(), st.floats()).map(lambda pair: f"{pair[0]},{pair[1]}"),
    st.tuples(st.integers(), st.integers()).map(lambda pair: f"{pair[0]}x{pair[1]}"),
)


@given(st.sampled_from(numeric()), TEXTS)
@example(("import-onnx", "--value-range"), "0,1e-50")
@example(("import-onnx", "--value-range"), "1,1.00000001")
@example(("import-onnx", "--latent-scale"), "1e-400")
@example(("import-onnx", "--latent-scale"), "1e39")
@example(("import-onnx", "--image-size"), "0x8")
@example(("evaluate", "--threads"), "100000")
@example(("fit", "--image-size"), "99999x99999")
@example(("fit", "--seed"), str(2**63))
def test_whatever_comes_is_in_range_or_refused(option, text):
    """For any text the value is finite and in range, or one line says what was wanted."""
    check(*option, text)


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--run", "r", "--seed", "-1"],
        ["evaluate", "--run", "r", "--k", str(2**63)],
        ["pools", "--run", "r", "--seed", "-1"],
        ["pools", "--run", "r", "--count", "nan"],
        ["export", "--run", "r", "--version", "0"],
        ["fit", "--seed", "-1"],
        ["fit", "--beta", "nan"],
    ],
    ids=" ".join,
)
def test_commands_refuse_with_exit_code_2(capsys, arguments):
    """As users see it: one line on stderr, which names the flag."""
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("vae-train: error: ")
    assert err.count("\n") == 1
    assert arguments[-2] in err


@pytest.mark.parametrize(
    "text", ["nll<=nan", "nll<=inf", "nll>=-inf", "nll<=", "<=88", "", "nll<=1e999", "nll==8"]
)
def test_a_bound_that_bounds_nothing_is_refused(text):
    """A gate wants a finite number."""
    with pytest.raises(TrainingError, match=r"--require .*: want METRIC<=NUMBER"):
        Requirement.parse(text)


EXTREMES = {
    "--beta": "1e30",
    "--free-bits": "1e30",
    "--learning-rate": "1e30",
    "--weight-decay": "1e30",
    "--clip": "1e-320",
    "--warmup": "1e-320",
    "--batch-size": str(LARGEST_COUNT),
    "--beta-cycles": "1000",
    "--log-every": str(LARGEST_COUNT),
    "--checkpoint-every": str(LARGEST_COUNT),
    "--seed": str(LARGEST_COUNT),
    "--split-seed": str(LARGEST_COUNT),
    "--ema": "0.9999999999999999",
    "--val-fraction": "1e-320",
    "--threads": "1",
}


@pytest.mark.parametrize("option", EXTREMES)
def test_the_ends_of_a_range_make_no_traceback(tmp_path, capsys, option):
    """The largest and smallest values train, or end in one line."""
    tiny = ["--network", "mlp", "--width", "4", "--latent", "2", "--batch-size", "8", "--no-tensorboard"]
    run = ["fit", "--run", str(tmp_path / "run"), *tiny, "--steps", "2", option, EXTREMES[option]]
    code = main(run)
    err = capsys.readouterr().err
    assert code == 0 or (code == 2 and err.count("vae-train: error: ") == 1), err
