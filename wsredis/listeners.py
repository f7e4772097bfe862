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

__all__ = ["Frames", "Groups", "Listeners", "parts"]

JOIN_AT_MOST = 1 << 16
"""Bytes of several messages written as one piece; a single message may be larger."""

Groups = tuple[tuple[int, tuple["Connection", ...]], ...]
"""Listeners by the frames they get: window bits, 0 without compression, and who has them."""


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


class Listeners:
    """Hold the sockets that listen to one channel.

    Attributes:
        count: messages so far.
        members: the sockets, and what ``count`` was when they came.
        echoes: what members have published and do not want back, with the gaps seen by then.
        joining: sockets whose kept messages are being read, and what has come meanwhile.
    """

    __slots__ = ("_groups", "count", "echoes", "joining", "members")

    def __init__(self) -> None:
        self.count = 0
        self.members: dict[Connection, int] = {}
        self.echoes: deque[tuple[Message, Connection, int]] = deque()
        self.joining: dict[Connection, list[Message]] = {}
        self._groups: Groups | None = None

    def add(self, connection: Connection) -> None:
        """Let a socket listen from now on, and remember what comes until `joined`."""
        self.members[connection] = self.count
        self.joining[connection] = []
        self._groups = None

    def joined(self, connection: Connection) -> list[Message]:
        """Return what has come since a socket was added."""
        return self.joining.pop(connection, [])

    def remove(self, connection: Connection) -> int:
        """Drop a socket and return how many messages it got."""
        self._groups = None
        return self.count - self.members.pop(connection)

    def take(self, messages: Sequence[Message]) -> Groups:
        """Count messages and return who gets them; a copy, as listeners may leave meanwhile."""
        self.count += len(messages)
        for recent in self.joining.values():
            recent += messages
        if self._groups is None:
            groups: dict[int, list[Connection]] = {}
            for connection in self.members:
                groups.setdefault(connection.window_bits, []).append(connection)
            self._groups = tuple((bits, tuple(group)) for bits, group in groups.items())
        return self._groups

    def without_own(
        self, messages: Sequence[Message], gaps: int
    ) -> dict[Connection, list[Message]]:
        """Return, for the senders among the members, the messages less their own.

        What this process publishes comes back in the same order, so only the oldest that is
        still out can be what has just arrived. A gap may have swallowed those from before it.
        """
        rest: dict[Connection, list[Message]] = {}
        for index, message in enumerate(messages):
            while self.echoes and self.echoes[0][2] != gaps:
                self.echoes.popleft()
            own = bool(self.echoes) and self.echoes[0][0] == message
            sender = self.echoes.popleft()[1] if own else None
            for connection, kept in rest.items():
                if connection is not sender:
                    kept.append(message)
            if sender in self.members and sender not in rest:
                rest[sender] = list(messages[:index])
        return rest

    def lost(self, message: Message, sender: Connection) -> None:
        """Expect no longer that what a member has published comes back."""
        for index, echo in enumerate(self.echoes):  # nearly always the first
            if echo[:2] == (message, sender):
                del self.echoes[index]
                return
