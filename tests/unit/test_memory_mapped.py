"""Images that lie on disk: the same data set as in memory, made once."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.__main__ import main
from training.config import FitConfig
from training.data import Dataset
from training.data.dataset import CHUNK
from training.modalities import load
from training.modalities.image.data import memory_mapped
from training.runs import load_run
from training.training_error import TrainingError

RANDOM = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def loaded(tmp_path: Path, data: Path, in_memory: str, **options: object) -> Dataset:
    return load(FitConfig(data=str(data), cache_dir=tmp_path / "cache", in_memory=in_memory, **options))


def assert_same(one: Dataset, other: Dataset) -> None:
    """Every image and label in its place, and the same checksum."""
    assert (one.name, one.sha256, one.label_names) == (other.name, other.sha256, other.label_names)
    for name in ("train", "val", "test"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.images.dtype == theirs.images.dtype
        assert torch.equal(mine.images, theirs.images)
        assert (mine.labels is None) == (theirs.labels is None)
        assert mine.labels is None or torch.equal(mine.labels, theirs.labels)


@pytest.mark.parametrize(
    "images",
    [
        pixels(CHUNK + 100, 4, 5),
        pixels(30, 6, 4, 3),
        RANDOM.random((30, 5, 7)),
        RANDOM.random((30, 5, 7)) > 0.5,
    ],
    ids=["more than a chunk", "channels last", "fractions", "booleans"],
)
def test_an_array_on_disk_is_the_one_in_memory(tmp_path, images):
    """Splits, values, types and checksum are equal bit for bit, whatever the layout of the file."""
    np.save(tmp_path / "x.npy", images)
    in_memory, on_disk = (loaded(tmp_path, tmp_path / "x.npy", choice) for choice in ("yes", "no"))
    assert on_disk.mapped
    assert not in_memory.mapped
    assert_same(on_disk, in_memory)
    assert torch.equal(on_disk.binarised("test").images, in_memory.binarised("test").images)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes, grey beside colour, with one file that is no image and one cut short."""
    for number in range(40):
        path = tmp_path / f"images/{'ab'[number % 2]}/{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(8, 12, 3) if number % 3 else pixels(8, 12)).save(path)
    (tmp_path / "images/a/00.png").write_bytes(b"not a picture")
    cut = tmp_path / "images/b/07.png"
    cut.write_bytes(cut.read_bytes()[:-100])
    return tmp_path / "images"


@pytest.mark.parametrize(
    "options", [{}, {"channels": "grey"}, {"image_size": "6x5"}], ids=["as it is", "grey", "scaled"]
)
def test_a_folder_on_disk_is_the_one_in_memory(tmp_path, folder, options):
    """Colour, scaling, labels and what is skipped are those of the decoder in memory."""
    in_memory, on_disk = (loaded(tmp_path, folder, choice, **options) for choice in ("yes", "no"))
    assert sum(map(len, (on_disk.train, on_disk.val, on_disk.test))) == 38
    assert_same(on_disk, in_memory)


def test_a_folder_is_decoded_once(tmp_path, folder, caplog, monkeypatch):
    """The second time no file is opened; skipped ones are still told, or refused; a changed file counts."""
    first = loaded(tmp_path, folder, "no")
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr("training.modalities.image.data.folder.PictureReaders", None)
        caplog.clear()
        assert_same(loaded(tmp_path, folder, "no"), first)
        assert "skipped 2 of 40 files" in caplog.text
        with pytest.raises(TrainingError, match=r"^--strict: .*/a/00\.png: cannot be read"):
            loaded(tmp_path, folder, "no", strict=True)
    Image.fromarray(pixels(8, 12, 3)).save(folder / "a/00.png")
    assert loaded(tmp_path, folder, "no").sha256 != first.sha256


@pytest.mark.parametrize("broken", ["strict", "sizes", "values"])
def test_a_refused_source_leaves_nothing_in_the_cache(tmp_path, folder, broken):
    """Neither files nor half of them."""
    data = folder
    if broken == "sizes":
        Image.fromarray(pixels(9, 12, 3)).save(folder / "a/00.png")
    if broken == "values":
        data = tmp_path / "x.npy"
        np.save(data, np.full((20, 5, 5), 300))
    with pytest.raises(TrainingError):
        loaded(tmp_path, data, "no", strict=broken == "strict")
    assert not any((tmp_path / "cache/mapped").iterdir())


def test_a_cache_that_cannot_be_used_is_named(tmp_path):
    """A folder that may not be written, and a file cut short: one line with what to do."""
    np.save(tmp_path / "x.npy", pixels(30, 8, 8))
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(TrainingError, match=r"^--cache-dir .*/cache: cannot be written"):
        loaded(tmp_path, tmp_path / "x.npy", "no")
    (tmp_path / "cache").unlink()
    loaded(tmp_path, tmp_path / "x.npy", "no")
    (file,) = (tmp_path / "cache/mapped").glob("*/train.npy")
    for spoil in (
        lambda: file.write_bytes(file.read_bytes()[:500]),
        lambda: file.write_bytes(b""),
        lambda: (file.parent / "about.json").write_text("{}"),
        lambda: (file.parent / "about.json").write_text("[]"),
    ):
        spoil()
        with pytest.raises(TrainingError, match=r"cannot be read .* delete it, it will be made anew"):
            loaded(tmp_path, tmp_path / "x.npy", "no")


def test_an_array_without_images_is_refused(tmp_path):
    """A single value has no length that could be told."""
    np.save(tmp_path / "x.npy", np.array(5))
    with pytest.raises(TrainingError, match=r"want images \[N, C, H, W\] .* came \[\]"):
        loaded(tmp_path, tmp_path / "x.npy", "no")


def test_auto_maps_what_is_large(tmp_path, folder, monkeypatch):
    """From the limit on, for arrays and for folders alike."""
    np.save(tmp_path / "x.npy", pixels(30, 8, 8))
    for data, size in ((tmp_path / "x.npy", 30 * 8 * 8), (folder, 40 * 8 * 12 * 3)):
        for limit in (size, size - 1):
            monkeypatch.setattr(memory_mapped, "LIMIT", limit)
            assert loaded(tmp_path, data, "auto").mapped == (limit < size)


def test_a_run_on_disk_is_the_run_in_memory_bit_for_bit(tmp_path):
    """The same weights after some steps, binarisation and noise included; the run may go on either way."""
    np.save(tmp_path / "x.npy", pixels(60, 6, 6))
    tiny = ["--network", "mlp", "--width", "8", "--latent", "2", "--batch-size", "8", "--threads", "1"]
    common = ["--data", str(tmp_path / "x.npy"), "--cache-dir", str(tmp_path / "cache"), "--no-tensorboard"]
    weights = []
    for choice in ("yes", "no"):
        run = tmp_path / choice
        arguments = ["fit", "--run", str(run), *common, *tiny, "--likelihood", "bernoulli", "--steps", "12"]
        assert main([*arguments, "--in-memory", choice]) == 0
        weights.append(load_run(run).model.state_dict())
        assert main(["fit", "--run", str(run), "--resume", "--in-memory", "auto"]) == 0
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())
