"""The format of messages in Redis."""

from __future__ import annotations

import sys
from typing import Any

import msgpack
import pytest
from channels_redis.serializers import registry

from wsredis.exceptions import ConfigurationError
from wsredis.layers.codec import Codec

MESSAGE = {"type": "chat.message", "text": "Zoë", "list": [1, 2.5, None, True], "in": {"a": "b"}}

OPTIONS = [("msgpack", ()), ("json", ()), ("msgpack", ["key"]), ("json", [b"key", "older"])]


@pytest.mark.parametrize(("serializer_format", "keys"), OPTIONS)
def test_a_message_is_read_by_channels_redis_and_the_reverse(
    serializer_format: str, keys: Any
) -> None:
    codec = Codec(serializer_format, keys)
    theirs = registry.get_serializer(serializer_format, symmetric_encryption_keys=keys)
    assert theirs.deserialize(codec.encode(MESSAGE)) == MESSAGE
    assert codec.decode(theirs.serialize(MESSAGE)) == MESSAGE
    if not keys:
        assert codec.encode(MESSAGE) == theirs.serialize(MESSAGE)


def test_tuples_become_lists() -> None:
    codec = Codec()
    assert codec.decode(codec.encode({"a": (1, (2,))})) == {"a": [1, [2]]}


def endless() -> dict[str, Any]:
    message: dict[str, Any] = {}
    message["self"] = message
    return message


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    return value


@pytest.mark.parametrize("serializer_format", ["msgpack", "json"])
@pytest.mark.parametrize(
    "message",
    [
        {"set": {1}},
        {"object": object()},
        {1: "a"},
        {b"bytes": "a"},
        {"in": {None: "a"}},
        {"in": [[{2: "a"}]]},
        endless(),
        {"surrogate": "\ud800"},
    ],
)
def test_what_cannot_be_sent_is_a_type_error(serializer_format: str, message: Any) -> None:
    with pytest.raises(TypeError, match="this message cannot be sent: a message consists of dicts"):
        Codec(serializer_format).encode(message)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, deep()])
def test_what_msgpack_cannot_send_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="this message cannot be sent"):
        Codec().encode({"value": value})


@pytest.mark.parametrize("message", [None, "a", [{}], 5])
def test_only_a_dict_is_a_message(message: Any) -> None:
    with pytest.raises(TypeError, match="a message must be a dict, not"):
        Codec().encode(message)


@pytest.mark.parametrize("keys", [(), ["key"]])
@pytest.mark.parametrize("serializer_format", ["msgpack", "json"])
@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\xdf", b"nonsense", b"\x81\x01"])
def test_bytes_that_are_no_message_are_a_value_error(
    serializer_format: str, keys: Any, payload: bytes
) -> None:
    with pytest.raises(ValueError, match="not a message in this format"):
        Codec(serializer_format, keys).decode(payload)


@pytest.mark.parametrize("payload", [msgpack.packb([1]), msgpack.packb("text"), b"\xc0", b"{"])
def test_a_value_that_is_no_dict_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match="the message is not a dict"):
        Codec().decode(payload)


@pytest.mark.parametrize(
    ("missing", "options", "text"),
    [
        ("msgpack", {}, r"pip install 'wsredis\[layers\]', or write 'json'"),
        ("cryptography.fernet", {"keys": ["key"]}, "pip install cryptography"),
    ],
)
def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, missing: str, options: Any, text: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigurationError, match=text):
        Codec(**options)
    Codec("json")
