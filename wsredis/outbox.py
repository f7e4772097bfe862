"""What a slow reader has not taken yet, and what gives way when that is too much.

The frames of one write stay together as a piece. A piece that is partly sent must go out to its
end, and so must what belongs to no channel: answers, pings, messages to this socket alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .listeners import Frames

__all__ = ["Outbox"]

PIECES_AT_ONCE = 64
"""Whole pieces written with one call of the system."""

Piece = tuple[bytes, "Frames | None"]


class Outbox:
    """Hold the bytes that wait for one socket.

    Attributes:
        size: their number.
    """

    __slots__ = ("_begun", "_pieces", "size")

    def __init__(self) -> None:
        self.size = 0
        self._begun = memoryview(b"")  # the rest of a piece that is partly sent
        self._pieces: deque[Piece] = deque()

    def __bool__(self) -> bool:
        return self.size > 0

    def put(self, data: bytes, frames: Frames | None = None) -> None:
        """Add a piece; with the frames of a channel that it was made from it may give way."""
        self._pieces.append((data, frames))
        self.size += len(data)

    def put_first(self, frames: Iterable[Frames], bits: int) -> None:
        """Put messages before all that waits; only while nothing has been sent.

        Args:
            frames: a channel's each.
            bits: the socket's window bits, 0 without compression.
        """
        for each in reversed(list(frames)):
            self._pieces.appendleft((each[bits], each))
            self.size += len(each[bits])

    def next(self) -> list[bytes | memoryview]:
        """Return pieces to write at once."""
        begun = (self._begun,) if self._begun else ()
        return [*begun, *(data for data, _ in islice(self._pieces, PIECES_AT_ONCE))]

    def sent(self, size: int) -> None:
        """Forget as many bytes as the socket has taken."""
        self.size -= size
        while size:
            if not self._begun:
                self._begun = memoryview(self._pieces.popleft()[0])
            rest = self._begun[size:]
            size -= len(self._begun) - len(rest)
            self._begun = rest

    def give_up(self) -> None:
        """Keep only what the socket is in the middle of."""
        self._pieces.clear()
        self.size = len(self._begun)

    def is_over(self, room: int) -> bool:
        """Tell whether more waits than there is room for, beside what is partly sent.

        A single piece may be larger.
        """
        return self.size - len(self._begun) > room and len(self._pieces) > 1

    def make_room(self, room: int, overflow: str, bits: int) -> int:
        """Drop messages, if there is too much, in the way of the option ``overflow``.

        Args:
            room: bytes that may wait.
            overflow: see `Config`.
            bits: the socket's window bits, 0 without compression.

        Returns:
            The number of messages that were dropped.
        """
        if overflow == "close" or not self.is_over(room):
            return 0
        dropped = self._keep_latest(bits) if overflow == "keep-latest" else 0
        if self.is_over(room):  # an eighth more, or each new message would make us search them all
            dropped += self._drop_oldest(room - room // 8)
        return dropped

    def _drop_oldest(self, room: int) -> int:
        """Drop the oldest messages, never the newest, until the rest fits."""
        dropped = 0
        kept: list[Piece] = []
        while self.is_over(room):
            data, frames = self._pieces.popleft()
            if frames is None:
                kept.append((data, frames))
            else:
                self.size -= len(data)
                dropped += len(frames.messages)
        self._pieces.extendleft(reversed(kept))
        return dropped

    def _keep_latest(self, bits: int) -> int:
        """Keep only the newest message of each channel."""
        dropped = 0
        kept: deque[Piece] = deque()
        seen: set[str] = set()
        self.size = len(self._begun)
        for data, frames in reversed(self._pieces):
            if frames is not None:
                channel = frames.messages[-1].channel
                dropped += len(frames.messages) - (channel not in seen)
                if channel in seen:
                    continue
                seen.add(channel)
                frames = frames.latest
                data = frames[bits]
            kept.appendleft((data, frames))
            self.size += len(data)
        self._pieces = kept
        return dropped
