"""``vae-train import-onnx``: foreign encoder and decoder graphs become a sealed bundle."""

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands.flags import path_flag
from training.commands.numeric_options import COUNT, HeightByWidth, Interval, Real
from training.training_error import TrainingError

if TYPE_CHECKING:
    from training.data import Dataset
    from training.import_onnx import ForeignModel

GIVEN = (
    "kind",
    "likelihood",
    "value_range",
    "decoder_output",
    "latent_scale",
    "latent_shift",
    "image_size",
    "mean_output",
    "log_var_output",
    "log_var_range",
)
"""Flags that are fields of ``ForeignModel``."""


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    parser = subparsers.add_parser(
        "import-onnx",
        help="seal someone else's ONNX encoder and decoder as a bundle",
        description="Bring two ONNX files into the form of a bundle, prove that they still give what they "
        "gave, and seal them as <repository>/<name>/<version>/. A value that begins with a minus sign "
        "wants an equals sign: --value-range=-1,1.",
        argument_default=argparse.SUPPRESS,
    )
    files = parser.add_argument_group("files")
    files.add_argument("--encoder", type=Path, help="ONNX file: image → mean and log-variance")
    files.add_argument("--decoder", type=Path, help="ONNX file: latent → image")
    files.add_argument(
        "--diffusers",
        type=Path,
        metavar="FOLDER",
        help="instead of both: folder with vae_encoder/ and vae_decoder/ as Hugging Face Optimum exports "
        "them; scaling and shift factors are read from config.json, images are in -1,1",
    )
    files.add_argument("--repository", type=Path, default=Path("models"), help="(default: models)")
    files.add_argument("--name", required=True, help="model name")
    files.add_argument(
        "--version", type=COUNT, default=None, help="(default: one more than the highest that is there)"
    )
    files.add_argument(
        "--data",
        default=None,
        help="images like those of the training, as for fit: a folder (sub-folders are labels), .npz, .npy "
        "or a named data set; gives pools, drift reference and golden rows (left out: no pools)",
    )
    files.add_argument(
        "--channels",
        choices=["auto", "grey", "rgb"],
        default=None,
        help="colour of the images of a --data folder (default: as they are)",
    )
    files.add_argument(
        "--no-projection",
        dest="projection",
        action="store_false",
        default=True,
        help="leave out where the images of --data lie in the latent space (projection.safetensors)",
    )
    _add_facts(parser.add_argument_group("what the files do not say"))
    parser.set_defaults(command=run)


def _add_facts(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--kind", choices=["vae", "ae"], help="ae: an encoder without log-variance (default: vae)"
    )
    group.add_argument("--likelihood", choices=["gaussian", "bernoulli"], help="(default: gaussian)")
    group.add_argument(
        "--value-range",
        type=Interval(),
        metavar="LOW,HIGH",
        help="smallest and largest pixel; decoded ones are clamped to it (default: 0,1)",
    )
    group.add_argument(
        "--decoder-output",
        choices=["image", "logits"],
        help="logits: of Bernoulli pixels; the sigmoid that the decoder lacks is added (default: image)",
    )
    group.add_argument(
        "--latent-scale",
        type=Real(is_factor=True),
        metavar="F",
        help="callers see (z - shift) * scale, as in latent diffusion (default: 1)",
    )
    group.add_argument("--latent-shift", type=Real(), metavar="F", help="(default: 0)")
    group.add_argument(
        "--image-size",
        type=HeightByWidth(),
        metavar="HxW",
        help="for graphs that leave height and width open; scales the images of a --data folder too",
    )
    group.add_argument("--mean-output", metavar="TENSOR", help="where the encoder's outputs do not tell")
    group.add_argument("--log-var-output", metavar="TENSOR", help="likewise")
    group.add_argument(
        "--log-var-range",
        type=Interval(),
        metavar="LOW,HIGH",
        help="clamp log-variances (default: not; with --diffusers: -30,20, as diffusers does)",
    )


def run(args: argparse.Namespace) -> int:
    from training.commands.export import describe_bundle
    from training.export.sealing import free_target
    from training.import_onnx import import_onnx

    foreign = _foreign(args)
    free_target(args.repository, args.name, args.version)  # a bad name is refused before any work is done
    dataset = None if args.data is None else _dataset(args.data, foreign, args.channels)
    bundle = import_onnx(
        foreign,
        repository=args.repository,
        name=args.name,
        version=args.version,
        dataset=dataset,
        projection=args.projection,
    )
    print(describe_bundle(bundle))
    for gate in bundle.manifest.training.gates:
        print(f"proof     {gate.came}; want {gate.wanted}")
    print(f"next:\n  {shlex.join(['vae-serve', *path_flag('--repository', args.repository)])}")
    return 0


def _foreign(args: argparse.Namespace) -> "ForeignModel":
    from training.import_onnx import ForeignModel, from_diffusers

    given = {field: getattr(args, field) for field in GIVEN if hasattr(args, field)}
    files = {flag: getattr(args, flag) for flag in ("encoder", "decoder") if hasattr(args, flag)}
    if hasattr(args, "diffusers"):
        if files:
            raise TrainingError(f"--diffusers: names both files; came --{' and --'.join(files)} as well")
        return from_diffusers(args.diffusers, **given)
    if len(files) < 2:
        missing = " and ".join(f"--{flag}" for flag in ("encoder", "decoder") if flag not in files)
        raise TrainingError(f"{missing}: want both files, or --diffusers FOLDER")
    return ForeignModel(**files, **given)


def _dataset(data: str, foreign: "ForeignModel", channels: str | None) -> "Dataset":
    from training.config import FitConfig
    from training.modalities.image.data import load

    size = foreign.image_size if os.path.isdir(data) else None  # other sources hold images of one size
    options = {"data": data, "image_size": size, "channels": channels}
    given = {field: value for field, value in options.items() if value is not None}
    return load(FitConfig.parse(given))
