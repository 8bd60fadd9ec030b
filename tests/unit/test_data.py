"""Every source of data, its splits, and what is refused."""

import gzip
import hashlib
import logging
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.config import FitConfig
from training.data import to_unit
from training.modalities import load
from training.modalities.image.data import download
from training.modalities.image.data.statistics import check, describe, statistics
from training.training_error import TrainingError

RANDOM = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def write_idx(folder: Path, *, train: int = 60, test: int = 12, compress: bool = True) -> None:
    """Four IDX files in MNIST's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count in (("train", train), ("t10k", test)):
        for kind, array in (("images-idx3", pixels(count, 9, 7)), ("labels-idx1", np.arange(count) % 10)):
            header = b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">i4").tobytes()
            content = header + array.astype(np.uint8).tobytes()
            name = f"{prefix}-{kind}-ubyte"
            if compress:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)


def save_image(path: Path, array: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)


def test_digits_lose_nothing():
    """The 17 grey levels stay 17; the splits are 80/10/10, disjoint and all of it."""
    data = load(FitConfig())
    images = torch.cat([data.train.images, data.val.images, data.test.images])
    assert images.dtype == torch.uint8
    assert images.unique().tolist() == [round(level * 255 / 16) for level in range(17)]
    assert (len(data.train), len(data.val), len(data.test)) == (1437, 180, 180)
    assert data.image_shape == (1, 8, 8)
    assert data.label_names == tuple("0123456789")
    assert 0 <= to_unit(images).min() < to_unit(images).max() == 1


def test_split_depends_on_its_seed_and_content_does_not():
    """The same seed splits the same; another seed differs, but it is the same data set."""
    one, same, other = (load(FitConfig(split_seed=seed, seed=7 - seed)) for seed in (0, 0, 1))
    assert torch.equal(one.val.images, same.val.images)
    assert torch.equal(one.val.labels, same.val.labels)
    assert not torch.equal(one.val.images, other.val.images)
    assert one.sha256 == other.sha256


def test_withheld_labels_are_gone():
    """No split shows them, the others keep their images and names, and their test images are kept apart."""
    whole, rest = load(FitConfig()), load(FitConfig(without="3,0"))
    assert rest.label_names == tuple("12456789")
    for name in ("train", "val", "test"):
        every, kept = getattr(whole, name), getattr(rest, name)
        mask = (every.labels != 0) & (every.labels != 3)
        assert torch.equal(kept.images, every.images[mask])
        names = [rest.label_names[i] for i in kept.labels]
        assert names == [whole.label_names[i] for i in every.labels[mask]]
    assert len(rest.withheld) == len(whole.test) - len(rest.test)
    assert sorted(rest.withheld.labels.unique().tolist()) == [0, 3]
    assert rest.sha256 != whole.sha256
    assert load(FitConfig(without="0,3")).sha256 == rest.sha256


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("3,ten", r"--without 3,ten: want labels of the data \(0, 1, .*\), came ten"),
        ("0,1,2,3,4,5,6,7,8", r"want at least 2 labels left, came 1"),
    ],
)
def test_labels_that_cannot_be_withheld(names, message):
    """Unknown ones, and so many that too few are left."""
    with pytest.raises(TrainingError, match=message):
        load(FitConfig(without=names))


def test_images_without_labels_have_none_to_withhold(tmp_path):
    """The message says so."""
    np.save(tmp_path / "images.npy", pixels(30, 8, 8))
    with pytest.raises(TrainingError, match=r"--without 3: the data have no labels"):
        load(FitConfig(data=str(tmp_path / "images.npy"), without="3"))


@pytest.mark.parametrize("compress", [True, False], ids=["gzip", "plain"])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files(tmp_path, name, compress):
    """Compressed or not, in the published order, with the published split (5/6 of the training files)."""
    write_idx(tmp_path, compress=compress)
    data = load(FitConfig(data=name, data_dir=tmp_path))
    assert (len(data.train), len(data.val), len(data.test)) == (50, 10, 12)
    assert data.image_shape == (1, 9, 7)
    assert data.val.labels.tolist() == list(range(10))
    assert len(data.label_names) == 10


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), r"missing t10k-labels-idx1-ubyte \(or t10k-labels-idx1-ubyte\.gz\)"),
        (lambda path: path.write_bytes(path.read_bytes()[:20]), "t10k-labels-idx1-ubyte.gz: cannot be read"),
        (lambda path: path.write_bytes(gzip.compress(b"hello")), "want an IDX file of bytes, it begins with"),
        (
            lambda path: path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1])),
            r"want 12 bytes for shape \(12,\), came 11",
        ),
        (
            lambda path: path.write_bytes(gzip.compress(b"\0\0\x08\1\0\0\0\2\0\0")),
            "do not fit together",
        ),
    ],
    ids=["missing", "truncated gzip", "not IDX", "truncated content", "too few labels"],
)
def test_broken_idx_files_are_named(tmp_path, damage, message):
    """The error names the file and what is wrong with it."""
    write_idx(tmp_path)
    damage(tmp_path / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(TrainingError, match=message):
        load(FitConfig(data="mnist", data_dir=tmp_path))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A server on this machine with MNIST's files, whose MD5s are known, compressed or not."""
    folder = tmp_path / "published"
    write_idx(folder)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    md5 = {}
    for number, name in enumerate(download.SOURCES["mnist"].files):
        content = (folder / f"{name}.gz").read_bytes()
        md5[name] = hashlib.md5(content if number % 2 else gzip.decompress(content)).hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = download.Source(f"http://127.0.0.1:{server.server_port}/", md5)
        monkeypatch.setitem(download.SOURCES, "mnist", source)
        yield folder
        server.shutdown()


