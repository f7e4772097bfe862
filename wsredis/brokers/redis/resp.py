"""The part of Redis' wire protocol (RESP3) that a feed needs.

redis-py sets up the connection. This parser reads all replies that have arrived in one iteration of
the loop at once, so that messages can be delivered together.
See https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

__all__ = ["Parser", "Push", "ReplyError", "pack", "pack_ranges"]


class ReplyError(Exception):
    """An error reply of Redis; it is returned, not raised."""


class Push(list[Any]):
    """Data that Redis sends without a request, such as a published message."""


class _Incomplete(Exception):
    """An element whose end has not arrived yet."""


def pack_ranges(names: Sequence[str], size: int, before: bytes = b"") -> bytes:
    """Return a GETRANGE for each name that reads the first bytes of its value.

    Args:
        names: the keys.
        size: number of bytes.
        before: a packed command to send before each GETRANGE.
    """
    last = b"%d" % (size - 1)
    end = b"$1\r\n0\r\n$%d\r\n%b\r\n" % (len(last), last)
    parts = []
    for name in names:
        raw = name.encode()
        parts.append(b"%b*4\r\n$8\r\nGETRANGE\r\n$%d\r\n%b\r\n%b" % (before, len(raw), raw, end))
    return b"".join(parts)


def pack(*words: str | bytes | int) -> bytes:
    """Return a command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


_MESSAGE = b">3\r\n$7\r\nmessage\r\n$"
_SUBSCRIBED = b">3\r\n$9\r\nsubscribe\r\n$"

MAX_DEPTH = 16
"""Maximum nesting of arrays; wsredis needs two levels."""

MAX_REPLY = 1 << 29
"""Maximum bytes of a reply: the default of Redis' ``proto-max-bulk-len``."""

MAX_LINE = 1 << 16
"""Maximum bytes of a number, a simple string, an error or a length."""

_OPEN = object()
"""The value of `Parser._element` while an array is not complete."""


def _check_none(size: int) -> None:
    """Refuse a negative length other than -1, which stands for null."""
    if size != -1:
        raise ValueError(f"not a length: {size}")


class Parser:
    """An incremental parser of the replies of Redis.

    Each element is parsed once: ``_open`` contains the arrays that are not complete, the outermost
    first, each with its size.
    """

    def __init__(self) -> None:
        self._held = bytearray()  # the beginning of an incomplete element
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._open: list[tuple[list[Any], int]] = []
        self._size = 0  # bytes of the incomplete reply
        self._between: list[Push] = []

    def feed(self, data: bytes | memoryview) -> list[Any]:
        """Take bytes and return the replies that are now complete.

        Bulk strings are bytes, numbers int, null None, arrays list, maps a list of keys and values,
        pushes `Push`, errors `ReplyError`.

        Raises:
            ValueError: the bytes violate the protocol, or a reply is larger than `MAX_REPLY`; the
                connection must be closed.
        """
        if self._held:
            self._held += data
        buffer = self._buffer = self._held or bytes(data)
        replies: list[Any] = []
        self._at = whole = 0
        try:
            while whole < len(buffer):
                kind = buffer[whole]
                if kind == 36:  # $ bulk string
                    reply: Any = self._bulk(whole + 1)
                elif kind != 62 or self._open or (reply := self._push()) is None:
                    reply = self._element()
                if self._open:
                    self._size += self._at - whole
                    self._complete(reply, replies)
                else:
                    replies.append(reply)
                whole = self._at
        except _Incomplete:
            pass
        if whole or buffer is not self._held:
            self._held = bytearray(buffer[whole:])
        return replies

    def _push(self) -> Push | None:
        """Read a message or a confirmation, the common cases, without parsing each element."""
        buffer, at = self._buffer, self._at
        if buffer.startswith(_MESSAGE, at):
            channel = self._bulk(at + len(_MESSAGE))
            if buffer.startswith(b"$", self._at):
                return Push([b"message", channel, self._bulk(self._at + 1)])
        elif buffer.startswith(_SUBSCRIBED, at):
            channel = self._bulk(at + len(_SUBSCRIBED))
            if buffer.startswith(b":", self._at):
                count = self._element()
                return Push([b"subscribe", channel, count])
        self._at = at
        return None

    def _bulk(self, at: int) -> bytes | None:
        """Read a bulk string whose length starts at an index; None for a length of -1."""
        buffer = self._buffer
        end = buffer.find(b"\r\n", at, at + MAX_LINE)
        if end < 0:
            self._expect_line(at)
        start = end + 2
        size = int(buffer[at:end])
        if size < 0:
            _check_none(size)
            self._at = start
            return None
        if size > MAX_REPLY:
            raise ValueError(f"a string of {size} bytes")
        stop = start + size
        if stop + 2 > len(buffer):
            raise _Incomplete
        self._at = stop + 2
        return bytes(buffer[start:stop])

    def _expect_line(self, at: int) -> NoReturn:
        """Wait for the end of a line, unless it is too long already."""
        if len(self._buffer) - at >= MAX_LINE:
            raise ValueError("a line without an end")
        raise _Incomplete

    def _element(self) -> Any:
        """Read one element; return `_OPEN` for the beginning of an array."""
        buffer, at = self._buffer, self._at
        kind = buffer[at]
        end = buffer.find(b"\r\n", at, at + MAX_LINE)
        if end < 0:
            self._expect_line(at)
        line = bytes(buffer[at + 1 : end])
        value: Any
        if kind == 58:  # : number
            value = int(line)
        elif kind in (42, 62, 37):  # * array, > push, % map
            size = int(line) * (2 if kind == 37 else 1)
            if size > 0:
                if len(self._open) == MAX_DEPTH:
                    raise ValueError("arrays nested too deep")
                self._open.append((Push() if kind == 62 else [], size))
                self._at = end + 2
                return _OPEN
            if size < 0:
                _check_none(size)
            value = None if size else Push() if kind == 62 else []
        elif kind == 43:  # + simple string
            value = line
        elif kind == 45:  # - error
            value = ReplyError(line.decode(errors="replace"))
        elif kind == 95:  # _ null
            value = None
        else:
            raise ValueError(f"not a reply of Redis: {bytes(buffer[at : at + 1])!r}")
        self._at = end + 2
        return value

    def _complete(self, value: Any, replies: list[Any]) -> None:
        """Add an element to its array, and the arrays that it completes to theirs or the replies.

        A push inside an array is moved before it: Redis before 7.2 writes a message into the reply
        to EXEC if the publishing connection is also a subscriber.
        """
        if self._size > MAX_REPLY:
            raise ValueError(f"a reply of more than {MAX_REPLY} bytes")
        while value is not _OPEN:
            if not self._open:
                self._size = 0
                replies += self._between
                replies.append(value)
                self._between.clear()
                return
            found, size = self._open[-1]
            if isinstance(value, Push) and not isinstance(found, Push):
                self._between.append(value)
            else:
                found.append(value)
            value = self._open.pop()[0] if len(found) == size else _OPEN
