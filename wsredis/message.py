"""The message that all packages share, and its form in Redis.

Text travels raw, so that ``redis-cli`` can publish and read it. Binary travels in an envelope: a
first byte 0xFF, which no UTF-8 text can start with, the letter ``B``, then the payload. Bytes that
are neither valid UTF-8 nor in such an envelope were published by somebody else, and are binary as
they stand. Without the envelope (option ``envelope``) binary travels raw too, and what is valid
UTF-8 arrives as text. How a message becomes a websocket frame belongs to
`wsredis.protocol.frames`.
"""

from __future__ import annotations

import json
from typing import NamedTuple

__all__ = ["Data", "Message", "decode", "dump", "encode"]

Data = str | bytes
"""What a message holds: text or binary."""

_BINARY = b"\xffB"


class Message(NamedTuple):
    """What was published to one channel.

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
        """Return the payload as the str or bytes that was published."""
        return self.payload if self.binary else self.payload.decode()


def dump(value: object) -> Data:
    """Return str and bytes as they are, and anything else as JSON text.

    Raises:
        TypeError: the value is not JSON-serializable (RFC 8259; NaN and infinities are not).
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise TypeError(f"publish takes str, bytes or what json.dumps understands: {exc}") from exc


def encode(data: Data, envelope: bool = True) -> bytes:
    """Return the bytes that stand for ``data`` in Redis.

    Args:
        data: text or binary.
        envelope: whether binary is marked as such.

    Raises:
        ValueError: the text has a lone surrogate and so no UTF-8 form.
    """
    if isinstance(data, str):
        return data.encode()
    return _BINARY + data if envelope else data


def decode(channel: str, raw: bytes, envelope: bool = True) -> Message:
    """Return the message that ``raw`` stands for; every byte string stands for one."""
    if raw[:1] == b"\xff":
        return Message(channel, raw[2:] if envelope and raw[:2] == _BINARY else raw, True)
    try:
        raw.decode()
    except UnicodeDecodeError:
        return Message(channel, raw, True)
    return Message(channel, raw)
