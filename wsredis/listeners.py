"""One channel's listeners in this process, and the frames that go to all of them.

A message is encoded when the first listener wants it, once for each form that clients have agreed
upon. Who writes the frames, and when, is the business of `wsredis.hub`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .frames import encode_message
from .message import Message

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Apart", "Frames", "Groups", "Listeners", "parts", "weight"]

JOIN_AT_MOST = 1 << 16
"""Bytes of several messages written as one piece; a single message may be larger."""

Groups = tuple[tuple[int, tuple["Connection", ...]], ...]
"""Listeners by the frames they get: window bits, 0 without compression, and who has them."""

Apart = dict["Connection", tuple[list[Message], int]]
"""Listeners who do not get all: what they get now, and how many messages were their own."""

OVERHEAD = 64
"""Bytes counted for a message beside its payload."""


class Frames(dict[int, bytes]):
    """Encode messages of one channel when they are wanted: window bits -> their frames, joined."""

    __slots__ = ("_latest", "messages")

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self._latest: Frames | None = None

    @property
    def latest(self) -> Frames:
        """Return the frames of the newest message alone, made once."""
        if len(self.messages) == 1:
            return self
        if self._latest is None:
            self._latest = Frames(self.messages[-1:])
        return self._latest

    def __missing__(self, bits: int) -> bytes:
        frames = [encode_message(m.payload, m.binary, bits) for m in self.messages]
        joined = self[bits] = frames[0] if len(frames) == 1 else b"".join(frames)
        return joined


def parts(messages: list[Message]) -> Iterator[list[Message]]:
    """Split what goes to one channel into pieces that are small enough to be joined."""
    start = size = 0
    for index, message in enumerate(messages):
        size += len(message.payload)
        if size > JOIN_AT_MOST and index > start:
            yield messages[start:index]
            start, size = index, len(message.payload)
    yield messages[start:]


def weight(messages: Sequence[Message]) -> int:
    """Return the bytes that messages count for while they wait."""
    return sum(len(message.payload) + OVERHEAD for message in messages)


class Listeners:
    """Hold the sockets that listen to one channel.

    Attributes:
        count: messages so far, without those that wait.
        members: the sockets, and what ``count`` will be when the first message for them is taken.
        echoes: what members have published and do not want back, with the gaps seen by then.
        joining: sockets whose kept messages are being read, and what has come meanwhile.
        waiting: messages that have arrived and were not taken; see `wsredis.dispatch`.
    """

    __slots__ = ("_early", "_groups", "_own", "count", "echoes", "joining", "members", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.members: dict[Connection, int] = {}
        self.echoes: deque[tuple[Message, Connection, int]] = deque()
        self.joining: dict[Connection, list[Message]] = {}
        self.waiting: list[Message] = []
        self._own: dict[int, Connection] = {}  # who published which of those that wait
        self._early: dict[Connection, int] = {}  # who has had how many of them
        self._groups: Groups | None = None

    def add(self, connection: Connection) -> None:
        """Let a socket listen from now on, and remember what comes until `joined`."""
        self.members[connection] = self.count + len(self.waiting)
        if self.waiting:  # they are older than it
            self._early[connection] = len(self.waiting)
        self.joining[connection] = []
        self._groups = None

    def joined(self, connection: Connection) -> list[Message]:
        """Return what has come since a socket was added, and what it will get."""
        return self.joining.pop(connection, []) + self.waiting[self._early.get(connection, 0) :]

    def remove(self, connection: Connection) -> int:
        """Drop a socket and return how many messages it got."""
        self._groups = None
        return max(0, self.count - self.members.pop(connection))

    def wait(self, messages: Sequence[Message], gaps: int) -> None:
        """Let messages wait that have arrived in this order.

        What this process publishes comes back in the same order, so only the oldest that is
        still out can be what has just arrived. A gap may have swallowed those from before it.

        Args:
            messages: of this channel.
            gaps: how many there were before these messages.
        """
        if self.echoes:
            for index, message in enumerate(messages, len(self.waiting)):
                while self.echoes and self.echoes[0][2] != gaps:
                    self.echoes.popleft()
                if self.echoes and self.echoes[0][0] == message:
                    self._own[index] = self.echoes.popleft()[1]
        self.waiting += messages

    def ahead(self, connection: Connection) -> list[Message]:
        """Return what waits for a socket, which gets it before the others do."""
        if connection not in self.members:
            return []
        start = self._early.get(connection, 0)
        self._early[connection] = len(self.waiting)
        return self._others(connection, start, len(self.waiting))

    def take(self) -> tuple[Sequence[Message], Groups, Apart]:
        """Take as many of the messages that wait as are written as one piece.

        Returns:
            The messages, who gets all of them, and who gets something else. Listeners may leave
            meanwhile.
        """
        messages = next(parts(self.waiting))
        apart = self._apart(len(messages)) if self._own or self._early else {}
        del self.waiting[: len(messages)]
        self.count += len(messages)
        for connection, recent in self.joining.items():
            recent += apart[connection][0] if connection in apart else messages
        if self._groups is None:
            by_bits: dict[int, list[Connection]] = {}
            for connection in self.members:
                by_bits.setdefault(connection.window_bits, []).append(connection)
            self._groups = tuple((bits, tuple(group)) for bits, group in by_bits.items())
        groups = self._groups
        if apart:
            groups = tuple((b, tuple(c for c in group if c not in apart)) for b, group in groups)
        return messages, groups, apart

    def _apart(self, count: int) -> Apart:
        """Say who has had some of the next messages, or has published some of them."""
        senders = [sender for index, sender in self._own.items() if index < count]
        apart: Apart = {}
        for connection in {*senders, *self._early} & self.members.keys():
            theirs = self._others(connection, self._early.get(connection, 0), count)
            apart[connection] = theirs, senders.count(connection)
        self._own = {i - count: sender for i, sender in self._own.items() if i >= count}
        self._early = {c: had - count for c, had in self._early.items() if had > count}
        return apart

    def _others(self, connection: Connection, start: int, stop: int) -> list[Message]:
        """Return those of some that wait that a socket has not published itself."""
        there = enumerate(self.waiting[start:stop], start)
        return [message for index, message in there if self._own.get(index) is not connection]

    def lost(self, message: Message, sender: Connection) -> None:
        """Expect no longer that what a member has published comes back."""
        for index, echo in enumerate(self.echoes):  # nearly always the first
            if echo[:2] == (message, sender):
                del self.echoes[index]
                return
