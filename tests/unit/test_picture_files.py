"""serving.pictures.picture_files: what the pixels of every kind of picture file are."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from serving.pictures.picture_files import Look, PictureError, in_channels, look, read
from tests.support import patience

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
RGB = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
WHITE = 255


def saved(folder: Path, array: np.ndarray | Image.Image, name: str = "a.png", **how: object) -> Path:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(folder / name, **how)
    return folder / name


DEEP = GREY.astype(np.uint16) * 257
MODES = {
    "L": ("a.png", Image.fromarray(GREY), GREY),
    "RGB": ("a.png", Image.fromarray(RGB), RGB),
    "1": ("a.png", Image.fromarray(GREY > 100), (GREY > 100) * np.uint8(255)),
    "16-bit PNG": ("a.png", Image.fromarray(DEEP), GREY),
    "16-bit TIFF": ("a.tif", Image.fromarray(DEEP), GREY),
    "16-bit big-endian TIFF": ("a.tif", Image.fromarray(DEEP.astype(">u2")), GREY),
    "16-bit JPEG 2000": ("a.jp2", Image.fromarray(DEEP), GREY),
    "32-bit TIFF of 16-bit values": ("a.tif", Image.fromarray(DEEP.astype(np.int32)), GREY),
    "float TIFF": ("a.tif", Image.fromarray(GREY / np.float32(255)), GREY),
    "float TIFF beyond 1 by rounding": (
        "a.tif",
        Image.fromarray(np.full((4, 6), np.float32(1.0000001))),
        WHITE,
    ),
    "palette": ("a.png", Image.fromarray(RGB).quantize(256), RGB),
    "palette of greys": ("a.png", Image.fromarray(GREY).convert("P"), GREY),
    "GIF of greys": ("a.gif", Image.fromarray(GREY), GREY),
    "YCbCr TIFF": ("a.tif", Image.fromarray(np.full((4, 6, 3), 128, np.uint8), "YCbCr"), 128),
    "CMYK TIFF": ("a.tif", Image.fromarray(RGB).convert("CMYK"), RGB),
}


@pytest.mark.parametrize(("name", "image", "expected"), MODES.values(), ids=MODES)
@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_every_mode_has_its_pixels(tmp_path, name, image, expected):
    """16 bits keep their upper eight, fractions are of 255, greys in a palette are grey; the header says the same."""
    file = saved(tmp_path, image, name)
    pixels = read(file)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels.astype(int), np.broadcast_to(expected, pixels.shape), atol=1)
    assert np.ndim(expected) in (0, pixels.ndim)
    assert look(file) == Look(4, 6, pixels.ndim == 2)


def test_sixteen_bit_pgm(tmp_path):
    """Whatever its largest value is, that is white."""
    for most in (65535, 1000):
        values = np.array([[0, most // 2], [most, most]] * 2, ">u2")
        (tmp_path / "a.pgm").write_bytes(b"P5 2 4 %d\n" % most + values.tobytes())
        np.testing.assert_array_equal(read(tmp_path / "a.pgm")[:2], [[0, 127 + (most == 1000)], [255, 255]])


def test_twelve_bit_tiff(tmp_path):
    """12 bits in a 16-bit mode: 4095 is white, not 15 of 255."""
    packed = bytes([0xFF, 0xFF, 0xFF, 0x80, 0x00, 0x00])  # 4095, 4095, 2048, 0
    (tmp_path / "a.tif").write_bytes(tiff_of(packed, width=4, height=1, bits=12))
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), [[255, 255, 128, 0]])


def tiff_of(strip: bytes, *, width: int, height: int, bits: int, sample_format: int = 1) -> bytes:
    """A little-endian TIFF file of one uncompressed grey strip."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(strip)}
    tags[339] = sample_format
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in tags.items()
    )
    directory = len(tags).to_bytes(2, "little") + entries + bytes(4)
    return b"II*\0" + (8 + len(strip)).to_bytes(4, "little") + strip + directory


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "palette", "key"])
def test_transparency_is_white(tmp_path, mode):
    """What lies under transparent pixels does not show, half-transparent ones are mixed with white."""
    colour = np.full((4, 6, 3), 100, np.uint8)
    colour[0] = RGB[0]  # junk under what is transparent
    alpha = np.full((4, 6), 255, np.uint8)
    alpha[0], alpha[1] = 0, 51
    if mode == "RGBA":
        file = saved(tmp_path, np.dstack([colour, alpha]))
    elif mode == "LA":
        file = saved(tmp_path, np.dstack([colour[..., 1], alpha]))
    elif mode == "key":  # one grey value is declared transparent
        values = np.full((4, 6), 100, np.uint8)
        values[0] = 7
        file = saved(tmp_path, values, transparency=7)
    else:
        index = np.full((4, 6), 2, np.uint8)
        index[0], index[1] = 0, 1
        image = Image.fromarray(index, "P") if mode == "palette" else Image.fromarray(index).convert("P")
        image.putpalette([9, 200, 30, 100, 100, 100, 100, 100, 100])
        file = saved(tmp_path, image, transparency=bytes([0, 51, 255]))
    pixels = read(file)
    assert (pixels[0] == WHITE).all()
    assert (pixels[2:] == 100).all()
    if mode != "key":
        np.testing.assert_allclose(pixels[1].astype(int), 0.8 * 255 + 0.2 * 100, atol=1)


