"""The send buffer of a slow client, and the messages that are dropped when it is full.

The frames of one write stay together as a chunk.

Invariants:

* A chunk that is partly sent must be sent to its end.
* The chunks that it contains, also the one that is partly sent, are counted in ``memory``.
* Frames that belong to no channel are never dropped: pongs, pings, messages to this client only.
* The newest message of a channel is never dropped while the socket stays open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from ..hub.encoding import Encoded, Encoding
from ..hub.memory import OVERHEAD, BufferMemory

__all__ = ["SendBuffer"]

CHUNKS_AT_ONCE = 64
"""Maximum complete chunks written with one system call."""

Chunk = tuple[bytes, Encoded | None]


class SendBuffer:
    """A buffer of the bytes that wait to be sent to one socket.

    Args:
        memory: counts the chunks of all send buffers.

    Attributes:
        size: number of bytes.
    """

    __slots__ = ("_begun", "_chunks", "_memory", "_pong", "size")

    def __init__(self, memory: BufferMemory) -> None:
        self.size = 0
        self._memory = memory
        self._pong: bytes | None = None  # sent before the other chunks
        self._begun = memoryview(b"")  # the rest of a chunk that is partly sent
        self._chunks: deque[Chunk] = deque()

    def __bool__(self) -> bool:
        return self.size > 0

    def put(self, data: bytes, encoded: Encoded | None = None) -> None:
        """Add a chunk; it may be dropped if ``encoded``, the messages it contains, is given."""
        self._chunks.append((data, encoded))
        self._count(data)

    def put_pong(self, data: bytes) -> None:
        """Add a pong in place of one that waits (RFC 6455 section 5.5.3)."""
        if self._pong is not None:
            self._drop(self._pong)
        self._pong = data
        self._count(data)

    def prepend(self, data: bytes) -> None:
        """Put bytes before all chunks; like a chunk that is partly sent, they are never discarded.

        Nothing may have been sent before.
        """
        self._begun = memoryview(data)
        self._count(data)

    def _count(self, data: bytes) -> None:
        self.size += len(data)
        self._memory.waiting += len(data)
        self._memory.add(data)

    def _drop(self, data: bytes) -> None:
        self.size -= len(data)
        self._memory.waiting -= len(data)
        self._memory.remove(data)

    def put_each(self, messages: Iterable[Encoded], encoding: Encoding) -> None:
        """Add messages, each object those of one channel."""
        for encoded in messages:
            self.put(encoded[encoding], encoded)

    def next_chunks(self) -> list[bytes | memoryview]:
        """Return the chunks to write with one system call."""
        first: list[bytes | memoryview] = [self._begun] if self._begun else []
        if self._pong is not None:
            first.append(self._pong)
        return first + [data for data, _ in islice(self._chunks, CHUNKS_AT_ONCE)]

    def mark_sent(self, size: int) -> None:
        """Remove the bytes that the socket has taken.

        Args:
            size: number of bytes.
        """
        self.size -= size
        self._memory.waiting -= size
        while size:
            if not self._begun:
                if self._pong is not None:
                    data, self._pong = self._pong, None
                else:
                    data = self._chunks.popleft()[0]
                self._begun = memoryview(data)
            rest = self._begun[size:]
            size -= len(self._begun) - len(rest)
            if not rest:
                self._memory.remove(self._begun.obj)  # type: ignore[arg-type] # it is of bytes
            self._begun = rest

    def discard(self) -> None:
        """Remove everything but the rest of a partly sent chunk."""
        if self._pong is not None:
            self._drop(self._pong)
            self._pong = None
        while self._chunks:
            self._drop(self._chunks.pop()[0])

    def clear(self) -> None:
        """Remove everything, also the rest of a partly sent chunk."""
        self.discard()
        if self._begun:
            self._memory.waiting -= self.size
            self._memory.remove(self._begun.obj)  # type: ignore[arg-type] # it is of bytes
            self._begun, self.size = memoryview(b""), 0

    @property
    def weight(self) -> int:
        """Return the number of bytes with the memory that each chunk takes besides its own."""
        return self.size + OVERHEAD * len(self._chunks)

    def is_over(self, limit: int) -> bool:
        """Return whether more bytes wait than a limit, not counting a partly sent chunk.

        A single chunk may be larger than the limit. The memory that each chunk takes counts, too.
        """
        return len(self._chunks) > 1 and self.weight - len(self._begun) > limit

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
                self._drop(data)
                dropped += len(encoded.messages)
        self._chunks.extendleft(reversed(passed))
        return dropped

    def _keep_latest(self, encoding: Encoding) -> int:
        """Keep only the newest message of each channel."""
        dropped = 0
        latest: deque[Chunk] = deque()
        seen: set[str] = set()
        for data, encoded in reversed(self._chunks):
            if encoded is not None:
                channel = encoded.messages[-1].channel
                dropped += len(encoded.messages) - (channel not in seen)
                self._drop(data)
                if channel in seen:
                    continue
                seen.add(channel)
                encoded = encoded.latest
                data = encoded[encoding]
                self._count(data)
            latest.appendleft((data, encoded))
        self._chunks = latest
        return dropped
