"""Folders, files and labels as users have them: read rightly, or refused before training, in one line."""

import logging
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support import patience
from training.__main__ import main
from training.config import FitConfig
from training.data import Dataset
from training.evaluate.out_of_distribution import read_foreign
from training.modalities import load
from training.pools.examples import read_examples
from training.runs import Run
from training.training_error import TrainingError

RANDOM = np.random.default_rng(0)


def pictures(folder: Path, count: int = 12, *, name: str = "{:02}.png", seed: int = 0, **how: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(
            folder / name.format(number), **how
        )
    return folder


def data(path: Path | str, **options: object) -> Dataset:
    return load(FitConfig(data=str(path), **options))


def all_images(found: Dataset) -> torch.Tensor:
    return torch.cat([found.train.images, found.val.images, found.test.images])


def test_a_linked_class_is_a_class(tmp_path):
    """A folder made of links is the folder."""
    for kind in ("cat", "dog"):
        pictures(tmp_path / "real" / kind, seed=len(kind))
    (tmp_path / "links").mkdir()
    for kind in ("cat", "dog"):
        (tmp_path / "links" / kind).symlink_to(tmp_path / "real" / kind)
    assert data(tmp_path / "links").sha256 == data(tmp_path / "real").sha256
    assert data(tmp_path / "links").label_names == ("cat", "dog")


@pytest.mark.parametrize(
    "parts", [("train", "val", "test"), ("Train", "valid"), ("training", "validation"), ("test",)]
)
@pytest.mark.parametrize("inner", ["", "cat"], ids=["flat", "labelled"])
def test_the_parts_of_a_data_set_are_no_labels(tmp_path, parts, inner):
    """The line names what to train on, before anything is decoded."""
    for part in parts:
        pictures(tmp_path / part / inner, 4)
    with pytest.raises(TrainingError, match=rf"want a class per sub-folder, .*want --data .*/{parts[0]}$"):
        data(tmp_path)


def test_a_class_may_be_called_like_a_part(tmp_path):
    """Trains and buses are kinds of vehicles."""
    for kind in ("train", "bus"):
        pictures(tmp_path / kind)
    assert data(tmp_path).label_names == ("bus", "train")


def test_any_ending_is_read_and_the_rest_is_told(tmp_path, caplog):
    """What Pillow reads is data; what it does not read is counted and named."""
    pictures(tmp_path, 6, name="{}.jfif", format="JPEG")
    pictures(tmp_path, 6, name="img{}", format="PNG")
    (tmp_path / "labels.csv").write_text("0,a\n")
    (tmp_path / "x.jxl").write_bytes(b"\xff\x0a")
    with caplog.at_level(logging.WARNING):
        assert len(all_images(data(tmp_path))) == 12
    assert "skipped 2 of 14 files" in caplog.text
    assert "labels.csv (no format that is known); x.jxl (no format that is known)" in caplog.text
    with pytest.raises(TrainingError, match=r"--strict: .*x\.jxl: cannot be read"):
        data(tmp_path, strict=True)
    (tmp_path / "x.jxl").unlink()
    assert len(all_images(data(tmp_path, strict=True))) == 12


@pytest.mark.parametrize("in_memory", ["yes", "no"])
@pytest.mark.parametrize("kind", ["AVIF", "DDS", "JPEG2000"])
def test_damaged_files_are_skipped_in_every_format(tmp_path, caplog, kind, in_memory):
    """Cut short at any place: counted and named, never a traceback."""
    folder = pictures(tmp_path / "data")
    Image.fromarray(
        np.kron(RANDOM.integers(0, 256, (6, 9, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8))
    ).save(tmp_path / "whole", kind)
    content = (tmp_path / "whole").read_bytes()
    for number, size in enumerate((10, 40, 100, 150, len(content) // 2)):
        (folder / f"cut{number}.{kind.lower()}").write_bytes(content[:size])
    with caplog.at_level(logging.WARNING):
        found = data(folder, in_memory=in_memory, image_size="6x9", cache_dir=tmp_path / "cache")
    assert len(all_images(found)) == 12
    assert "skipped 5 of 17 files" in caplog.text


def test_names_that_are_not_utf8(tmp_path, monkeypatch):
    """Files may have them; labels, and paths that are written down, may not."""
    folder = pictures(tmp_path / "data")
    os.rename(folder / "00.png", os.fsencode(folder) + b"/gr\xfcn.png")
    assert len(all_images(data(folder))) == 12
    assert len(all_images(data(folder, in_memory="no", cache_dir=tmp_path / "cache"))) == 12
    latin = tmp_path / os.fsdecode(b"gr\xfcn")
    pictures(latin / "a"), pictures(latin / "b")
    config = {"data": "digits", "cache_dir": latin}
    for values in ({"data": str(latin)}, config):
        with pytest.raises(TrainingError, match=r"UTF-8|unicode"):
            FitConfig.parse(values)
    monkeypatch.chdir(latin)
    with pytest.raises(TrainingError, match="want a path in UTF-8"):
        FitConfig.parse({"data": "a"})
    for kind in ("a", os.fsdecode(b"gr\xfcn")):
        pictures(tmp_path / "kinds" / kind)
    with pytest.raises(TrainingError, match=r"label 'gr\\udcfcn': want names of .*its bytes are not UTF-8"):
        data(tmp_path / "kinds")


BAD_LABELS = [
    ("x" * 129, "it has 129 characters"),
    ("aggregate", "that is the pool of all the data"),
    ("a\nb", "it has a control character"),
    ("a\u2028b", "it has a control character"),
    (" ", "this one is empty"),
]


@pytest.mark.parametrize(("label", "message"), BAD_LABELS)
def test_labels_that_no_pool_can_have(tmp_path, label, message):
    """Found in folders, arrays and lists of examples alike, before anything is trained or searched."""
    for kind in ("a", label):
        pictures(tmp_path / "folder" / kind, 4)
    images = RANDOM.integers(0, 256, (20, 5, 5), dtype=np.uint8)
    for name, labels in (("text", ["a", label] * 10), ("bytes", [b"a", label.encode()] * 10)):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.array(labels))
    for path in ("folder", "text.npz", "bytes.npz"):
        with pytest.raises(TrainingError, match=rf"want names of 1 to 128 characters.*{message}$"):
            data(tmp_path / path)
    if label.strip() and "\n" not in label:
        (tmp_path / "labels.csv").write_text(f"0,a\n1,{label}\n")
        with pytest.raises(TrainingError, match=rf"labels.csv: line 2: .*{message}$"):
            read_examples(tmp_path / "labels.csv")


def test_examples_named_like_found_pools_are_refused_at_once(tmp_path):
    """Before the search that takes minutes."""
    (tmp_path / "labels.csv").write_text("0,a\n1,pool-3\n")
    with pytest.raises(TrainingError, match="'pool-3': is the name of another pool"):
        read_examples(tmp_path / "labels.csv")


def test_bytes_labels(tmp_path):
    """UTF-8 is a name, Latin-1 is refused by name, an empty one too."""
    images = RANDOM.integers(0, 256, (20, 5, 5), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.array(["grün".encode(), b"rot"] * 10))
    assert data(tmp_path / "x.npz").label_names == ("grün", "rot")
    np.savez(tmp_path / "x.npz", images=images, labels=np.array([b"gr\xfcn", b"rot"] * 10))
    with pytest.raises(TrainingError, match="its bytes are not UTF-8"):
        data(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", images=images, labels=np.array(["", "rot"] * 10))
    with pytest.raises(TrainingError, match="this one is empty"):
        data(tmp_path / "x.npz")


def test_labels_in_a_column(tmp_path):
    """[N, 1] is what many tables and MedMNIST have."""
    images = RANDOM.integers(0, 256, (20, 5, 5), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(20)[:, None] % 2)
    assert data(tmp_path / "x.npz").label_names == ("0", "1")


def test_the_two_unicode_forms_of_a_name_are_one_label(tmp_path, caplog):
    """A folder from macOS beside one from elsewhere: the same word, the same kind, and that is said."""
    for kind in ("A\u0308rger", "\u00c4rger", "b"):
        pictures(tmp_path / kind, 6)
    with caplog.at_level(logging.WARNING):
        found = data(tmp_path)
    assert found.label_names == ("b", "\u00c4rger")
    assert "labels that differ in their Unicode form alone are taken for one" in caplog.text
    assert torch.cat([found.train.labels, found.val.labels, found.test.labels]).bincount().tolist() == [6, 12]


@pytest.mark.parametrize("form", ["npy", "npz", "folder", "mapped"])
def test_masks_of_zeros_and_ones(tmp_path, caplog, form):
    """They are black and white, wherever they come from, and that is said."""
    mask = RANDOM.integers(0, 2, (20, 5, 5), dtype=np.uint8)
    path, options = tmp_path / f"x.{form}", {}
    if form in ("npy", "mapped"):
        path = tmp_path / "x.npy"
        np.save(path, mask)
        options = {"in_memory": "no" if form == "mapped" else "yes", "cache_dir": tmp_path / "cache"}
    elif form == "npz":
        np.savez(path, images=mask)
    else:
        path.mkdir()
        for number, pixels in enumerate(mask):
            Image.fromarray(pixels).save(path / f"{number:02}.png")
    with caplog.at_level(logging.WARNING):
        images = all_images(data(path, **options))
    assert images.unique().tolist() == [0, 255]
    assert images.sum() == 255 * int(mask.sum())
    assert "the pixels are 0 and 1 alone, taken for black and white" in caplog.text


def test_pixels_a_rounding_beyond_one(tmp_path):
    """Are what they would be without it."""
    images = RANDOM.random((20, 5, 5))
    images[0, 0, 0], images[1, 0, 0] = 1 + 1e-9, -1e-9
    np.save(tmp_path / "x.npy", images)
    found = all_images(data(tmp_path / "x.npy"))
    mapped = all_images(data(tmp_path / "x.npy", in_memory="no", cache_dir=tmp_path / "cache"))
    assert (found.min(), found.max()) == (0, 1)
    assert torch.equal(found, mapped)


def test_an_upper_case_ending_is_the_ending(tmp_path):
    """Of array files as of pictures; what does not fit it is refused for it too."""
    np.savez(tmp_path / "x.npz", images=RANDOM.integers(0, 256, (20, 5, 5), dtype=np.uint8))
    (tmp_path / "x.npz").rename(tmp_path / "X.NPZ")
    assert len(all_images(data(tmp_path / "X.NPZ"))) == 20
    with pytest.raises(TrainingError, match=r"--in-memory no: only for a folder of images or an \.npy file"):
        FitConfig.parse({"data": str(tmp_path / "X.NPZ"), "in_memory": "no"})


def test_arrays_that_are_not_read_are_named(tmp_path, caplog):
    """A misspelt name of the labels is no reason to train without them in silence."""
    images = RANDOM.integers(0, 256, (20, 5, 5), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, label=np.arange(20))
    with caplog.at_level(logging.WARNING):
        data(tmp_path / "x.npz")
    assert "only images and labels are read, not label" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.zip", r"x\.zip: want .*, and this one unpacked; came a file \.zip$"),
        ("x.tar.gz", "and this one unpacked; came a file .gz$"),
        ("x.png", r"want digits, .* an \.npz or \.npy file; came a file \.png$"),
        ("pipe", "want digits, .*; came no regular file$"),
        ("x" * 300, "not found$"),
    ],
)
def test_files_that_are_there_are_not_called_missing(tmp_path, name, message):
    """An archive wants unpacking; a single picture is no data set; nor is a pipe."""
    if name == "pipe":
        os.mkfifo(tmp_path / name)
    elif len(name) < 200:
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(TrainingError, match=message):
        data(tmp_path / name)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_own_folder_called_digits_does_not_lose_in_silence(tmp_path, monkeypatch, caplog, kind):
    """The built-in data set is taken, and the line says how to take the other."""
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        builtin = data("digits")
        assert not caplog.text
        if kind == "folder":
            pictures(tmp_path / "digits")
        else:
            (tmp_path / "digits").write_text("")
        assert data("digits").sha256 == builtin.sha256
    assert (
        f"the data set of this name, not the {kind} in this folder; that one is --data ./digits"
        in caplog.text
    )
    if kind == "folder":
        assert data("./digits").image_shape == (3, 6, 9)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my photos", "my-photos"),
        ("фото", "model"),
        ("Ärger & Co.", "Arger-Co."),
        ("-x", "x"),
        ("..hidden", "hidden"),
        ("plain_1.2-3", "plain_1.2-3"),
        ("x" * 200, "x" * 128),
        ("фото 2", "2"),
    ],
)
def test_a_run_has_a_name_that_export_accepts(tmp_path, folder, name):
    """Made of the folder's name, or "model"."""
    from training.export.sealing import free_target

    assert Run(tmp_path / folder).model_name == name
    free_target(tmp_path / "models", name, None)


