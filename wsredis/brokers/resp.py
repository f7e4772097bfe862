"""The part of Redis' wire protocol (RESP3) that a feed needs, and nothing of its meaning.

Sending and setting up a connection are redis-py's work; what a feed adds is reading everything
that one turn of the loop has brought at once, which is what lets messages be joined.
See https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Parser", "Push", "ReplyError", "pack"]


class ReplyError(Exception):
    """Be what Redis answers instead of a result; parsed, not raised."""


class Push(list[Any]):
    """Be data that Redis sends without being asked, such as a published message."""


class _Incomplete(Exception):
    """The reply goes on in bytes that have not arrived."""


def pack(*words: str | bytes | int) -> bytes:
    """Return a command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class Parser:
    """Turn bytes of Redis into replies, whatever pieces they come in."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._between: list[Push] = []

    def feed(self, data: bytes | memoryview) -> list[Any]:
        """Take bytes and return the replies that are now whole.

        Bulk strings are bytes, numbers int, null None, arrays list, pushes `Push`, errors
        `ReplyError`.

        Raises:
            ValueError: these bytes are not the protocol; the connection is of no use any more.
        """
        self._buffer += data
        replies: list[Any] = []
        whole = 0
        try:
            while whole < len(self._buffer):
                reply = self._reply()
                replies += self._between
                replies.append(reply)
                self._between.clear()
                whole = self._at
        except _Incomplete:
            pass
        del self._buffer[:whole]
        self._at = 0
        self._between.clear()
        return replies

    def _reply(self) -> Any:
        buffer = self._buffer
        end = buffer.find(b"\r\n", self._at)
        if end < 0:
            raise _Incomplete
        kind, line = buffer[self._at], buffer[self._at + 1 : end]
        self._at = end + 2
        if kind == 36:  # $ bulk string
            size = int(line)
            if size < 0:
                return None
            start, stop = self._at, self._at + size
            if stop + 2 > len(buffer):
                raise _Incomplete
            self._at = stop + 2
            return bytes(buffer[start:stop])
        if kind == 58:  # : number
            return int(line)
        if kind == 62:  # > push
            return Push([self._reply() for _ in range(int(line))])
        if kind == 42:  # * array
            return self._array(int(line)) if line != b"-1" else None
        if kind == 43:  # + simple string
            return bytes(line)
        if kind == 45:  # - error
            return ReplyError(line.decode(errors="replace"))
        if kind == 95:  # _ null
            return None
        raise ValueError(f"not a reply of Redis: {bytes(buffer[:1])!r}")

    def _array(self, size: int) -> list[Any]:
        """Read an array and put aside the pushes in it, which come before it then.

        Redis before 7.2 writes a message into the middle of EXEC's reply when the one who
        publishes has subscribed as well.
        """
        found: list[Any] = []
        while len(found) < size:
            reply = self._reply()
            if isinstance(reply, Push):
                self._between.append(reply)
            else:
                found.append(reply)
        return found