def test_download_is_checked_and_kept(tmp_path, published):
    """The files are fetched once, into the cache, and read from there afterwards."""
    config = FitConfig(data="mnist", cache_dir=tmp_path / "cache")
    first = load(config)
    assert len(list((tmp_path / "cache/mnist").iterdir())) == 4
    for file in published.iterdir():
        file.unlink()
    assert load(config).sha256 == first.sha256


def test_a_download_with_other_bytes_is_refused(tmp_path, published):
    """The error has both checksums, and nothing of the bad file stays in the cache."""
    bad = published / "train-labels-idx1-ubyte.gz"
    bad.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(TrainingError, match=r"train-labels-idx1-ubyte\.gz: want MD5 [0-9a-f]{32}, came"):
        load(FitConfig(data="mnist", cache_dir=tmp_path / "cache"))
    assert [path.name for path in (tmp_path / "cache/mnist").iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_a_failed_download_says_what_else_to_do(tmp_path, published):
    """Without a connection the user learns of --data-dir."""
    (published / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(TrainingError, match=r"download failed: .*404.* --data-dir"):
        load(FitConfig(data="mnist", cache_dir=tmp_path / "cache"))


def test_folder_with_a_class_per_sub_folder(tmp_path):
    """Labels are the sorted sub-folders, the order is that of the paths, hidden files are no data."""
    for number in range(30):
        save_image(tmp_path / f"{'bac'[number % 3]}/deeper/{number:02}.png", pixels(6, 9, 3))
    save_image(tmp_path / ".thumbnails/x.png", pixels(6, 9, 3))
    (tmp_path / "a/notes.txt").write_text("no image")
    data = load(FitConfig(data=str(tmp_path)))
    assert data.label_names == ("a", "b", "c")
    assert data.image_shape == (3, 6, 9)
    assert (len(data.train), len(data.val), len(data.test)) == (24, 3, 3)
    labels = torch.cat([data.train.labels, data.val.labels, data.test.labels])
    assert labels.bincount().tolist() == [10, 10, 10]
    assert load(FitConfig(data=str(tmp_path))).sha256 == data.sha256


@pytest.mark.parametrize(
    ("channels", "modes", "expected"),
    [
        ("auto", ["L", "1", "LA"], 1),
        ("auto", ["L", "RGB"], 3),
        ("grey", ["RGB", "P", "RGBA"], 1),
        ("rgb", ["L", "1"], 3),
    ],
    ids=str,
)
def test_folder_colour(tmp_path, channels, modes, expected):
    """auto is grey only if every file is; the other two convert. Without sub-folders there are no labels."""
    for number in range(12):
        save_image(tmp_path / f"{number}.png", pixels(8, 5, 3), modes[number % len(modes)])
    data = load(FitConfig(data=str(tmp_path), channels=channels))
    assert data.image_shape == (expected, 8, 5)
    assert data.train.labels is None
    assert data.label_names == ()


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    """16-bit files are scaled, not clipped."""
    for number in range(12):
        save_image(tmp_path / f"{number}.png", np.full((4, 4), 257 * number, np.uint16))
    data = load(FitConfig(data=str(tmp_path)))
    images = torch.cat([data.train.images, data.val.images, data.test.images])
    assert images[:, 0, 0, 0].sort().values.tolist() == list(range(12))


def test_mixed_sizes_need_image_size(tmp_path):
    """The error names the option; with it the images are scaled and cropped, height first."""
    for number in range(12):
        save_image(tmp_path / f"{number}.jpg", pixels(10 + 2 * (number == 5), 12, 3))
    with pytest.raises(TrainingError, match=r"2 sizes, 11 of 12 are 10x12; .*--image-size HxW"):
        load(FitConfig(data=str(tmp_path)))
    assert load(FitConfig(data=str(tmp_path), image_size="8x6")).image_shape == (3, 8, 6)


def test_unreadable_files_are_skipped_and_counted(tmp_path, caplog):
    """A file that is no image costs itself alone, and is mentioned; a folder of nothing else is an error."""
    for number in range(12):
        save_image(tmp_path / f"{number:02}.png", pixels(8, 8))
    for name in ("00.png", "03.png"):
        (tmp_path / name).write_bytes(b"not a picture")
    with caplog.at_level(logging.WARNING):
        data = load(FitConfig(data=str(tmp_path)))
    assert len(data.train) + len(data.val) + len(data.test) == 10
    assert "skipped 2 of 12 files" in caplog.text
    assert "00.png" in caplog.text
    with pytest.raises(TrainingError, match=r"--strict: .*/00\.png: cannot be read as an image"):
        load(FitConfig(data=str(tmp_path), strict=True))
    for file in tmp_path.iterdir():
        file.write_bytes(b"not a picture")
    with pytest.raises(TrainingError, match="none of its 12 files can be read"):
        load(FitConfig(data=str(tmp_path)))


def test_folders_that_are_no_data_set(tmp_path):
    """Empty, not there, too few images, images beside sub-folders: each is named."""
    with pytest.raises(TrainingError, match=r"want a folder with images, found none"):
        load(FitConfig(data=str(tmp_path)))
    with pytest.raises(TrainingError, match=r"elsewhere: want digits, .*not found"):
        load(FitConfig(data=str(tmp_path / "elsewhere")))
    save_image(tmp_path / "a/1.png", pixels(8, 8))
    with pytest.raises(TrainingError, match=r"at least two classes, came one .*--data .*/a$"):
        load(FitConfig(data=str(tmp_path)))
    save_image(tmp_path / "b/1.png", pixels(8, 8))
    with pytest.raises(TrainingError, match="2 images leave none to train on"):
        load(FitConfig(data=str(tmp_path)))
    save_image(tmp_path / "2.png", pixels(8, 8))
    with pytest.raises(TrainingError, match="1 images lie beside sub-folders with 2"):
        load(FitConfig(data=str(tmp_path)))


ARRAYS = [
    ("grey", pixels(20, 5, 7), (1, 5, 7)),
    ("channels last", pixels(20, 5, 7, 3), (3, 5, 7)),
    ("channels first", pixels(20, 3, 5, 7), (3, 5, 7)),
    ("many channels", pixels(20, 12, 5, 7), (12, 5, 7)),
    ("whole numbers", pixels(20, 5, 7).astype(np.int64), (1, 5, 7)),
    ("fractions", RANDOM.random((20, 5, 7)), (1, 5, 7)),
    ("booleans", RANDOM.random((20, 5, 7)) > 0.5, (1, 5, 7)),
]


@pytest.mark.parametrize(("images", "shape"), [case[1:] for case in ARRAYS], ids=[case[0] for case in ARRAYS])
def test_array_files(tmp_path, images, shape):
    """.npy holds images, .npz images and labels of any kind; layout and value type are recognised."""
    np.save(tmp_path / "x.npy", images)
    np.savez(tmp_path / "x.npz", images=images, labels=np.array(["dog", "cat"] * 10))
    plain, labelled = (load(FitConfig(data=str(tmp_path / name))) for name in ("x.npy", "x.npz"))
    assert plain.image_shape == labelled.image_shape == shape
    assert plain.train.labels is None
    assert labelled.label_names == ("cat", "dog")
    assert torch.equal(plain.train.images, labelled.train.images)
    assert to_unit(plain.train.images).max() <= 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.full((20, 5, 5), 1.5)}, "fractions in .*, came float64 from 1.5 to 1.5"),
        ({"images": np.linspace(-1, 1, 500).reshape(20, 5, 5)}, "came float64 from -1 to 1"),
        ({"images": np.full((20, 5, 5), np.nan)}, "came float64 from nan to nan"),
        ({"images": np.full((20, 5, 5), 300)}, "whole numbers in 0..255 .*from 300 to 300"),
        ({"images": pixels(20, 3, 3)}, r"H and W at least 4, came \[20, 1, 3, 3\]"),
        ({"images": pixels(20)}, r"want images \[N, C, H, W\].*came \[20\]"),
        ({"pictures": pixels(20, 5, 5)}, "want an array 'images', found pictures"),
        ({"images": pixels(20, 5, 5), "labels": np.arange(19)}, r"one label per image \(20\), came \[19\]"),
        ({"images": pixels(20, 5, 5), "labels": np.arange(20) / 2}, "names for labels, came float64"),
        ({"images": pixels(20, 5, 5), "labels": np.full(20, 7)}, "at least two classes, .*came one, '7'"),
        ({"images": np.array([{}] * 20)}, "cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arrays_that_are_no_images_are_refused(tmp_path, arrays, message):
    """The error says what was wanted and what came, the range of the values included; no pickle is opened."""
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(TrainingError, match=message):
        load(FitConfig(data=str(tmp_path / "x.npz")))


def test_binarised_splits_are_those_of_the_literature(tmp_path):
    """The draw is that of the VampPrior code, line by line: seed 777, validation first, then test."""
    write_idx(tmp_path)
    data = load(FitConfig(data="mnist", data_dir=tmp_path))
    expected = {}
    state = np.random.get_state()
    np.random.seed(777)
    for name in ("val", "test"):
        x = getattr(data, name).images.float().numpy() / 255.0
        expected[name] = np.random.binomial(1, np.reshape(x, (x.shape[0], x.shape[2] * x.shape[3])))
    np.random.set_state(state)
    for name, drawn in expected.items():
        split = data.binarised(name)
        assert np.array_equal(to_unit(split.images).flatten(1).numpy(), drawn)
        assert torch.equal(split.labels, getattr(data, name).labels)


def test_statistics_are_shown_and_checked_against_the_likelihood(tmp_path):
    """Count, shape, values and labels are shown; grey values are no data for a plain Bernoulli likelihood."""
    images = np.zeros((40, 4, 4), np.uint8)
    images[:, :2], images[:, 2] = 255, 51
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(40) % 2)
    data = load(FitConfig(data=str(tmp_path / "x.npz")))
    found = statistics(data)
    assert (found.minimum, found.maximum) == (0, 1)
    assert (found.mean, found.between) == (pytest.approx(0.55), 0.25)
    text = describe(data, found)
    for part in ("32 train, 4 val, 4 test", "1×4×4", "mean 0.550", "25.0%", "0 (", "1 ("):
        assert part in text
    check(data, found, likelihood="bernoulli", binarisation="dynamic")
    check(data, found, likelihood="gaussian", binarisation="none")
    with pytest.raises(
        TrainingError, match=r"--binarisation none: .*25\.0% lie between; want --binarisation dyn"
    ):
        check(data, found, likelihood="bernoulli", binarisation="none")


def test_real_mnist_and_photos(data_dir):
    """The published split of MNIST, and 4,000 colour files with ten labels."""
    mnist = load(FitConfig(data="mnist", data_dir=data_dir / "mnist"))
    assert (len(mnist.train), len(mnist.val), len(mnist.test)) == (50_000, 10_000, 10_000)
    assert mnist.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    photos = load(FitConfig(data=str(data_dir / "photos")))
    assert (len(photos.train), photos.image_shape, len(photos.label_names)) == (3200, (3, 32, 32), 10)
