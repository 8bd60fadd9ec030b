"""Options: what is refused, what presets fill in, and the flags made from the fields."""

import argparse
from pathlib import Path

import pytest

from training.commands.flags import Parser, add_config_flags, explicit_values
from training.config import FitConfig
from training.modalities import load, resolve
from training.modalities.image.presets import PRESETS
from training.training_error import TrainingError

REFUSED = [
    ({"beta": "many"}, r"--beta: .*number.*; came 'many'"),
    ({"latent": 0}, r"--latent: .*; came 0"),
    ({"learning_rate": float("nan")}, r"--learning-rate: .*; came nan"),
    ({"network": "transformer"}, r"--network: .*'mlp', 'conv' or 'patches'.*; came 'transformer'"),
    ({"typo": 1}, r"--typo: .*not permitted"),
    ({"steps": 5, "epochs": 5}, r"--steps 5 and --epochs 5: want one of the two"),
    ({"importance_from": 0.5}, r"--importance-from 0.5: only for --model iwae, came --model vae"),
    ({"model": "iwae", "importance_from": 1}, r"--importance-from: .*less than 1; came 1"),
    ({"model": "ae", "beta": 2}, r"--beta 2.0: .*want --model vae"),
    (
        {"likelihood": "gaussian", "binarisation": "dynamic"},
        r"--binarisation dynamic: .*--likelihood bernoulli",
    ),
    (
        {"likelihood": "discretised_logistic", "binarisation": "dynamic"},
        r"--binarisation dynamic: .*--likelihood bernoulli, came discretised_logistic",
    ),
    ({"likelihood": "logistic"}, r"--likelihood: .*'discretised_logistic'.*; came 'logistic'"),
    ({"val_fraction": 0.5, "test_fraction": 0.5}, r"--val-fraction 0.5 and --test-fraction 0.5: .*below 1"),
    ({"data_dir": "x"}, r"--data-dir: only for mnist.*came --data digits"),
    ({"image_size": "8x8"}, r"--image-size: only for a folder.*came --data digits"),
    (
        {"image_size": "eight", "data": "x"},
        r"--image-size: want HxW, like 32x48, or one number; came 'eight'",
    ),
    ({"image_size": "2x8", "data": "x"}, r"--image-size: want at least 4x4 .*; came 2x8"),
    ({"without": "3,,4"}, r"--without: want labels with commas between them, came '3,,4'"),
    ({"channels": "rgb"}, r"--channels: only for a folder"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=[str(values) for values, _ in REFUSED])
def test_nonsense_is_refused_in_one_line_that_names_the_flag(values, message):
    """The message names the flag, what was wanted and what came."""
    with pytest.raises(TrainingError, match=f"^{message}") as caught:
        FitConfig.parse(values)
    assert "\n" not in str(caught.value)


def test_image_size_is_height_by_width():
    """32x48 is 32 high and 48 wide; one number is a square."""
    assert FitConfig(data="x", image_size="32x48").image_size == (32, 48)
    assert FitConfig(data="x", image_size="32").image_size == (32, 32)


def test_a_path_is_kept_absolute(tmp_path, monkeypatch):
    """So a run can be evaluated from any folder."""
    monkeypatch.chdir(tmp_path)
    assert FitConfig(data="some/images").data == str(tmp_path / "some/images")
    assert FitConfig(data="mnist", data_dir="idx").data_dir == tmp_path / "idx"
    assert FitConfig(data="some/..").data == str(tmp_path), "its last part is the name of the run"
    assert FitConfig(data="~nobody-of-this-name/x").data == str(tmp_path / "~nobody-of-this-name/x")
    with pytest.raises(TrainingError, match=r"^--data: want digits, mnist, .* or a path; came ''"):
        FitConfig.parse({"data": ""})


@pytest.fixture(scope="module")
def digits():
    return load(FitConfig())


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_set_explicitly_beats_the_preset(preset, digits):
    """A preset's value counts unless the user set it, be it to the field's default; epochs replace its steps."""
    plain = resolve(FitConfig(preset=preset), digits)
    settled = {name: value for name, value in PRESETS[preset].values.items() if value != "auto"}
    assert {name: getattr(plain, name) for name in settled} == settled
    chosen = resolve(FitConfig(preset=preset, latent=32, epochs=3), digits)
    assert chosen.latent == 32
    assert (chosen.steps, chosen.epochs) == (3 * (len(digits.train) // chosen.batch_size), None)


@pytest.mark.parametrize(
    "values", [{"model": "ae"}, {"latent": 1}, {"free_bits": 0.1}], ids=lambda values: next(iter(values))
)
def test_a_preset_gives_way_where_its_flow_does_not_fit(values, digits):
    """The preset's prior never makes an error of options that are fine alone; asked for, it does."""
    assert resolve(FitConfig(preset="standard"), digits).prior == "flow"
    assert resolve(FitConfig(preset="standard", **values), digits).prior == "normal"
    with pytest.raises(TrainingError, match=r"--prior flow|--free-bits"):
        resolve(FitConfig.parse({"preset": "standard", "prior": "flow", **values}), digits)


@pytest.mark.parametrize(
    ("values", "model"),
    [({"model": "vae"}, "vae"), ({"model": "ae"}, "ae"), ({"beta": 4.0}, "vae"), ({"free_bits": 0.1}, "vae")],
    ids=str,
)
def test_a_preset_gives_way_where_its_bound_does_not_fit(values, model, digits):
    """An IWAE is what it is by default alone; the samples of its last steps go with it."""
    assert resolve(FitConfig(preset="standard"), digits).model == "iwae"
    assert resolve(FitConfig(preset="standard"), digits).importance_from > 0
    chosen = resolve(FitConfig(preset="standard", **values), digits)
    assert (chosen.model, chosen.importance_from) == (model, 0)
    assert resolve(chosen, digits) == chosen


@pytest.mark.parametrize("values", [{"network": "mlp"}, {"accumulate": 2}])
def test_a_preset_gives_way_where_its_dropout_does_not_fit(values, digits, monkeypatch):
    """It is for convolutions and for a batch in one part; asked for with an MLP, it is an error."""
    monkeypatch.setitem(PRESETS["gpu"].values, "dropout", 0.1)
    assert resolve(FitConfig(preset="gpu"), digits).dropout == 0.1
    assert resolve(FitConfig(preset="gpu", **values), digits).dropout == 0
    with pytest.raises(TrainingError, match=r"--dropout 0.1: not for --network mlp"):
        FitConfig.parse({"network": "mlp", "dropout": 0.1})


def test_resolving_settles_everything_once(digits):
    """Nothing is left open, resolving again changes nothing, and a saved config reads back the same."""
    config = resolve(FitConfig(batch_size=5000), digits)
    assert (config.preset, config.likelihood, config.binarisation, config.width) == (
        "demo",
        "gaussian",
        "none",
        32,
    )
    assert config.batch_size == len(digits.train)
    assert resolve(config, digits) == config
    assert resolve(FitConfig.model_validate_json(config.model_dump_json()), digits) == config


def parse(*arguments: str) -> FitConfig:
    parser = Parser(prog="vae-train fit")
    add_config_flags(parser)
    return FitConfig.parse(explicit_values(parser.parse_args(arguments)))


def test_flags_are_made_from_the_fields():
    """Every field has its flag in kebab case; only those given are set; booleans have a --no form."""
    config = parse("--learning-rate", "0.01", "--data", "mnist", "--data-dir", "/x", "--no-tensorboard")
    assert config.model_fields_set == {"learning_rate", "data", "data_dir", "tensorboard"}
    assert (config.learning_rate, config.data_dir, config.tensorboard) == (0.01, Path("/x"), False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning-rat", "1"], "unrecognized arguments: --learning-rat 1"),
        (["--beta"], "argument --beta: expected one argument"),
        (["--network", "x"], "argument --network: invalid choice: 'x'"),
    ],
    ids=["abbreviated", "no value", "choice"],
)
def test_unknown_flags_are_errors(arguments, message):
    """A typo is refused, not ignored; so is an abbreviation, whose meaning a new option could change."""
    with pytest.raises(TrainingError, match=f"^{message}"):
        parse(*arguments)


def test_every_field_is_explained():
    """The help text has each flag with its description."""
    parser = argparse.ArgumentParser()
    add_config_flags(parser)
    flags = {action.dest: action.help for action in parser._actions}
    assert set(FitConfig.model_fields) <= set(flags)
    assert all(flags[name] for name in FitConfig.model_fields)


def test_dropout_of_a_preset_is_for_one_process(digits):
    """It draws for the whole batch; several processes do without, unless it is asked for, which is refused elsewhere."""
    assert resolve(FitConfig(preset="demo"), digits).dropout > 0
    assert resolve(FitConfig(preset="demo"), digits, processes=2).dropout == 0
    assert resolve(FitConfig(preset="demo", dropout=0.3), digits, processes=2).dropout == 0.3