def test_foreign_images_need_no_labels(tmp_path, monkeypatch):
    """`evaluate --ood` reads a folder whatever its sub-folders are called, and with damaged files in it."""
    for part in ("train", "aggregate"):
        pictures(tmp_path / "photos" / part, 6)
    Image.new("RGB", (9, 6)).save(tmp_path / "photos/x.avif")
    (tmp_path / "photos/y.avif").write_bytes((tmp_path / "photos/x.avif").read_bytes()[:100])

    class Subject:
        dataset = data("digits")

        def subset(self, split, count):
            return split

    assert read_foreign(tmp_path / "photos", Subject()).shape == (13, 1, 8, 8)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").rename("digits")
    assert len(read_foreign(Path("digits"), Subject())) == 13, "the built-in data set was taken"


def test_help_and_results_that_cannot_be_written(tmp_path):
    """A full disk behind standard output is one line and an exit code, buffered or not."""
    import subprocess
    import sys

    for unbuffered in ("", "1"):
        for arguments in (["--help"], ["fit", "--help"]):
            with open("/dev/full", "w") as full:
                done = subprocess.run(
                    [sys.executable, "-m", "training", *arguments],
                    stdout=full,
                    stderr=subprocess.PIPE,
                    env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
                    text=True,
                    timeout=patience.SECONDS,
                    check=False,
                )
            assert (done.returncode, done.stderr) == (
                1,
                "vae-train: error: standard output: No space left on device\n",
            )


TINY = [
    "--network",
    "mlp",
    "--width",
    "4",
    "--latent",
    "2",
    "--batch-size",
    "4",
    "--threads",
    "1",
    "--steps",
    "2",
]


@pytest.mark.parametrize("name", ["my photos", "фото", "-dash"])
def test_the_command_that_fit_prints_works(tmp_path, monkeypatch, capsys, name):
    """Whatever the run folder is called."""
    import shlex

    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "data", 24)
    assert main(["fit", "--data", "data", f"--run={name}", "--no-tensorboard", *TINY]) == 0
    out = capsys.readouterr().out
    command = shlex.split(out[out.index("next:") :].splitlines()[1])
    assert command[:2] == ["vae-train", "export"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main([*command[1:], "--force", "--pools", "aggregate"]) == 0
    assert [path.name for path in Path("models").iterdir()] == [Run(Path(name)).model_name]
