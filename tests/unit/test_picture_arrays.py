"""serving.pictures.picture_arrays: what the axes and values of arrays mean."""

import zipfile
import zlib

import numpy as np
import pytest

from serving.pictures.picture_arrays import (
    ArrayError,
    as_stored,
    channels_first,
    has_array_name,
    read_arrays,
    stored_form,
)

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (20, 3, 5, 7), dtype=np.uint8)


def kept(images: np.ndarray, value_range: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    return as_stored(images, stored_form(images, value_range))


def test_axes():
    """Grey without an axis of its own, channels last or first; with the channels known nothing is in doubt."""
    assert channels_first(PIXELS[:, 0]).shape == (20, 1, 5, 7)
    assert channels_first(PIXELS).shape == (20, 3, 5, 7)
    np.testing.assert_array_equal(channels_first(PIXELS.transpose(0, 2, 3, 1)), PIXELS)
    both = np.zeros((20, 4, 5, 3), np.uint8)
    assert channels_first(both).shape == (20, 4, 5, 3)
    assert channels_first(both, 3).shape == (20, 3, 4, 5)
    assert channels_first(PIXELS[:, 0], 1).shape == (20, 1, 5, 7)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, ">i4"])
def test_whole_numbers_are_bytes(dtype):
    """Of any width."""
    found = kept(PIXELS.astype(dtype))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, PIXELS)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_masks_are_black_and_white(dtype):
    """Zeros and ones would be all but black as 0 to 255; with a value above 1 they are what they say."""
    mask = (PIXELS > 127).astype(dtype)
    np.testing.assert_array_equal(kept(mask), (PIXELS > 127) * np.uint8(255))
    assert stored_form(mask).is_mask == (dtype is not bool)
    if dtype is not bool:
        mask[-1, -1, -1, -1] = 2
        np.testing.assert_array_equal(kept(mask), mask)
        assert not stored_form(np.zeros_like(mask)).is_mask


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_rounding_beyond_the_range_is_clipped(value_range):
    """A thousandth of the range, as the server has it; the pixels that come out lie in the range."""
    low, high = value_range
    images = np.full((2, 1, 4, 4), high + 1e-9)
    images[0] = low - 0.9e-3 * (high - low)
    found = kept(images, value_range)
    assert (found.min(), found.max(), found.dtype) == (low, high, np.float32)
    with pytest.raises(ArrayError, match=rf"fractions in \[{low:g}, {high:g}\], came float64 from"):
        stored_form(images + 2e-3 * (high - low), value_range)


def test_no_value_is_refused_without_its_range():
    """NaN, 0 to 255 as floats, 16 bits, complex numbers and names."""
    for images, message in (
        (np.full((2, 4, 4), np.nan), "came float64 from nan to nan"),
        (PIXELS.astype(np.float32), "came float32 from 0 to 255"),
        (PIXELS.astype(np.uint16) * 257, "came uint16 from 0 to 65535"),
        (PIXELS.astype(complex), "want numbers for images, came complex128"),
        (np.array(["a"]), "want numbers for images, came <U1"),
        (np.zeros((0, 1, 4, 4)), r"want images with pixels in them, came \[0, 1, 4, 4\]"),
        (np.zeros((2, 0, 4, 4), np.uint8), r"want images with pixels in them, came \[2, 0, 4, 4\]"),
    ):
        with pytest.raises(ArrayError, match=message):
            stored_form(images)


def test_files(tmp_path):
    """Upper case too; of an .npz file what was asked for."""
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=np.arange(20))
    (tmp_path / "a.npz").rename(tmp_path / "A.NPZ")
    assert has_array_name(tmp_path / "A.NPZ")
    file = read_arrays(tmp_path / "A.NPZ", ("images",))
    assert file.names == ("images", "labels")
    np.testing.assert_array_equal(file.arrays["images"], PIXELS)
    np.save(tmp_path / "a.npy", PIXELS)
    assert isinstance(read_arrays(tmp_path / "a.npy", ("images",)).arrays[""], np.memmap)


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_damaged_files_are_one_line(tmp_path, name):
    """Cut short or spoiled anywhere: zipfile, zlib, numpy and struct raise what they like, here it is one error."""
    if name == "a.npz":
        np.savez_compressed(tmp_path / name, images=PIXELS)
    else:
        np.save(tmp_path / name, PIXELS)
    content = (tmp_path / name).read_bytes()
    refused = []
    for trial in range(200):
        spoiled = bytearray(content if trial % 2 else content[: RANDOM.integers(0, len(content))])
        for at in RANDOM.integers(0, max(1, len(spoiled)), 3):
            if spoiled:
                spoiled[at] ^= 1 << int(RANDOM.integers(8))
        (tmp_path / name).write_bytes(spoiled)
        try:
            read_arrays(tmp_path / name, ("images",))
        except ArrayError as exc:
            refused.append(str(exc))
    assert len(refused) > 50
    assert not any("\n" in line for line in refused)


def test_a_spoiled_stream_of_deflate_is_one_line(tmp_path):
    """zlib.error is neither an OSError nor a ValueError."""
    np.savez_compressed(tmp_path / "a.npz", images=PIXELS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[60:70] = b"\xff" * 10
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(zlib.error), np.load(tmp_path / "a.npz") as file:
        file["images"]
    with pytest.raises(ArrayError, match=r"cannot be read as \.npy or \.npz: Error -3"):
        read_arrays(tmp_path / "a.npz", ("images",))


def test_pickles_are_not_opened(tmp_path):
    """Nor is it said how one would, or that an ``.npy`` file is mapped."""
    np.savez(tmp_path / "a.npz", images=np.array([{}], object))
    np.save(tmp_path / "a.npy", np.array([{}], object))
    for name in ("a.npz", "a.npy"):
        with pytest.raises(ArrayError, match=r": it holds Python objects$"):
            read_arrays(tmp_path / name, ("images",))


def test_what_is_no_array_is_named(tmp_path):
    """Anything may lie in a zip file; numpy gives its bytes without a word."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as packed:
        packed.writestr("images", b"not an array")
    with pytest.raises(ArrayError, match="want arrays, came 'images', a file of another kind"):
        read_arrays(tmp_path / "a.npz", ("images", "labels"))
