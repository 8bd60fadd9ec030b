"""Records as nobody should send them: each is taken or refused in one line, and nothing worse happens."""

from google.protobuf import struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import InvalidInput
from serving.host.background import Background
from serving.modalities.table.table_wire import GivenRecords, TableWire
from serving.pb.vae.v1 import tensors_pb2
from tests.support import toy_table
from tests.unit.test_record_messages import modality_of

MODALITY = modality_of(toy_table.SCHEMA)
NAMES = st.one_of(st.sampled_from([column.name for column in toy_table.SCHEMA.columns]), st.text(max_size=20))
TEXTS = st.one_of(
    st.text(max_size=300),
    st.sampled_from(
        ["State", "NaN", "inf", "1e999", "0x1", "1_000", "9" * 400, "2022-01-08", "10000-01-01", "yes"]
    ),
)
VALUES = st.recursive(
    st.one_of(
        st.builds(struct_pb2.Value),
        st.builds(lambda value: struct_pb2.Value(number_value=value), st.floats()),
        st.builds(lambda value: struct_pb2.Value(string_value=value), TEXTS),
        st.builds(lambda value: struct_pb2.Value(bool_value=value), st.booleans()),
        st.just(struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)),
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda values: struct_pb2.Value(list_value=struct_pb2.ListValue(values=values)),
            st.lists(inner, max_size=3),
        ),
        st.builds(
            lambda fields: struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields)),
            st.dictionaries(NAMES, inner, max_size=3),
        ),
    ),
    max_leaves=4,
)
ROWS = st.lists(
    st.builds(lambda f: struct_pb2.Struct(fields=f), st.dictionaries(NAMES, VALUES, max_size=9)), max_size=4
)
INT32, INT64 = (st.integers(-(2**bits), 2**bits - 1) for bits in (31, 63))
CONTENT = st.one_of(
    st.just({}),
    st.builds(lambda values: {"numbers": {"values": values}}, st.lists(st.floats(), max_size=4)),
    st.builds(lambda values: {"booleans": {"values": values}}, st.lists(st.booleans(), max_size=4)),
    st.builds(lambda values: {"times": {"microseconds": values}}, st.lists(INT64, max_size=4)),
    st.builds(
        lambda words, codes: {"texts": {"dictionary": words, "codes": codes}},
        st.lists(TEXTS, max_size=3),
        st.lists(st.one_of(st.integers(-1, 3), INT32), max_size=4),
    ),
)
COLUMNS = st.lists(
    st.builds(
        lambda name, content, missing: tensors_pb2.Column(name=name, missing=missing, **content),
        NAMES,
        CONTENT,
        st.one_of(st.just([]), st.lists(st.booleans(), max_size=4)),
    ),
    max_size=5,
)
RECORDS = st.builds(
    lambda rows, columns, unknown, absent: tensors_pb2.Records(
        rows=rows,
        columns=None if columns is None else tensors_pb2.Columns(columns=columns),
        unknown=unknown,
        absent=absent,
    ),
    ROWS,
    st.one_of(st.none(), COLUMNS),
    st.one_of(st.integers(0, 2), INT32),
    st.one_of(st.integers(0, 3), INT32),
)


@settings(max_examples=400)
@given(RECORDS)
async def test_whatever_comes_is_taken_or_refused(message):
    """Features are finite and those of a record; what is refused is so in one short line that names the field."""
    background = Background(1)
    given_ = GivenRecords(MODALITY, tensors_pb2.Records.FromString(message.SerializeToString()), "records")
    words = "records were taken"
    try:
        assert given_.rows_said(3) <= 3
        for read in (given_.read, given_.read_partial):
            found = await read(3, background)
            features = found.rows if hasattr(found, "known") else found
            tensor = tensors_pb2.Tensor(dtype=1, shape=features.shape, data=features.tobytes())
            await TableWire(MODALITY).read_tensor(tensor, "features", 3, background)
    except InvalidInput as exc:
        words = str(exc)
    finally:
        background.shutdown()
    assert words.startswith("records")
    assert "\n" not in words
    assert len(words.encode()) < 1000
