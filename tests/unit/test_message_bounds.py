"""The walk over a message before it is parsed: it takes what protobuf takes, and ends soon with the rest."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidInput
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import message_bounds
from serving.wire.message_bounds import Unparsable, check_bounds

ENCODE = pb.EncodeRequest.DESCRIPTOR
PNG = st.builds(
    lambda files: pb.EncodeRequest(images={"png": {"files": files}}), st.lists(st.binary(max_size=300))
)
TENSOR = st.builds(
    lambda shape, data, name, seed: pb.EncodeRequest(
        model={"name": name}, images={"tensor": {"shape": shape, "data": data}}, seed=seed
    ),
    st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.binary(max_size=4000),
    st.text(),
    st.integers(0, 2**64 - 1),
)
CONTENT = {
    0: st.just(b"\x96\x01"),
    1: st.binary(min_size=8, max_size=8),
    2: st.binary(max_size=100).map(lambda content: bytes([len(content)]) + content),
    5: st.binary(min_size=4, max_size=4),
}
FIELD = st.tuples(st.integers(1, 15), st.sampled_from(sorted(CONTENT))).flatmap(
    lambda key: CONTENT[key[1]].map(lambda content: bytes([key[0] << 3 | key[1]]) + content)
)
"""Of any number and type, whether the message has such a field or not."""


@pytest.fixture(autouse=True)
def looks_at_all(monkeypatch):
    monkeypatch.setattr(message_bounds, "_FEW_BYTES", 0)


@given(PNG | TENSOR)
def test_messages_of_ours_pass(request):
    check_bounds(request.SerializeToString(), ENCODE)


@given(st.lists(FIELD).map(b"".join))
def test_what_protobuf_takes_passes(raw):
    """Fields that it does not know, too: they may be of a client that is newer."""
    try:
        pb.EncodeRequest.FromString(raw)
    except DecodeError:
        return
    check_bounds(raw, ENCODE)


@given(st.binary(max_size=300))
def test_of_other_bytes_nothing_worse_is_said(raw):
    try:
        check_bounds(raw, ENCODE)
    except Unparsable:
        return


@pytest.mark.parametrize(
    ("limit", "raw"),
    [
        ("_PARTS", b"\x12\x00" * 11),
        ("_PARTS", b"\x12\x16" + b"\x12\x00" * 11),
        ("_MOST_BYTES", b"\x7a\x06abcdef" * 2),
        ("_MOST_BYTES", b"\x12\x0f\x0a\x0d\x12\x0b" + b"\x01" * 11),
    ],
    ids=["parts", "nested parts", "unknown fields", "axes"],
)
def test_more_than_the_bounds_is_refused(monkeypatch, limit, raw):
    """Counted over all of the message, however deep."""
    pb.EncodeRequest.FromString(raw)  # it is one
    monkeypatch.setattr(message_bounds, limit, 14)
    check_bounds(raw, ENCODE)
    monkeypatch.setattr(message_bounds, limit, 10)
    with pytest.raises(InvalidInput, match="request: want at most"):
        check_bounds(raw, ENCODE)
