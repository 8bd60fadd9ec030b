"""What vae-client reads and writes: pictures, folders, arrays, grids."""

import dataclasses
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.client import files, results
from serving.wire import images as formats
from training.config import FitConfig
from training.modalities import load
from training.pools.examples import Example, images_of
from training.training_error import TrainingError

RANDOM = np.random.default_rng(0)


def model_of(*shape: int) -> results.Model:
    given = {"image_shape": shape, "value_range": (0.0, 1.0)}
    return results.Model(**dict.fromkeys(field.name for field in dataclasses.fields(results.Model)) | given)


MODEL = model_of(1, 4, 6)


def test_image_files_become_what_the_model_takes(tmp_path):
    """Colour becomes grey, folders are read in order of their paths, other sizes only with --fit; each is named."""
    folder = tmp_path / "images"
    for index in range(3):
        (folder / f"{index}").mkdir(parents=True)
        Image.new("RGB", (6, 4), (index, index, index + 10)).save(folder / f"{index}" / "a.png")
    images, names = files.read_images([folder], MODEL, fit=False)
    np.testing.assert_array_equal(images[:, 0, 0, 0], [1, 2, 3])
    assert images.shape == (3, 1, 4, 6)
    assert names == [str(folder / f"{index}" / "a.png") for index in range(3)]
    Image.new("L", (20, 20)).save(tmp_path / "large.png")
    with pytest.raises(files.FileError, match=r"large.png: want 4x6 pixels .* came 20x20; --fit"):
        files.read_images([tmp_path / "large.png"], MODEL, fit=False)
    assert files.read_images([tmp_path / "large.png"], MODEL, fit=True).images.shape == (1, 1, 4, 6)


def test_a_folder_with_what_is_no_picture(tmp_path, caplog):
    """Junk is passed over, the rest is counted and named; given by name, such a file is an error."""
    Image.new("L", (6, 4)).save(tmp_path / "a.png")
    (tmp_path / "b.csv").write_text("a,b")
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX/._a.png").write_bytes(b"\0")
    (tmp_path / "00.png").mkdir()
    with caplog.at_level(logging.WARNING):
        found = files.read_images([tmp_path], MODEL, fit=False)
    assert found.names == [str(tmp_path / "a.png")]
    assert "skipped 3 of 4 files" in caplog.text
    with pytest.raises(files.FileError, match=r"b\.csv: cannot be read as an image"):
        files.read_images([tmp_path / "a.png", tmp_path / "b.csv"], MODEL, fit=False)
    (tmp_path / "a.png").unlink()
    with pytest.raises(files.FileError, match=r"want images, found none; .*00\.png: a folder"):
        files.read_images([tmp_path], MODEL, fit=False)


def test_names_that_are_not_utf8_can_be_shown(tmp_path):
    """In output that is."""
    Image.new("L", (6, 4)).save(os.fsencode(tmp_path) + b"/gr\xfcn.png")
    (name,) = files.read_images([tmp_path], MODEL, fit=False).names
    assert name.encode().endswith(b"gr\\xfcn.png")


PIXELS = RANDOM.integers(0, 256, (5, 1, 4, 6), dtype=np.uint8)
FORMS = {
    "channels first": PIXELS,
    "channels last": PIXELS.transpose(0, 2, 3, 1),
    "no channels": PIXELS[:, 0],
    "whole numbers": PIXELS.astype(np.int64),
    "fractions": PIXELS / 255,
    "rounding beyond 1": (PIXELS / 255) * (1 + 1e-9),
}


