"""How much of a message may be records: as much as the tables that are served take, and no more."""

import pytest
from google.protobuf import struct_pb2

from serving.errors import InvalidInput
from serving.pb.vae.v1 import tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import message_bounds
from serving.wire.message_bounds import RecordBounds, check_bounds

ENCODE = pb.EncodeRequest.DESCRIPTOR


@pytest.fixture(autouse=True)
def looks_at_all(monkeypatch):
    for limit, value in (("_FEW_BYTES", 0), ("_PARTS", 20), ("_MOST_BYTES", 100)):
        monkeypatch.setattr(message_bounds, limit, value)


def objects(rows, cells):
    row = struct_pb2.Struct(fields={f"c{n}": struct_pb2.Value(number_value=n) for n in range(cells)})
    return pb.EncodeRequest(records=tensors_pb2.Records(rows=[row] * rows)).SerializeToString()


def texts(count):
    texts = tensors_pb2.Texts(dictionary=[f"text {n:06}" for n in range(count)], codes=range(count))
    column = tensors_pb2.Column(name="a", texts=texts)
    return pb.EncodeRequest(records={"columns": {"columns": [column]}}).SerializeToString()


@pytest.mark.parametrize("raw", [objects(10, 50), texts(100)], ids=["objects", "texts"])
def test_without_a_table_there_is_no_room_for_records(raw):
    """Where images alone are served, and for the rest of a message, the bounds are what they were."""
    with pytest.raises(InvalidInput, match="want at most"):
        check_bounds(raw, ENCODE, 10)
    check_bounds(raw, ENCODE, 10, lambda: RecordBounds(cells=500, size=20_000))


def test_objects_are_bounded_by_their_bytes():
    """As many as there may be; the error says what there is too much of."""
    size = len(objects(10, 50))
    check_bounds(objects(10, 50), ENCODE, 10, lambda: RecordBounds(500, size - 100))
    with pytest.raises(InvalidInput, match="request: want at most 8 KiB of rows as objects, and of texts"):
        check_bounds(objects(10, 50), ENCODE, 10, lambda: RecordBounds(500, size - 600))


def test_rows_and_texts_are_counted_as_parts():
    """Empty ones, which weigh next to nothing."""
    empty = pb.EncodeRequest(records={"rows": [{}] * 40}).SerializeToString()
    check_bounds(empty, ENCODE, 40, lambda: RecordBounds(1, 1000))
    with pytest.raises(InvalidInput, match="want at most 30 parts"):
        check_bounds(empty, ENCODE, 10, lambda: RecordBounds(0, 1000))


def test_packed_columns_are_bulk():
    """Numbers of a fixed width and booleans weigh nothing: they are taken as they are."""
    columns = [
        tensors_pb2.Column(numbers={"values": [1.0] * 5000}, missing=[True] * 5000),
        tensors_pb2.Column(times={"microseconds": [1] * 5000}),
        tensors_pb2.Column(booleans={"values": [True] * 5000}),
        tensors_pb2.Column(texts={"codes": [1] * 5000}),
    ]
    request = pb.EncodeRequest(records={"columns": {"columns": columns}})
    check_bounds(request.SerializeToString(), ENCODE, 10)


def test_a_large_request_asks_what_is_served(monkeypatch):
    """And no other does."""
    asked = []
    monkeypatch.setattr(message_bounds, "_FEW_BYTES", 1000)

    def bounds():
        asked.append(1)
        return RecordBounds(500, 20_000)

    check_bounds(objects(1, 2), ENCODE, 10, bounds)
    assert not asked
    check_bounds(objects(10, 50), ENCODE, 10, bounds)
    assert asked
