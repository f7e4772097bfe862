"""One channel's subscribers in this process, and the messages that not all of them have had.

Messages are numbered as they come. Subscribers stand in batches that are served in turn, round and
round as long as anything waits: each batch gets all that has come since its last turn, in one
chunk. So a message that comes while others are on their way travels with them from the next batch
on, and needs no round of its own. Who writes the chunks, and when, is decided in
`wsredis.hub.dispatch`.

Invariants:

* ``head`` <= the cursor of every batch <= ``tail``. A batch's cursor is the number of the first
  message its subscribers have not had; ``waiting`` holds exactly the messages from ``head`` to
  ``tail`` - 1, and ``head`` is the lowest cursor whenever something waits.
* A subscriber may be ahead of its batch, never behind it: ``_cursors`` holds the cursor of its own
  until the batch has caught up.
* A subscriber in ``joining`` is in no batch: what comes is collected for it until `add`, and
  written to it in one go after the retained messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..message import Message
from .encoding import Encoded, Encoding
from .subscriber import Subscriber

__all__ = ["BATCH_SIZE", "JOIN_AT_MOST", "OVERHEAD", "Backlog", "Batch", "Channel", "Exceptions"]

BATCH_SIZE = 128
"""Subscribers of a batch: those written to before other work of the loop has its turn."""

JOIN_AT_MOST = 1 << 16
"""Bytes of several messages written as one chunk; a single message may be larger."""

LAST_BATCHES = 8
"""Batches that a subscriber may be added to: one for each encoding that is common at a time."""

OVERHEAD = 64
"""Bytes counted for a message beside its payload."""


def weight(message: Message) -> int:
    """Return the bytes that a message counts for while it waits."""
    return len(message.payload) + OVERHEAD


class Batch:
    """Subscribers that are written to together.

    Attributes:
        encoding: what messages look like for them.
        cursor: the number of the first message that they have not had.
        subscribers: those of the batch, in any order.
    """

    __slots__ = ("cursor", "encoding", "subscribers")

    def __init__(self, encoding: Encoding, cursor: int) -> None:
        self.encoding = encoding
        self.cursor = cursor
        self.subscribers: list[Subscriber] = []


Backlog = tuple[list[Encoded], int]
"""What one subscriber gets of some messages, and how many of them it skips as its own."""

Exceptions = Mapping[Subscriber, Backlog]
"""Who does not get what the batch gets, and what they get instead."""

NO_EXCEPTIONS: Exceptions = {}


class Channel:
    """The subscribers of one channel, and its messages until all have had them.

    Attributes:
        head: the number of the oldest message that waits, or of the next one.
        members: the subscribers, each with its batch.
        echoes: what members have published and do not want back, with the gaps seen by then.
        joining: who waits for the retained messages, and what has come for each meanwhile.
        waiting: messages that not all have had; see `wsredis.hub.dispatch`.
        size: the bytes they count for.
    """

    __slots__ = (
        *("_cursors", "_batches", "_chunk", "_own"),
        *("echoes", "head", "joining", "members", "size", "waiting"),
    )

    def __init__(self) -> None:
        self.head = 0
        self.members: dict[Subscriber, Batch] = {}
        self.echoes: list[tuple[Message, Subscriber, int]] = []
        self.joining: dict[Subscriber, list[Encoded]] = {}
        self.waiting: list[Encoded] = []
        self.size = 0
        self._batches: list[Batch] = []  # the next one to be served first
        self._own: dict[int, Subscriber] = {}  # who published which of those that wait
        self._cursors: dict[Subscriber, int] = {}  # cursors of those ahead of their batch
        self._chunk: tuple[int, int, Encoding, Encoded] | None = None  # made last, and of which

    @property
    def tail(self) -> int:
        """Return the number of the next message to come."""
        return self.head + len(self.waiting)

    @property
    def is_empty(self) -> bool:
        """Return whether nobody is subscribed or about to be."""
        return not self.members and not self.joining

    def prepare(self, subscriber: Subscriber, recent: list[Encoded]) -> None:
        """Collect what comes for a new subscriber until `add`.

        Args:
            subscriber: not subscribed yet.
            recent: where messages are put, in the order in which they come; may be the same list
                for several channels.
        """
        self.joining[subscriber] = recent

    def add(self, subscriber: Subscriber) -> None:
        """Subscribe a client that was prepared; it gets what comes from now on."""
        if self.joining.pop(subscriber, None) is None:
            return  # it has left meanwhile
        tail = self.head + len(self.waiting)
        batch = self._batch(subscriber.encoding, tail, 1)
        if batch is None:
            batch = Batch(subscriber.encoding, tail)
            self._batches.append(batch)
        batch.subscribers.append(subscriber)
        self.members[subscriber] = batch
        subscriber.sent -= tail

    def remove(self, subscriber: Subscriber) -> bool:
        """Remove a client; return False for one neither subscribed nor about to be."""
        if (batch := self.members.pop(subscriber, None)) is None:
            return self.joining.pop(subscriber, None) is not None
        batch.subscribers.remove(subscriber)
        subscriber.sent += max(batch.cursor, self._cursors.pop(subscriber, 0))
        if not batch.subscribers:
            self._batches.remove(batch)
            self._forget()
        return True

    def wait(self, messages: Sequence[Message], gaps: int) -> None:
        """Let messages wait that have arrived in this order.

        What this process publishes comes back in the same order, so only the oldest that is
        still out can be what has just arrived. A gap may have swallowed those from before it.

        Args:
            messages: of this channel.
            gaps: how many there were before these messages.
        """
        if self.echoes:
            for number, message in enumerate(messages, self.tail):
                while self.echoes and self.echoes[0][2] != gaps:
                    del self.echoes[0]
                if self.echoes and self.echoes[0][0] == message:
                    self._own[number] = self.echoes.pop(0)[1]
        for message in messages:
            self.size += weight(message)
            self.waiting.append(Encoded((message,)))
        for subscriber, recent in self.joining.items():
            recent += self._except_own(subscriber, self.tail - len(messages), self.tail)[0]
        if not self.members:
            self._forget()

    def take_backlog(self, subscriber: Subscriber) -> Backlog:
        """Return what waits for one subscriber, which gets it before its batch does."""
        batch = self.members.get(subscriber)
        if batch is None or batch.cursor == self.tail:
            return [], 0
        start = max(batch.cursor, self._cursors.get(subscriber, 0))
        self._cursors[subscriber] = self.tail
        return self._except_own(subscriber, start, self.tail)

    def serve(self) -> tuple[Encoded, Encoding, Sequence[Subscriber], Exceptions]:
        """Take what waits for the next batch, as much of it as is written as one chunk.

        Call it only while something waits. The subscribers may be the batch's own list: write to
        them before anybody joins or leaves.

        Returns:
            The messages, the encoding, who gets them, and who of the batch gets something else.
        """
        batches, tail = self._batches, self.tail
        while batches[0].cursor == tail:  # what waits is older than all of these
            batches.append(batches.pop(0))
        batch = batches[0]
        start = batch.cursor
        chunk = self._next_chunk(start, batch.encoding)
        batch.cursor = start + len(chunk.messages)
        subscribers, exceptions = batch.subscribers, NO_EXCEPTIONS
        if self._own or self._cursors:
            exceptions = self._exceptions(batch, start)
            subscribers = [each for each in subscribers if each not in exceptions]
        if len(batches) > 1:
            del batches[0]
            self._settle(batch)
        if batches[0].cursor > self.head:
            self._forget()
        return chunk, batch.encoding, subscribers, exceptions

    def lost(self, message: Message, sender: Subscriber) -> None:
        """Expect no longer that what a member has published comes back."""
        for index, echo in enumerate(self.echoes):  # nearly always the first
            if echo[:2] == (message, sender):
                del self.echoes[index]
                return

    def _batch(self, encoding: Encoding, cursor: int, size: int) -> Batch | None:
        """Return one of the last batches that such subscribers fit into."""
        for batch in reversed(self._batches[-LAST_BATCHES:]):
            if (
                batch.encoding is encoding
                and batch.cursor == cursor
                and len(batch.subscribers) + size <= BATCH_SIZE
            ):
                return batch
        return None

    def _settle(self, batch: Batch) -> None:
        """Put a batch that was served behind the others, or let it fill up one of the last."""
        other = self._batch(batch.encoding, batch.cursor, len(batch.subscribers))
        if other is None:
            self._batches.append(batch)
        else:
            other.subscribers += batch.subscribers
            self.members.update(dict.fromkeys(batch.subscribers, other))

    def _next_chunk(self, start: int, encoding: Encoding) -> Encoded:
        """Return messages from a number on, as many as are written as one chunk."""
        if len(self.waiting) == 1:
            return self.waiting[0]
        made = self._chunk
        if made is None or made[0] != start or made[1] != self.tail or made[2] is not encoding:
            at = stop = start - self.head
            size = len(self.waiting[at].messages[0].payload)
            while size <= JOIN_AT_MOST and (stop := stop + 1) < len(self.waiting):
                size += len(self.waiting[stop].messages[0].payload)
            joined = Encoded.joined(self.waiting[at : max(stop, at + 1)])
            made = self._chunk = start, self.tail, encoding, joined
        return made[3]

    def _forget(self) -> None:
        """Drop what all have had."""
        head = tail = self.tail
        for batch in self._batches:
            if batch.cursor < head:
                head = batch.cursor
        if head == tail:
            self.waiting.clear()
            self.size = 0
            self._chunk = None
        else:
            done = self.waiting[: head - self.head]
            self.size -= sum(weight(one.messages[0]) for one in done)
            del self.waiting[: len(done)]
        self.head = head
        if self._own:
            self._own = {number: who for number, who in self._own.items() if number >= head}

    def _exceptions(self, batch: Batch, start: int) -> Exceptions:
        """Return who of a batch has had some of its messages already, or has published some."""
        senders = {self._own[n] for n in range(start, batch.cursor) if n in self._own}
        special = [each for each in batch.subscribers if each in self._cursors or each in senders]
        exceptions = {}
        for subscriber in special:
            cursor = self._cursors.get(subscriber, start)
            if cursor <= batch.cursor:
                self._cursors.pop(subscriber, None)
            exceptions[subscriber] = self._except_own(subscriber, max(cursor, start), batch.cursor)
        return exceptions

    def _except_own(self, subscriber: Subscriber, start: int, stop: int) -> Backlog:
        """Return those of some waiting messages that a subscriber has not published itself."""
        some = self.waiting[start - self.head : stop - self.head]
        numbered = enumerate(some, start)
        others = [one for number, one in numbered if self._own.get(number) is not subscriber]
        return others, len(some) - len(others)
