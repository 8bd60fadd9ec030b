import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.bundle import ImageSpec
from serving.errors import InvalidInput
from serving.modalities.image import image_messages
from serving.pb.vae.v1 import tensors_pb2 as pb
from serving.wire import images, tensors

SPEC = ImageSpec(shape=(1, 2, 3), value_range=(0.0, 1.0), colour="grey")
GOOD = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 1, 2, 3)


def tensor(dtype=pb.DATA_TYPE_FLOAT32, shape=(2, 1, 2, 3), data=None):
    return pb.Tensor(dtype=dtype, shape=shape, data=GOOD.tobytes() if data is None else data)


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 7)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_latents_survive_the_wire(rows):
    """Any finite float32 rows come back bit for bit."""
    came = tensors.to_latents(tensors.from_array(rows), "latents", rows.shape[1:], max_rows=5)
    assert np.array_equal(came, rows)


@pytest.mark.parametrize("rows", [3, 3000])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_latents_that_are_not_finite_are_refused(rows, bad):
    """Among few values and among many, beside the largest that there are."""
    latents = np.full((rows, 2), np.finfo(np.float32).max)
    tensors.to_latents(tensors.from_array(latents), "latents", (2,), max_rows=rows)
    latents[1, 1] = bad
    with pytest.raises(InvalidInput, match=r"latents\.data: want finite values"):
        tensors.to_latents(tensors.from_array(latents), "latents", (2,), max_rows=rows)


@given(hnp.arrays(np.uint8, (3, 1, 2, 3)))
def test_uint8_and_png_give_the_same_floats(pixels):
    """The three forms of an image are one image."""
    floats = images.to_float32(pixels, SPEC.value_range)
    forms = [
        pb.Images(tensor=tensors.from_array(pixels)),
        pb.Images(tensor=tensors.from_array(floats)),
        pb.Images(png=pb.PngImages(files=images.to_png(pixels))),
    ]
    for form in forms:
        np.testing.assert_array_equal(image_messages.to_images(form, "images", SPEC, 9), floats)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        pytest.param(pb.Images(), "images: want a tensor or PNG files, came nothing", id="nothing"),
        pytest.param(
            pb.Images(tensor=tensor(dtype=0)),
            "images.tensor.dtype: want DATA_TYPE_FLOAT32 or DATA_TYPE_UINT8, came DATA_TYPE_UNSPECIFIED",
            id="no dtype",
        ),
        pytest.param(
            pb.Images(tensor=tensor(dtype=77)),
            "images.tensor.dtype: want DATA_TYPE_FLOAT32 or DATA_TYPE_UINT8, came 77",
            id="unknown dtype",
        ),
        pytest.param(
            pb.Images(tensor=tensor(shape=(2, 3, 2))),
            "images.tensor.shape: want [rows, 1, 2, 3], came [2, 3, 2]",
            id="wrong rank",
        ),
        pytest.param(
            pb.Images(tensor=tensor(shape=())),
            "images.tensor.shape: want [rows, 1, 2, 3], came []",
            id="no shape",
        ),
        pytest.param(
            pb.Images(tensor=tensor(shape=(2, 1, 3, 2))),
            "images.tensor.shape: want [rows, 1, 2, 3], came [2, 1, 3, 2]",
            id="transposed",
        ),
        pytest.param(
            pb.Images(tensor=tensor(shape=(-2, 1, 2, 3))),
            "images.tensor.shape: want 1 to 4 rows, came -2",
            id="negative rows",
        ),
        pytest.param(
            pb.Images(tensor=tensor(shape=(0, 1, 2, 3), data=b"")),
            "images.tensor.shape: want 1 to 4 rows, came 0",
            id="no rows",
        ),
        pytest.param(
            pb.Images(tensor=tensor(shape=(5, 1, 2, 3))),
            "images.tensor.shape: want 1 to 4 rows, came 5",
            id="too many rows",
        ),
        pytest.param(
            pb.Images(tensor=tensor(shape=(2**62, 1, 2, 3))),
            f"images.tensor.shape: want 1 to 4 rows, came {2**62}",
            id="absurd rows",
        ),
        pytest.param(
            pb.Images(tensor=tensor(data=GOOD.tobytes()[:-1])),
            "images.tensor.data: want 48 bytes for shape [2, 1, 2, 3], came 47",
            id="short data",
        ),
        pytest.param(
            pb.Images(tensor=tensor(data=np.full(12, np.nan, np.float32).tobytes())),
            "images.tensor.data: want finite values, came NaN or infinity",
            id="NaN",
        ),
        pytest.param(
            pb.Images(tensor=tensor(data=(GOOD * 255).tobytes())),
            "images.tensor.data: want values from 0 to 1, came 0 to 255",
            id="beyond the value range",
        ),
        pytest.param(
            pb.Images(png=pb.PngImages()), "images.png.files: want 1 to 4 rows, came 0", id="no PNG"
        ),
    ],
)
def test_bad_images_are_refused_by_name(message, error):
    """Each mistake names the field, what was wanted and what came."""
    with pytest.raises(InvalidInput) as refusal:
        image_messages.to_images(message, "images", SPEC, max_rows=4)
    assert str(refusal.value) == error


@pytest.mark.parametrize("content", [b"", b"not a png", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_bad_png_is_refused_with_its_index(content):
    """The message says which file of the request is at fault."""
    good = images.to_png(np.zeros((1, 1, 2, 3), np.uint8))[0]
    with pytest.raises(InvalidInput, match="1") as refusal:
        image_messages.to_images(pb.Images(png=pb.PngImages(files=[good, content])), "images", SPEC, 4)
    assert refusal.value.field == "images.png.files"


def test_image_formats():
    """An unknown format, and PNG where it cannot be written, are refused."""
    with pytest.raises(InvalidInput, match="image_format: want one of"):
        image_messages.image_format(42, SPEC)
    two_channels = ImageSpec(shape=(2, 2, 3), value_range=(0, 1), colour="other")
    with pytest.raises(InvalidInput, match="1 or 3 channels, this model has 2"):
        image_messages.image_format(pb.IMAGE_FORMAT_PNG, two_channels)
    assert image_messages.image_format(pb.IMAGE_FORMAT_UNSPECIFIED, SPEC) == 0
