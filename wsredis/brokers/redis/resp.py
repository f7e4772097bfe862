"""The part of Redis' wire protocol (RESP3) that a feed needs.

redis-py sets up the connection. This parser reads all replies that have arrived in one iteration of
the loop at once, so that messages can be delivered together.
See https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Parser", "Push", "ReplyError", "pack"]


class ReplyError(Exception):
    """An error reply of Redis; it is returned, not raised."""


class Push(list[Any]):
    """Data that Redis sends without a request, such as a published message."""


class _Incomplete(Exception):
    """A reply whose end has not arrived yet."""


def pack(*words: str | bytes | int) -> bytes:
    """Return a command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


_MESSAGE = b">3\r\n$7\r\nmessage\r\n$"

MAX_DEPTH = 16
"""Maximum nesting of arrays, so that no reply exhausts the stack; wsredis needs two levels."""


def _check_none(size: int) -> None:
    """Refuse a negative length other than -1, which stands for null."""
    if size != -1:
        raise ValueError(f"not a length: {size}")


class Parser:
    """An incremental parser of the replies of Redis."""

    def __init__(self) -> None:
        self._held = bytearray()  # the beginning of an incomplete reply
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._between: list[Push] = []

    def feed(self, data: bytes | memoryview) -> list[Any]:
        """Take bytes and return the replies that are now complete.

        Bulk strings are bytes, numbers int, null None, arrays list, pushes `Push`, errors
        `ReplyError`.

        Raises:
            ValueError: the bytes violate the protocol; the connection must be closed.
        """
        if self._held:
            self._held += data
        buffer = self._buffer = self._held or bytes(data)
        replies: list[Any] = []
        self._at = whole = 0
        try:
            while whole < len(buffer):
                reply = self._message() or self._reply()
                replies += self._between
                replies.append(reply)
                self._between.clear()
                whole = self._at
        except _Incomplete:
            pass
        self._between.clear()
        if whole or buffer is not self._held:
            self._held = bytearray(buffer[whole:])
        return replies

    def _message(self) -> Push | None:
        """Read a published message, the common case, without parsing each element."""
        buffer, at = self._buffer, self._at
        if not buffer.startswith(_MESSAGE, at):
            return None
        channel = self._bulk(at + len(_MESSAGE))
        if buffer.startswith(b"$", self._at):
            return Push([b"message", channel, self._bulk(self._at + 1)])
        self._at = at
        return None

    def _bulk(self, at: int) -> bytes | None:
        """Read a bulk string whose length starts at an index; None for a length of -1."""
        buffer = self._buffer
        end = buffer.find(b"\r\n", at)
        if end < 0:
            raise _Incomplete
        start = end + 2
        size = int(buffer[at:end])
        if size < 0:
            _check_none(size)
            self._at = start
            return None
        stop = start + size
        if stop + 2 > len(buffer):
            raise _Incomplete
        self._at = stop + 2
        return bytes(buffer[start:stop])

    def _reply(self, depth: int = 0) -> Any:
        buffer = self._buffer
        at = self._at
        if depth > MAX_DEPTH:
            raise ValueError("arrays nested too deep")
        if at == len(buffer):
            raise _Incomplete
        kind = buffer[at]
        if kind == 36:  # $ bulk string
            return self._bulk(at + 1)
        end = buffer.find(b"\r\n", at)
        if end < 0:
            raise _Incomplete
        line = bytes(buffer[at + 1 : end])
        self._at = end + 2
        if kind == 58:  # : number
            return int(line)
        if kind == 62:  # > push
            return Push([self._reply(depth + 1) for _ in range(int(line))])
        if kind == 42:  # * array
            size = int(line)
            if size >= 0:
                return self._array(size, depth + 1)
            _check_none(size)
            return None
        if kind == 43:  # + simple string
            return line
        if kind == 45:  # - error
            return ReplyError(line.decode(errors="replace"))
        if kind == 95:  # _ null
            return None
        raise ValueError(f"not a reply of Redis: {bytes(buffer[at : at + 1])!r}")

    def _array(self, size: int, depth: int) -> list[Any]:
        """Read an array and move the pushes inside it before the array.

        Redis before 7.2 writes a message into the reply to EXEC if the publishing connection is
        also a subscriber.
        """
        found: list[Any] = []
        while len(found) < size:
            reply = self._reply(depth)
            if isinstance(reply, Push):
                self._between.append(reply)
            else:
                found.append(reply)
        return found
