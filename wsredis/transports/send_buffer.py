"""The send buffer of a slow client, and the messages that are dropped when it is full.

The frames of one write stay together as a chunk.

Invariants:

* A chunk that is partly sent must be sent to its end.
* Frames that belong to no channel are never dropped: pongs, pings, messages to this client only.
* The newest message of a channel is never dropped while the socket stays open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from ..hub.encoding import Encoded, Encoding

__all__ = ["SendBuffer"]

CHUNKS_AT_ONCE = 64
"""Maximum complete chunks written with one system call."""

Chunk = tuple[bytes, Encoded | None]


class SendBuffer:
    """A buffer of the bytes that wait to be sent to one socket.

    Attributes:
        size: number of bytes.
    """

    __slots__ = ("_begun", "_chunks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._begun = memoryview(b"")  # the rest of a chunk that is partly sent
        self._chunks: deque[Chunk] = deque()

    def __bool__(self) -> bool:
        return self.size > 0

    def put(self, data: bytes, encoded: Encoded | None = None) -> None:
        """Add a chunk; it may be dropped if ``encoded``, the messages it contains, is given."""
        self._chunks.append((data, encoded))
        self.size += len(data)

    def prepend(self, data: bytes) -> None:
        """Put bytes before all chunks; like a chunk that is partly sent, they are never discarded.

        Nothing may have been sent before.
        """
        self._begun = memoryview(data)
        self.size += len(data)

    def put_each(self, messages: Iterable[Encoded], encoding: Encoding) -> None:
        """Add messages, each object those of one channel."""
        for encoded in messages:
            self.put(encoded[encoding], encoded)

    def next_chunks(self) -> list[bytes | memoryview]:
        """Return the chunks to write with one system call."""
        begun = (self._begun,) if self._begun else ()
        return [*begun, *(data for data, _ in islice(self._chunks, CHUNKS_AT_ONCE))]

    def mark_sent(self, size: int) -> None:
        """Remove the bytes that the socket has taken.

        Args:
            size: number of bytes.
        """
        self.size -= size
        while size:
            if not self._begun:
                self._begun = memoryview(self._chunks.popleft()[0])
            rest = self._begun[size:]
            size -= len(self._begun) - len(rest)
            self._begun = rest

    def discard(self) -> None:
        """Remove everything but the rest of a partly sent chunk."""
        self._chunks.clear()
        self.size = len(self._begun)

    def is_over(self, limit: int) -> bool:
        """Return whether more bytes wait than a limit, not counting a partly sent chunk.

        A single chunk may be larger than the limit.
        """
        return self.size - len(self._begun) > limit and len(self._chunks) > 1

    def drop(self, limit: int, overflow: str, encoding: Encoding) -> int:
        """Drop messages if the buffer is over a limit, as the option ``overflow`` says.

        Args:
            limit: maximum bytes that may wait.
            overflow: see `Config`.
            encoding: the encoding of the client.

        Returns:
            The number of messages that were dropped.
        """
        if overflow == "close" or not self.is_over(limit):
            return 0
        dropped = self._keep_latest(encoding) if overflow == "keep-latest" else 0
        if self.is_over(limit):  # an eighth more, else each new message would search the buffer
            dropped += self._drop_oldest(limit - limit // 8)
        return dropped

    def _drop_oldest(self, limit: int) -> int:
        """Drop the oldest messages, but never the newest, until the rest fits."""
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