def test_a_transparent_value_of_sixteen_bits(tmp_path):
    """A 16-bit PNG file may declare one too."""
    values = DEEP.copy()
    values[0] = 30000
    expected = GREY.copy()
    expected[0] = WHITE
    np.testing.assert_array_equal(read(saved(tmp_path, values, transparency=30000)), expected)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "a.avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, name, orientation):
    """Pictures are as viewers show them, and the header tells their height and width as shown."""
    stored = Image.fromarray(np.kron(GREY, np.ones((8, 8), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(tmp_path, stored, name, exif=exif)
    with Image.open(io.BytesIO(file.read_bytes())) as image:  # by name, Pillow garbles a TIFF file
        image.load()
        shown = np.asarray(ImageOps.exif_transpose(image).convert("L"))
    pixels = in_channels(read(file), 1)[0]
    np.testing.assert_allclose(pixels.astype(int), shown.astype(int), atol=2)
    assert shown.shape == ((48, 32) if orientation > 4 else (32, 48))
    assert look(file)[:2] == shown.shape


def test_exif_after_the_pixels_of_a_png(tmp_path):
    """The PNG specification allows it; the size of the header follows it too."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = saved(tmp_path, GREY, exif=exif)
    content = file.read_bytes()
    at = content.index(b"eXIf") - 4
    chunk = content[at : at + 12 + int.from_bytes(content[at : at + 4], "big")]
    end = content.replace(chunk, b"").index(b"IEND") - 4
    moved = content.replace(chunk, b"")
    file.write_bytes(moved[:end] + chunk + moved[end:])
    assert read(file).shape == look(file)[:2] == (6, 4)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_says_nothing(tmp_path):
    """Orientation that cannot be read, or is none, leaves the picture as it is stored."""
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        file = saved(tmp_path, np.kron(GREY, np.ones((8, 8), np.uint8)), "a.jpg", exif=exif)
        assert read(file).shape == look(file)[:2] == (32, 48)


def test_several_pictures_in_a_file_are_refused(tmp_path):
    """Animated GIF, PNG and WebP files and TIFF files of several pages: which one is meant nobody knows."""
    frames = [Image.fromarray((GREY + 20 * shift).astype(np.uint8)) for shift in range(3)]
    for name in ("a.gif", "a.png", "a.webp", "a.tif"):
        file = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
        for use in (read, look):
            with pytest.raises(
                PictureError, match=rf"{name}: .* want one picture a file, came 3 frames or pages$"
            ):
                use(file)
    one = saved(tmp_path, frames[0], "one.gif", save_all=True)
    np.testing.assert_array_equal(read(one), GREY)


def test_a_phones_photo_with_a_second_view_is_the_first(tmp_path):
    """MPO: the further pictures are previews or depths of the first."""
    large = Image.fromarray(np.kron(RGB, np.ones((8, 8, 1), np.uint8)))
    file = saved(
        tmp_path, large, "a.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))]
    )
    assert read(file).shape == (32, 48, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.array([[-1, 5]] * 2, np.int32),
            r"want pixels in 0\.\.255 or 0\.\.65535, came whole numbers from -1 to 5",
        ),
        (np.array([[0, 70000]] * 2, np.int32), "came whole numbers from 0 to 70000"),
        (np.array([[0, 200]] * 2, np.int32), "came 32 with none above 200: is white 255 or 65535"),
        (np.array([[0, 200]] * 2, np.float32), r"want floating-point pixels in 0\.\.1, came 0 to 200"),
        (np.array([[0, np.nan]] * 2, np.float32), "came nan to nan"),
    ],
)
def test_values_that_could_mean_several_pictures_are_refused(tmp_path, values, message):
    """32-bit numbers and fractions have no white of their own; what was wanted and what came is said."""
    with pytest.raises(PictureError, match=message):
        read(saved(tmp_path, values, "a.tif"))


def test_signed_sixteen_bits_are_refused(tmp_path):
    """Their white is 32767, or 4095, or whatever the scanner had."""
    strip = np.array([0, 1000, 2000, 30000], "<i2").tobytes()
    (tmp_path / "a.tif").write_bytes(tiff_of(strip, width=2, height=2, bits=16, sample_format=2))
    with pytest.raises(PictureError, match="came signed whole numbers from 0 to 30000"):
        read(tmp_path / "a.tif")


def test_lab_is_refused(tmp_path):
    """Pillow cannot turn it into RGB."""
    with pytest.raises(PictureError, match="want grey, RGB, palette or CMYK pixels, came mode LAB"):
        read(saved(tmp_path, Image.new("LAB", (6, 4)), "a.tif"))


@pytest.mark.parametrize(
    "kind",
    ["avif", "dds", "jp2", "png", "jpg", "gif", "tif", "webp", "bmp", "tga", "qoi", "ico", "pcx", "psd"],
)
def test_damaged_files_are_one_line(tmp_path, kind):
    """Whatever Pillow raises for them, cut short or spoiled at any place, is one error that names the file."""
    whole = io.BytesIO()
    large = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    if kind == "psd":  # Pillow does not write it: the header alone
        whole.write(
            b"8BPS\0\1" + bytes(6) + b"\0\3" + (40).to_bytes(4, "big") * 2 + b"\0\x08\0\3" + bytes(30)
        )
    else:
        large.save(whole, {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(kind, kind.upper()))
    content = whole.getvalue()
    file = tmp_path / f"a.{kind}"
    rng = np.random.default_rng(1)
    refused = []
    for trial in range(60):
        spoiled = bytearray(content if trial % 2 else content[: rng.integers(0, len(content))])
        for at in rng.integers(0, max(1, min(len(spoiled), 200)), 4):
            if spoiled:
                spoiled[at] = rng.integers(256)
        file.write_bytes(spoiled)
        for use in (read, look):
            try:
                use(file)
            except PictureError as exc:
                refused.append(str(exc))
    assert len(refused) > 30
    begin = f"{file}: cannot be read as an image: "
    assert all(line.startswith(begin) and len(line) > len(begin) and "\n" not in line for line in refused)


def test_a_small_file_of_a_huge_picture_is_refused(tmp_path):
    """Pillow's limit against decompression bombs is an error like any other."""
    content = bytearray(saved(tmp_path, GREY).read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(PictureError, match=r"a\.png: .*exceeds limit"):
        read(tmp_path / "a.png")


def test_no_other_program_is_run_for_a_file(tmp_path):
    """EPS goes through Ghostscript in Pillow; a file must not choose which program reads it."""
    file = saved(tmp_path, RGB, "a.eps")
    with pytest.raises(PictureError, match="no format that is known"):
        read(file)


def test_scaling_is_height_by_width(tmp_path):
    """And happens after turning."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = saved(tmp_path, np.kron(RGB, np.ones((8, 8, 1), np.uint8)), "a.jpg", exif=exif)
    assert read(file, (12, 8)).shape == (12, 8, 3)


def test_channels():
    """Grey becomes three equal channels, colour its luma."""
    np.testing.assert_array_equal(in_channels(GREY, 3), np.stack([GREY] * 3))
    np.testing.assert_array_equal(in_channels(RGB, 3), RGB.transpose(2, 0, 1))
    luma = RGB @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(in_channels(RGB, 1)[0], luma, atol=1)


def test_numpy_and_pillow_are_enough():
    """The reader is imported where nothing else is installed."""
    modules = "picture_files", "picture_folders", "picture_arrays"
    blocked = ("grpc", "google", "pydantic", "torch", "onnxruntime", "safetensors")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
    code += "\n".join(f"import serving.pictures.{name}" for name in modules)
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=patience.SECONDS)


def test_a_pipe_is_not_waited_for(tmp_path):
    """Nobody may ever write to it."""
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(PictureError, match="no regular file"):
        read(tmp_path / "pipe.png")


@pytest.mark.parametrize(
    ("bits", "colour", "row", "declared", "expected"),
    [
        (1, 0, b"\xa0", b"\0\0", [255, 255, 255, 255]),
        (2, 0, b"\x1b", b"\0\1", [0, 255, 170, 255]),
        (4, 0, b"\x01\x23", b"\0\2", [0, 17, 255, 51]),
        (16, 2, b"\x64\1\x32\2\5\3" + bytes(18), b"\x64\1\x32\2\5\3", [255, 0, 0, 0]),
    ],
)
def test_a_transparent_colour_in_the_files_own_bits(tmp_path, bits, colour, row, declared, expected):
    """A PNG file names it as its pixels are written, with fewer or more bits than the 8 that Pillow gives."""
    header = struct.pack(">IIBBBBB", 4, 1, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", declared), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    file = tmp_path / "a.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(map(chunk_of, chunks)))
    assert read(file).reshape(4, -1)[:, 0].tolist() == expected


def chunk_of(chunk: tuple[bytes, bytes]) -> bytes:
    kind, content = chunk
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
