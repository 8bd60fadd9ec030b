"""serving.wire.images: what goes over the wire as uint8 or PNG comes back as it went."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from serving.wire import images

shapes = st.tuples(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(1, 12), st.integers(1, 12))
pixels = shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape))
ranges = st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.4242, 2.8215)])


def png(size: tuple[int, int] = (5, 4), mode: str = "L", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG", **options)
    return file.getvalue()


def with_header(width: int, height: int) -> bytes:
    """A PNG that claims another size, with a right checksum."""
    file = png()
    ihdr = b"IHDR" + struct.pack(">II", width, height) + file[24:29]
    return file[:12] + ihdr + struct.pack(">I", zlib.crc32(ihdr)) + file[33:]


def with_second_header(width: int, height: int, colour: int = 0) -> bytes:
    """A PNG whose first header is as wanted, and whose second is what a reader goes by."""
    file = png()
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    pixels = zlib.compress(bytes((width + 1) * height if width < 100 else 9))
    second = b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (ihdr, b"IDAT" + pixels)
    )
    return file[:33] + second + file[-12:]


@given(pixels, ranges)
def test_uint8_survives_float32(batch, value_range):
    """uint8 to float32 and back is the identity in any range, and the ends of the range are exact."""
    floats = images.to_float32(batch, value_range)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(images.to_uint8(floats, value_range), batch)
    ends = images.to_float32(np.array([0, 255], np.uint8), value_range)
    np.testing.assert_array_equal(ends, np.array(value_range, np.float32))


def test_rounding_and_clipping():
    """Halves go to the even neighbour and what lies beyond the range goes to its end."""
    values = np.array([-9.0, 0.5, 1.5, 2.5, 254.5, 300.0], np.float32)
    np.testing.assert_array_equal(images.to_uint8(values, (0.0, 255.0)), [0, 0, 2, 2, 254, 255])


@given(pixels)
def test_png_is_lossless(batch):
    """PNG gives back every pixel, in our reader and in Pillow's, grey as L and colour as RGB."""
    files = images.to_png(batch)
    np.testing.assert_array_equal(images.from_png(files, batch.shape[1:]), batch)
    with Image.open(io.BytesIO(files[0])) as image:
        assert image.mode == {1: "L", 3: "RGB"}[batch.shape[1]]
        np.testing.assert_array_equal(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1), batch[0])


@pytest.mark.parametrize(
    ("file", "message"),
    [
        pytest.param(b"", "want a PNG file, came 0 bytes", id="empty"),
        pytest.param(b"GIF89a" + bytes(40), "want a PNG file", id="not a PNG"),
        pytest.param(png()[:20], "want a PNG file", id="cut in the header"),
        pytest.param(png()[:-20], "cannot be decoded", id="cut in the pixels"),
        pytest.param(png((4, 5)), "want height x width 4 x 5, came 5 x 4", id="transposed"),
        pytest.param(png(mode="RGB"), "want 8-bit grey, came 8-bit RGB", id="colour"),
        pytest.param(png(mode="LA"), "came 8-bit grey with alpha", id="alpha"),
        pytest.param(png(mode="P"), "palette", id="palette"),
        pytest.param(png(mode="I;16"), "came 16-bit grey", id="16 bits"),
        pytest.param(with_header(60_000, 60_000), "came 60000 x 60000", id="bomb"),
        pytest.param(with_header(5, 40), "came 40 x 5", id="taller than it claims"),
        pytest.param(with_second_header(2, 10), "cannot be decoded", id="a second header, as many pixels"),
        pytest.param(with_second_header(13_000, 13_000), "cannot be decoded", id="a bomb in a second header"),
        pytest.param(with_second_header(5, 4, 2), "cannot be decoded", id="colour in a second header"),
    ],
)
def test_bad_png_is_named(file, message):
    """A file that is not the wanted image is refused with its index, what was wanted and what came."""
    with pytest.raises(images.BadPng, match=message) as caught:
        images.from_png([png(), file], (1, 4, 5))
    assert caught.value.index == 1
    assert str(caught.value).startswith("image 1: ")


@given(st.binary(max_size=60), st.integers(0, 80))
def test_garbled_png_never_escapes(garbage, position):
    """Whatever the bytes, the answer is pixels of the wanted shape or BadPng."""
    file = png()
    try:
        batch = images.from_png([file[:position] + garbage + file[position + len(garbage) :]], (1, 4, 5))
    except images.BadPng:
        return
    assert batch.shape == (1, 1, 4, 5)


def test_png_needs_one_or_three_channels():
    """Two channels have no PNG form, in either direction."""
    with pytest.raises(ValueError, match="1 or 3 channels, came 2"):
        images.to_png(np.zeros((1, 2, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="1 or 3 channels, this one has 2"):
        images.from_png([], (2, 4, 4))


@given(pixels, st.integers(1, 5), st.integers(0, 3))
def test_grid_holds_every_image(batch, columns, padding):
    """Image i of a grid sits in row i // columns and column i % columns, and nothing else is drawn."""
    sheet = images.grid(batch, columns=columns, padding=padding, background=7)
    used = min(columns, len(batch))
    height, width = batch.shape[2] + padding, batch.shape[3] + padding
    rest = sheet.astype(int) - 7
    for index, image in enumerate(batch):
        top, left = padding + index // used * height, padding + index % used * width
        cell = (slice(None), slice(top, top + batch.shape[2]), slice(left, left + batch.shape[3]))
        np.testing.assert_array_equal(sheet[cell], image)
        rest[cell] = 0
    assert not rest.any()


def test_grid_of_nothing():
    """An empty grid is refused, not drawn as an empty picture."""
    with pytest.raises(ValueError, match="at least one image"):
        images.grid(np.zeros((0, 1, 4, 4), np.uint8))
