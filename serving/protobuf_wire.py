"""Fields in the wire format of protocol buffers, for what is written without a message.

Source: https://protobuf.dev/programming-guides/encoding/
"""

_LENGTH_DELIMITED = 2


def delimited(field: int, size: int) -> bytes:
    """What stands before so many bytes of a field's content."""
    return varint(field << 3 | _LENGTH_DELIMITED) + varint(size)


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
