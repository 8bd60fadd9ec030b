"""Hand-written wire format against the generated classes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import replies
from serving.wire.tensors import from_array

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=200)
ROWS = st.one_of(
    hnp.arrays(
        np.float32, hnp.array_shapes(max_dims=4, max_side=9), elements=st.floats(width=32, allow_nan=False)
    ),
    hnp.arrays(np.uint8, hnp.array_shapes(max_dims=3, max_side=40)),
)
SERVED = models_pb2.ServedModel(name="m", version=3, digest="d" * 64)


@given(ROWS, ROWS, st.integers(0, 2**64 - 1))
def test_a_reply_is_the_message(images, latents, seed):
    """The bytes are those that protobuf itself would write, whatever the shapes and values."""
    message = pb.SampleResponse(
        model=SERVED,
        seed=seed,
        images=tensors_pb2.Images(tensor=from_array(images)),
        latents=from_array(latents),
    )
    written = replies.join(
        replies.message(1, SERVED.SerializeToString()),
        replies.number(pb.SampleResponse.SEED_FIELD_NUMBER, seed),
        replies.images(pb.SampleResponse.IMAGES_FIELD_NUMBER, images),
        replies.tensor(pb.SampleResponse.LATENTS_FIELD_NUMBER, latents),
    )
    assert written == message.SerializeToString(deterministic=True)


def test_large_and_sliced_rows():
    """Lengths beyond one varint byte, and views into a larger batch, are written right."""
    batch = np.arange(5 * 3 * 28 * 28, dtype=np.float32).reshape(5, 3, 28, 28)
    for rows in (batch, batch[1:3], batch[4:]):
        written = replies.join(replies.images(2, rows))
        wanted = pb.DecodeResponse(images=tensors_pb2.Images(tensor=from_array(rows)))
        assert pb.DecodeResponse.FromString(written) == wanted
