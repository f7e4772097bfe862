"""A published message arrives unchanged, and every byte string in Redis is a message."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from wsredis.message import Message, decode, dump, encode


def check(data: bytes) -> None:
    """Hold that `encode` and `decode` are each other's inverse and that neither refuses bytes.

    With the envelope text comes back as text and binary as binary; without it the bytes come back.
    What was not published by us is some message too, and one that survives being sent again.
    """
    text = data.decode("utf-8", "replace")
    assert decode("ws:broadcast:a", encode(text)) == Message("ws:broadcast:a", text.encode())
    assert decode("ws:broadcast:a", encode(data)) == Message("ws:broadcast:a", data, True)
    assert decode("a", encode(text, False), False).data == text
    assert decode("a", encode(data, False), False).payload == data
    for envelope in (True, False):
        found = decode("a", data, envelope)
        assert isinstance(found.data, bytes if found.binary else str)
        assert decode("a", encode(found.data, envelope), envelope) == found
        assert found.payload == data or data == b"\xffB" + found.payload
    check_dump(data, text)


def check_dump(data: bytes, text: str) -> None:
    """Publish the same as a value of Python."""
    assert dump(text) == text
    assert dump(bytearray(data)) == dump(memoryview(data)) == data
    for value in ([text, len(data)], {text: [None, True]}):
        assert json.loads(dump(value)) == value


INPUTS = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=20).map(b"\xff".__add__),
    st.binary(max_size=20).map(b"\xffB".__add__),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
