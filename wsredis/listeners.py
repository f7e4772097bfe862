"""One channel's listeners in this process, and the frames that go to all of them.

A message is encoded when the first listener wants it, once for each form that clients have agreed
upon. Listeners stand in rows that are served in turn, round and round as long as anything waits:
each row gets all that has come since its last turn, in one piece. So a message that comes while
others are on their way travels with them from the next row on, and needs no round of its own.
Who writes the frames, and when, is the business of `wsredis.dispatch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .frames import encode_message
from .message import Message

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["TURN", "Apart", "Frames", "Listeners"]

TURN = 128
"""Sockets in a row: those written to before other work of the loop has its turn."""

JOIN_AT_MOST = 1 << 16
"""Bytes of several messages written as one piece; a single message may be larger."""

KINDS = 8
"""Forms of a message: compressed with windows of 9 to 15 bits, and as it is."""

OVERHEAD = 64
"""Bytes counted for a message beside its payload."""


class Frames(dict[int, bytes]):
    """Encode messages of one channel when they are wanted: window bits -> their frames, joined."""

    __slots__ = ("_each", "messages")

    def __init__(self, messages: Sequence[Message], each: Sequence[Frames] = ()) -> None:
        self.messages = messages
        self._each = each

    @classmethod
    def joined(cls, each: Sequence[Frames]) -> Frames:
        """Return the frames of several messages from those of each, at least one."""
        return each[0] if len(each) == 1 else cls([one.messages[0] for one in each], each)

    @property
    def latest(self) -> Frames:
        """Return the frames of the newest message alone, made once."""
        if len(self.messages) == 1:
            return self
        if not self._each:
            self._each = (Frames(self.messages[-1:]),)
        return self._each[-1]

    def __missing__(self, bits: int) -> bytes:
        if len(self._each) == len(self.messages):
            frames = [one[bits] for one in self._each]
            self._each = self._each[-1:]  # an outbox may hold this for long
        else:
            frames = [encode_message(m.payload, m.binary, bits) for m in self.messages]
        joined = self[bits] = b"".join(frames)
        return joined


def weight(message: Message) -> int:
    """Return the bytes that a message counts for while it waits."""
    return len(message.payload) + OVERHEAD


class Row:
    """Stand for listeners who are written to together.

    Attributes:
        bits: what they have agreed upon: the window bits, 0 without compression.
        had: the number of the first message that they have not had.
        sockets: who they are.
    """

    __slots__ = ("bits", "had", "sockets")

    def __init__(self, bits: int, had: int) -> None:
        self.bits = bits
        self.had = had
        self.sockets: list[Connection] = []


Share = tuple[list[Frames], int]
"""What a socket gets of some messages, and how many of them were its own."""

Apart = Mapping["Connection", Share]
"""Who does not get what its row gets, and what they get now."""

NOBODY: Apart = {}


class Listeners:
    """Hold the sockets that listen to one channel. Its messages are numbered as they come.

    Attributes:
        first: the number of the oldest message that waits, or of the next one.
        members: the sockets, each with its row.
        echoes: what members have published and do not want back, with the gaps seen by then.
        joining: sockets whose kept messages are being read, and what has come meanwhile.
        waiting: messages that not all have had; see `wsredis.dispatch`.
        size: the bytes they count for.
    """

    __slots__ = (
        *("_early", "_own", "_piece", "_rows"),
        *("echoes", "first", "joining", "members", "size", "waiting"),
    )

    def __init__(self) -> None:
        self.first = 0
        self.members: dict[Connection, Row] = {}
        self.echoes: list[tuple[Message, Connection, int]] = []
        self.joining: dict[Connection, list[Message]] = {}
        self.waiting: list[Frames] = []
        self.size = 0
        self._rows: list[Row] = []  # the next one to be served first
        self._own: dict[int, Connection] = {}  # who published which of those that wait
        self._early: dict[Connection, int] = {}  # who has had more than its row: up to which one
        self._piece: tuple[int, int, int, Frames] | None = None  # what was made last, and of which

    @property
    def end(self) -> int:
        """Return the number of the next message to come."""
        return self.first + len(self.waiting)

    def add(self, connection: Connection) -> int:
        """Let a socket listen from now on, and remember what comes until `joined`.

        Returns:
            The number of the first message it gets.
        """
        end = self.end
        row = self._row(connection.window_bits, end, 1)
        if row is None:
            row = Row(connection.window_bits, end)
            self._rows.append(row)
        row.sockets.append(connection)
        self.members[connection] = row
        self.joining[connection] = []
        return end

    def joined(self, connection: Connection) -> list[Message]:
        """Return what has come since a socket was added."""
        return self.joining.pop(connection, [])

    def remove(self, connection: Connection) -> int:
        """Drop a socket and return the number of the first message it did not get."""
        self.joining.pop(connection, None)
        row = self.members.pop(connection)
        row.sockets.remove(connection)
        if not row.sockets:
            self._rows.remove(row)
            self._forget()
        return max(row.had, self._early.pop(connection, 0))

    def wait(self, messages: Sequence[Message], gaps: int) -> None:
        """Let messages wait that have arrived in this order.

        What this process publishes comes back in the same order, so only the oldest that is
        still out can be what has just arrived. A gap may have swallowed those from before it.

        Args:
            messages: of this channel.
            gaps: how many there were before these messages.
        """
        if self.echoes:
            for number, message in enumerate(messages, self.end):
                while self.echoes and self.echoes[0][2] != gaps:
                    del self.echoes[0]
                if self.echoes and self.echoes[0][0] == message:
                    self._own[number] = self.echoes.pop(0)[1]
        for recent in self.joining.values():
            recent += messages
        for message in messages:
            self.size += weight(message)
            self.waiting.append(Frames((message,)))

    def ahead(self, connection: Connection) -> Share:
        """Return what waits for a socket, which gets it before its row does."""
        row = self.members.get(connection)
        if row is None or row.had == self.end:
            return [], 0
        start = max(row.had, self._early.get(connection, 0))
        self._early[connection] = self.end
        return self._others(connection, start, self.end)

    def serve(self) -> tuple[Frames, int, Sequence[Connection], Apart]:
        """Take what waits for the next row, as much of it as is written as one piece.

        Call it only while something waits. The sockets may be the row's own list: write to them
        before anybody comes or leaves.

        Returns:
            Frames, the window bits, who gets them, and who of the row gets something else.
        """
        rows, end = self._rows, self.end
        while rows[0].had == end:  # what waits is older than all of these
            rows.append(rows.pop(0))
        row = rows[0]
        start = row.had
        frames = self._frames(start, row.bits)
        row.had = start + len(frames.messages)
        sockets, apart = row.sockets, NOBODY
        if self._own or self._early:
            apart = self._apart(row, start)
            sockets = [connection for connection in sockets if connection not in apart]
        if len(rows) > 1:
            del rows[0]
            self._settle(row)
        if rows[0].had > self.first:
            self._forget()
        return frames, row.bits, sockets, apart

    def lost(self, message: Message, sender: Connection) -> None:
        """Expect no longer that what a member has published comes back."""
        for index, echo in enumerate(self.echoes):  # nearly always the first
            if echo[:2] == (message, sender):
                del self.echoes[index]
                return

    def _row(self, bits: int, had: int, size: int) -> Row | None:
        """Return one of the last rows that such listeners fit into."""
        for row in reversed(self._rows[-KINDS:]):
            if row.bits == bits and row.had == had and len(row.sockets) + size <= TURN:
                return row
        return None

    def _settle(self, row: Row) -> None:
        """Put a row that was served behind the others, or let it fill up one of the last."""
        other = self._row(row.bits, row.had, len(row.sockets))
        if other is None:
            self._rows.append(row)
        else:
            other.sockets += row.sockets
            self.members.update(dict.fromkeys(row.sockets, other))

    def _frames(self, start: int, bits: int) -> Frames:
        """Return messages from a number on, as many as are written as one piece."""
        if len(self.waiting) == 1:
            return self.waiting[0]
        if self._piece is None or self._piece[:3] != (start, self.end, bits):
            at = stop = start - self.first
            size = len(self.waiting[at].messages[0].payload)
            while size <= JOIN_AT_MOST and (stop := stop + 1) < len(self.waiting):
                size += len(self.waiting[stop].messages[0].payload)
            joined = Frames.joined(self.waiting[at : max(stop, at + 1)])
            self._piece = start, self.end, bits, joined
        return self._piece[3]

    def _forget(self) -> None:
        """Drop what all have had."""
        first = end = self.end
        for row in self._rows:
            if row.had < first:
                first = row.had
        if first == end:
            self.waiting.clear()
            self.size = 0
            self._piece = None
        else:
            had = self.waiting[: first - self.first]
            self.size -= sum(weight(one.messages[0]) for one in had)
            del self.waiting[: len(had)]
        self.first = first
        if self._own:
            self._own = {number: who for number, who in self._own.items() if number >= first}

    def _apart(self, row: Row, start: int) -> Apart:
        """Say who of a row has had some of its next messages, or has published some of them."""
        senders = {self._own[number] for number in range(start, row.had) if number in self._own}
        special = [c for c in row.sockets if c in self._early or c in senders]
        apart = {}
        for connection in special:
            had = self._early.get(connection, start)
            if had <= row.had:
                self._early.pop(connection, None)
            apart[connection] = self._others(connection, max(had, start), row.had)
        return apart

    def _others(self, connection: Connection, start: int, stop: int) -> Share:
        """Return those of some that wait that a socket has not published itself."""
        there = self.waiting[start - self.first : stop - self.first]
        numbered = enumerate(there, start)
        theirs = [one for number, one in numbered if self._own.get(number) is not connection]
        return theirs, len(there) - len(theirs)
