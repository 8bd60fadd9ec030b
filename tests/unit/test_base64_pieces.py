"""Base64, and the JSON of answers that have much of it: what the standard library and protobuf give, in pieces."""

import base64
import threading

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from serving.doors.http import codecs
from serving.doors.http.codecs import JsonCodec
from serving.host import background as module
from serving.host.background import Background
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import base64_pieces
from serving.wire.tensors import from_array

MIB = 1 << 20


@pytest.fixture
def background():
    made = Background(2)
    yield made
    made.shutdown()


@pytest.fixture
def small_pieces(monkeypatch):
    """Rows of work of 12 bytes, two of them a piece; nothing is too little for a thread."""
    monkeypatch.setattr(base64_pieces, "_OCTETS", 12)
    monkeypatch.setattr(base64_pieces, "_LETTERS", 16)
    monkeypatch.setattr(base64_pieces, "_ROW", 1)
    monkeypatch.setattr(module, "_SMALL", 0)
    monkeypatch.setattr(module, "_PIECE", 2)


@pytest.mark.parametrize("size", [*range(50), 71, 72, 73, 1000])
async def test_there_and_back(background, small_pieces, size):
    """One base64 of all, with its padding at the end alone."""
    data = np.random.default_rng(size).bytes(size)
    text = await base64_pieces.encoded(data, background)
    assert text == base64.b64encode(data)
    assert await base64_pieces.decoded(text, background) == data


NONE = {
    "padding within, at the end of a row": base64.b64encode(bytes(11)) + base64.b64encode(bytes(12)),
    "padding within, at the end of a piece": base64.b64encode(bytes(23)) + base64.b64encode(bytes(12)),
    "other letters": base64.b64encode(bytes(30))[:-1] + b"-",
    "a line": base64.b64encode(bytes(30)) + b"\n",
    "a letter too few": base64.b64encode(bytes(30))[:-1],
    "no padding": base64.b64encode(bytes(31)).rstrip(b"="),
    "three of it": b"A===",
    "blanks": b"    ",
}


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
async def test_what_is_no_base64(background, small_pieces, text):
    """Refused, wherever in it."""
    with pytest.raises(ValueError, match=r"."):
        await base64_pieces.decoded(text, background)


async def test_much_is_not_done_on_the_loop(background, monkeypatch):
    """Nor in one go: no piece is longer than the loop can wait for Python's lock."""
    pieces, threads = [], set()
    encode = base64.b64encode

    def watched(data):
        pieces.append(len(data))
        threads.add(threading.current_thread())
        return encode(data)

    monkeypatch.setattr(base64_pieces.base64, "b64encode", watched)
    data = bytes(20 * MIB)
    assert len(await base64_pieces.encoded(data, background)) == -(-len(data) // 3) * 4
    assert max(pieces) <= MIB
    assert threading.current_thread() not in threads


def codec(background):
    return JsonCodec(pb.SampleRequest, pb.SampleResponse, 4096, background)


def response(**images):
    return pb.SampleResponse(seed=7, images=images, latents=from_array(np.ones((3, 2), np.float32)))


ANSWERS = {
    "small": response(tensor=from_array(np.zeros((2, 3), np.float32))),
    "a tensor": response(tensor=from_array(np.random.default_rng(0).random((500, 50), np.float32))),
    "files": response(png={"files": [bytes([n % 256]) * (n % 97) for n in range(2000)]}),
    "empty files": response(png={"files": [b""] * 20_000}),
    "a large name": pb.SampleResponse(model={"name": 'é"\\\0' * 20_000}, seed=1),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_json_is_protobufs_own(background, answer):
    """To the letter, however large and whatever is in it."""
    wanted = json_format.MessageToJson(answer, indent=None, ensure_ascii=False)
    assert (await codec(background).response(answer.SerializeToString())).decode() == wanted


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20), st.text(max_size=20))
def test_json_of_whatever(files, name):
    """Where every answer counts as large."""
    made = Background(1)
    answer = pb.SampleResponse(model={"name": name}, images={"png": {"files": files}}, seed=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(codecs, "_FEW_BYTES", 0)
        texts, blobs = codec(made)._written(answer.SerializeToString())
    woven = "".join(
        text.decode() + base64.b64encode(blob).decode()
        for text, blob in zip(texts, [*blobs, b""], strict=True)
    )
    assert woven == json_format.MessageToJson(answer, indent=None, ensure_ascii=False)
    made.shutdown()


async def test_what_is_printed_in_one_go_is_short(background):
    """Of 16 MiB of bytes none goes through the printer, which holds Python's lock until it is done."""
    answer = response(tensor={"dtype": 1, "shape": [4 * MIB], "data": bytes(16 * MIB)})
    texts, blobs = codec(background)._written(answer.SerializeToString())
    assert sum(map(len, texts)) < 1000
    assert sum(map(len, blobs)) > 16 * MIB