@pytest.mark.parametrize("images", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_of_every_form_that_training_takes(tmp_path, images, suffix):
    """Their pixels are those of training."""
    path = tmp_path / f"x{suffix}"
    np.save(path, images) if suffix == ".npy" else np.savez(path, images=images)
    found = files.read_images([path], MODEL, fit=False)
    assert found.names is None
    scale = 1 if found.images.dtype == np.uint8 else 255
    np.testing.assert_allclose(found.images * scale, PIXELS, rtol=1e-5)
    assert found.images.max() <= (255 if scale == 1 else 1)


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_masks(tmp_path, caplog, dtype):
    """As in training, and said."""
    np.save(tmp_path / "x.npy", (PIXELS > 127).astype(dtype))
    with caplog.at_level(logging.WARNING):
        found = files.read_images([tmp_path / "x.npy"], MODEL, fit=False).images
    np.testing.assert_array_equal(found, (PIXELS > 127) * np.uint8(255))
    assert ("taken for black and white" in caplog.text) == (dtype is np.uint8)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            PIXELS[0, 0],
            r"want \[N, H, W\], \[N, H, W, C\] or \[N, C, H, W\] with .* \[1, 4, 6\], came \[4, 6\]",
        ),
        (np.zeros((5, 3, 4, 6), np.uint8), r"came \[5, 3, 4, 6\]"),
        (
            np.full((5, 4, 6), 300),
            r"want whole numbers in 0\.\.255 or fractions in \[0, 1\], came int64 from 300",
        ),
        (np.full((5, 4, 6), 255.0), "came float64 from 255 to 255"),
        (np.full((5, 4, 6), 1j), "want numbers for images, came complex128"),
        (np.zeros((0, 1, 4, 6)), "want images with pixels in them"),
    ],
)
def test_other_arrays_are_refused_with_what_is_wanted(tmp_path, images, message):
    """Before anything is sent, naming the file."""
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(files.FileError, match=rf"x\.npy: .*{message}"):
        files.read_images([tmp_path / "x.npy"], MODEL, fit=False)


