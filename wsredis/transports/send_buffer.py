"""What a slow reader has not taken yet, and what is dropped when that is too much.

The frames of one write stay together as a chunk.

Invariants:

* A chunk that is partly sent must go out to its end.
* What belongs to no channel is never dropped: answers, pings, messages to this socket alone.
* The newest message of a channel is never dropped while the socket stays open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from ..hub.encoding import Encoded, Encoding

__all__ = ["SendBuffer"]

CHUNKS_AT_ONCE = 64
"""Whole chunks written with one call of the system."""

Chunk = tuple[bytes, Encoded | None]


class SendBuffer:
    """The bytes that wait for one socket.

    Attributes:
        size: their number.
    """

    __slots__ = ("_begun", "_chunks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._begun = memoryview(b"")  # the rest of a chunk that is partly sent
        self._chunks: deque[Chunk] = deque()

    def __bool__(self) -> bool:
        return self.size > 0

    def put(self, data: bytes, encoded: Encoded | None = None) -> None:
        """Add a chunk; with the messages of a channel that it carries it may be dropped."""
        self._chunks.append((data, encoded))
        self.size += len(data)

    def put_each(self, messages: Iterable[Encoded], encoding: Encoding) -> None:
        """Add messages, a channel's each."""
        for encoded in messages:
            self.put(encoded[encoding], encoded)

    def next_chunks(self) -> list[bytes | memoryview]:
        """Return chunks to write at once."""
        begun = (self._begun,) if self._begun else ()
        return [*begun, *(data for data, _ in islice(self._chunks, CHUNKS_AT_ONCE))]

    def mark_sent(self, size: int) -> None:
        """Forget as many bytes as the socket has taken."""
        self.size -= size
        while size:
            if not self._begun:
                self._begun = memoryview(self._chunks.popleft()[0])
            rest = self._begun[size:]
            size -= len(self._begun) - len(rest)
            self._begun = rest

    def discard(self) -> None:
        """Keep only what the socket is in the middle of."""
        self._chunks.clear()
        self.size = len(self._begun)

    def is_over(self, limit: int) -> bool:
        """Return whether more waits than a limit, beside what is partly sent.

        A single chunk may be larger.
        """
        return self.size - len(self._begun) > limit and len(self._chunks) > 1

    def drop(self, limit: int, overflow: str, encoding: Encoding) -> int:
        """Drop messages, if too much waits, in the way of the option ``overflow``.

        Args:
            limit: bytes that may wait.
            overflow: see `Config`.
            encoding: of the socket.

        Returns:
            The number of messages that were dropped.
        """
        if overflow == "close" or not self.is_over(limit):
            return 0
        dropped = self._keep_latest(encoding) if overflow == "keep-latest" else 0
        if self.is_over(limit):  # an eighth more, or each new message would search them all
            dropped += self._drop_oldest(limit - limit // 8)
        return dropped

    def _drop_oldest(self, limit: int) -> int:
        """Drop the oldest messages, never the newest, until the rest fits."""
        dropped = 0
        passed: list[Chunk] = []
        while self.is_over(limit):
            data, encoded = self._chunks.popleft()
            if encoded is None:
                passed.append((data, encoded))
            else:
                self.size -= len(data)
                dropped += len(encoded.messages)
        self._chunks.extendleft(reversed(passed))
        return dropped

    def _keep_latest(self, encoding: Encoding) -> int:
        """Keep only the newest message of each channel."""
        dropped = 0
        latest: deque[Chunk] = deque()
        seen: set[str] = set()
        self.size = len(self._begun)
        for data, encoded in reversed(self._chunks):
            if encoded is not None:
                channel = encoded.messages[-1].channel
                dropped += len(encoded.messages) - (channel not in seen)
                if channel in seen:
                    continue
                seen.add(channel)
                encoded = encoded.latest
                data = encoded[encoding]
            latest.appendleft((data, encoded))
            self.size += len(data)
        self._chunks = latest
        return dropped
