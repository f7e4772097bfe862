"""The message type that all packages share, and its encoding in Redis.

Text is published raw, so that ``redis-cli`` can publish and read it. Binary is published in an
envelope: the byte 0xFF, which no UTF-8 text can start with, the letter ``B``, then the payload.
Bytes that are neither valid UTF-8 nor in an envelope come from other software and count as binary.
Without the envelope (option ``envelope``) binary is published raw as well, and valid UTF-8 arrives
as text. `wsredis.protocol.frames` turns messages into websocket frames.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from .naming import plain_str

__all__ = [
    "MAX_EXPIRE",
    "Data",
    "Message",
    "Unserializable",
    "decode",
    "dump",
    "encode",
    "to_json",
]

MAX_EXPIRE = 2**31 - 1
"""Maximum seconds for which a message is retained, 68 years; Redis refuses much larger numbers."""

Data = str | bytes
"""The content of a message: text or binary."""

_BINARY = b"\xffB"


class Message(NamedTuple):
    """A message that was published to one channel.

    Args:
        channel: the full channel name.
        payload: UTF-8 text or arbitrary bytes.
        binary: whether browsers receive it as a binary message.
    """

    channel: str
    payload: bytes
    binary: bool = False

    @property
    def data(self) -> Data:
        """Return the payload as str for text, as bytes for binary."""
        return self.payload if self.binary else self.payload.decode()


class Unserializable(TypeError):
    """An error of an encoder: a value in the message has no JSON form.

    Args:
        value: that value.
    """

    def __init__(self, value: object) -> None:
        super().__init__(type(value).__name__)
        self.value = value


def to_json(value: object) -> str:
    """Return a value as JSON text without spaces.

    Raises:
        TypeError, ValueError: the value is not JSON-serializable (RFC 8259; NaN and infinities are
            not).
    """
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_refuse
    )


def _refuse(value: object) -> object:
    raise Unserializable(value)


def dump(value: object, to_json: Callable[[object], str] = to_json) -> Data:
    """Return str and bytes unchanged, and any other value as JSON text.

    Args:
        value: the content of a message.
        to_json: returns the JSON text; may raise what the function `to_json` raises.

    Raises:
        TypeError: the value is not JSON-serializable.
    """
    if isinstance(value, str):
        return plain_str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        return to_json(value)
    except (TypeError, ValueError) as exc:
        kind, culprit = type(value).__name__, "it"
        if isinstance(exc, Unserializable) and exc.value is not value:
            culprit = f"a value in it of type {type(exc.value).__name__}"
        raise TypeError(
            f"cannot publish this {kind}, as {culprit} is not JSON-serializable: write str, bytes,"
            " or JSON types (dict, list, int, finite float, bool, None), for example str(value), or"
            " override the method to_json of Publisher"
        ) from exc


def encode(data: Data, envelope: bool = True) -> bytes:
    """Return the encoding of ``data`` in Redis.

    Args:
        data: text or binary.
        envelope: whether binary gets an envelope.

    Raises:
        ValueError: the text contains a lone surrogate, so it cannot be encoded as UTF-8.
    """
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError:
            raise ValueError(
                "the text cannot be encoded as UTF-8, because it contains surrogates (U+D800 to"
                " U+DFFF): remove them, or publish bytes"
            ) from None
    return _BINARY + data if envelope else data


def decode(channel: str, raw: bytes, envelope: bool = True) -> Message:
    """Decode a message from Redis; every byte string is valid."""
    if raw[:1] == b"\xff":
        return Message(channel, raw[2:] if envelope and raw[:2] == _BINARY else raw, True)
    try:
        raw.decode()
    except UnicodeDecodeError:
        return Message(channel, raw, True)
    return Message(channel, raw)