def save_zoo(folder: Path) -> list[str]:
    """Pictures of 4×6 of kinds that readers are known to disagree on."""
    folder.mkdir()
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    rgb = np.stack([grey, 255 - grey, grey // 2], axis=-1)
    exif = Image.Exif()
    exif[0x0112] = 6
    zoo = {
        "a_16bit.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "b_16bit.tif": Image.fromarray(grey.astype(np.uint16) * 257),
        "c_32bit.tif": Image.fromarray(grey.astype(np.int32) * 257),
        "d_float.tif": Image.fromarray(grey / np.float32(255)),
        "e_alpha.png": Image.fromarray(np.dstack([rgb, grey])),
        "f_palette.png": Image.fromarray(grey).convert("P"),
        "g_cmyk.tif": Image.fromarray(rgb).convert("CMYK"),
        "h_turned.png": Image.fromarray(rgb).transpose(Image.Transpose.ROTATE_90),
        "i_noext": Image.fromarray(rgb),
        "j_large.png": Image.fromarray(np.kron(rgb, np.ones((3, 3, 1), np.uint8))),
    }
    for name, image in zoo.items():
        extra = {"exif": exif} if "turned" in name else {}
        image.save(folder / name, **extra, **({} if "." in name else {"format": "PNG"}))
    (folder / "a_16bit.pgm").write_bytes(b"P5 6 4 65535\n" + (grey.astype(">u2") * 257).tobytes())
    return sorted([*zoo, "a_16bit.pgm"])


@pytest.mark.parametrize("in_memory", ["yes", "no"])
@pytest.mark.parametrize("channels", [1, 3])
def test_three_readers_see_the_same_pixels(tmp_path, channels, in_memory):
    """Training, the client and `pools --names`, of every kind of picture, grey or colour."""
    names = save_zoo(tmp_path / "zoo")
    colour = "grey" if channels == 1 else "rgb"
    config = FitConfig(
        data=str(tmp_path / "zoo"),
        image_size="4x6",
        channels=colour,
        in_memory=in_memory,
        cache_dir=tmp_path / "c",
    )
    dataset = load(config)
    rows = [Example(line, str(line), "a") for line in range(len(names))]
    trained = images_of(rows, tmp_path / "labels.csv", dataset, config).numpy()
    named = images_of([Example(0, name, "a") for name in names], tmp_path / "labels.csv", dataset, config)
    sent = files.read_images([tmp_path / "zoo"], model_of(channels, 4, 6), fit=True)
    assert [Path(name).name for name in sent.names] == names
    np.testing.assert_array_equal(sent.images / np.float32(255), trained)
    np.testing.assert_array_equal(named.numpy(), trained)


@pytest.mark.parametrize("kind", ["avif", "dds", "jp2"])
def test_a_damaged_example_is_one_line(tmp_path, kind):
    """`pools --names` says which line and which file."""
    Image.fromarray(RANDOM.integers(0, 256, (8, 8), dtype=np.uint8)).convert("RGB").save(
        tmp_path / f"x.{kind}"
    )
    content = (tmp_path / f"x.{kind}").read_bytes()
    (tmp_path / f"x.{kind}").write_bytes(content[: len(content) // 2])
    with pytest.raises(
        TrainingError, match=rf"labels\.csv: line 2: image .*x\.{kind}: cannot be read as an image: "
    ):
        images_of([Example(2, f"x.{kind}", "a")], tmp_path / "labels.csv", load(FitConfig()), FitConfig())


def test_examples_that_only_look_like_rows(tmp_path):
    """A superscript is a digit and no number; nor is --5, nor what Python reads no number of."""
    for image in ("²", "x" * 300, "--5", "9" * 5000):
        with pytest.raises(TrainingError, match=r"line 1: image .*: want a row or an image file, found none"):
            images_of([Example(1, image, "a")], tmp_path / "labels.csv", load(FitConfig()), FitConfig())


def test_unusable_files_are_named(tmp_path):
    """No image, no array, no file: one line with the path and what was wanted."""
    text = tmp_path / "a.png"
    text.write_text("no image")
    array = tmp_path / "a.npz"
    np.savez(array, one=np.zeros(1), two=np.zeros(1))
    (tmp_path / "full.npz").symlink_to("/dev/full")
    single = tmp_path / "single.npy"
    np.save(single, np.array(1.0))
    for call, message in (
        (lambda: files.read_images([text], MODEL, fit=False), "a.png: cannot be read as an image"),
        (lambda: files.read_images([tmp_path / "no.png"], MODEL, fit=False), "No such file"),
        (lambda: files.read_images([text, array], MODEL, fit=False), "a.npz: want one array file alone"),
        (
            lambda: files.read_array(array, ("latents", "mean")),
            "want an array latents or mean, came one, two",
        ),
        (lambda: files.read_array(text, ("latents",)), "cannot be read as .npy or .npz"),
        (lambda: files.read_array(tmp_path / "none.npy", ("latents",)), "cannot be read"),
        (lambda: files.read_array(single, ("latents",)), "single.npy: want rows, came a single value"),
        (lambda: files.read_images([Path("x" * 300)], MODEL, fit=False), "File name too long"),
        (lambda: files.write_arrays(tmp_path / "no" / "a.npz", {}), "cannot be written"),
        (
            lambda: files.write_arrays(tmp_path / "full.npz", {"a": np.zeros(9999)}),
            "full.npz: cannot be written: No",
        ),
        (lambda: files.write_grid(tmp_path / "a.png", np.zeros((1, 2, 4, 6), np.uint8)), "1 or 3 channels"),
    ):
        with pytest.raises(files.FileError, match=message):
            call()


def test_arrays_and_grids_are_written(tmp_path):
    """What is written can be read: arrays by name, those that are None left out, and a grid as PNG."""
    files.write_arrays(tmp_path / "a.npz", {"images": np.arange(3), "latents": None})
    np.testing.assert_array_equal(files.read_array(tmp_path / "a.npz", ("images",)), np.arange(3))
    files.write_grid(tmp_path / "grid.png", np.zeros((6, 3, 4, 5), np.uint8), columns=3)
    assert formats.png_shape((tmp_path / "grid.png").read_bytes()) == (3, 2 * 6 + 2, 3 * 7 + 2)
