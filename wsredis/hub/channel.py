"""The subscribers of one channel in this process, and the messages that some have not got yet.

Messages are numbered in order of arrival. Subscribers are in batches, which are served in turn as
long as messages wait: each batch gets all messages since its last turn, in one chunk. So a message
that arrives while others are being sent is joined to them from the next batch on.
`wsredis.hub.dispatch` decides when the chunks are written.

Invariants:

* ``head`` <= the cursor of every batch <= ``tail``. A batch's cursor is the number of the first
  message its subscribers have not got; ``waiting`` contains exactly the messages from ``head`` to
  ``tail`` - 1, and ``head`` is the lowest cursor whenever messages wait.
* A subscriber may be ahead of its batch, never behind it: ``_cursors`` contains its own cursor
  until the batch has caught up.
* A subscriber in ``joining`` is in no batch: messages are collected for it until `add`, and written
  to it at once after the retained messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..message import Message
from .encoding import Encoded, Encoding
from .subscriber import Subscriber

__all__ = ["BATCH_SIZE", "JOIN_AT_MOST", "OVERHEAD", "Backlog", "Batch", "Channel", "Exceptions"]

BATCH_SIZE = 128
"""Maximum subscribers of a batch; other work of the loop may run after a batch was written to."""

JOIN_AT_MOST = 1 << 16
"""Maximum bytes of several messages in one chunk; a single message may be larger."""

LAST_BATCHES = 8
"""Number of batches that are checked for a place: enough for all encodings in use at a time."""

OVERHEAD = 64
"""Bytes counted for a message besides its payload."""


def weight(message: Message) -> int:
    """Return the bytes that a message counts for while it waits."""
    return len(message.payload) + OVERHEAD


class Batch:
    """Subscribers that are written to together.

    Attributes:
        encoding: the encoding of their messages.
        cursor: the number of the first message that they have not got.
        subscribers: the subscribers of the batch, in any order.
    """

    __slots__ = ("cursor", "encoding", "subscribers")

    def __init__(self, encoding: Encoding, cursor: int) -> None:
        self.encoding = encoding
        self.cursor = cursor
        self.subscribers: list[Subscriber] = []


Backlog = tuple[list[Encoded], int]
"""Messages for one subscriber, and how many others it skips because it has published them."""

Exceptions = Mapping[Subscriber, Backlog]
"""Subscribers that do not get the chunk of their batch, and their messages instead."""

NO_EXCEPTIONS: Exceptions = {}


class Channel:
    """The subscribers of one channel, and its messages until all of them have got them.

    Attributes:
        head: the number of the oldest message that waits, or of the next one.
        members: the subscribers, each with its batch.
        echoes: messages that members have published and do not want back, with the number of gaps
            at that time.
        joining: subscribers that wait for the retained messages, and the messages that have arrived
            for each meanwhile.
        waiting: messages that some members have not got; see `wsredis.hub.dispatch`.
        size: the bytes that these messages count for.
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
        self._batches: list[Batch] = []  # the first is the next to be served
        self._own: dict[int, Subscriber] = {}  # publishers of waiting messages, by number
        self._cursors: dict[Subscriber, int] = {}  # of subscribers ahead of their batch
        self._chunk: tuple[int, int, Encoding, Encoded] | None = None  # the last one, with its key

    @property
    def tail(self) -> int:
        """Return the number of the next message to arrive."""
        return self.head + len(self.waiting)

    @property
    def is_empty(self) -> bool:
        """Return whether the channel has no subscriber and none is joining."""
        return not self.members and not self.joining

    def prepare(self, subscriber: Subscriber, recent: list[Encoded]) -> None:
        """Collect the messages that arrive for a new subscriber until `add`.

        Args:
            subscriber: the new subscriber.
            recent: the list that messages are added to, in order of arrival; may be the same list
                for several channels.
        """
        self.joining[subscriber] = recent

    def add(self, subscriber: Subscriber) -> None:
        """Subscribe a prepared subscriber; it gets the messages that arrive from now on."""
        if self.joining.pop(subscriber, None) is None:
            return  # it was removed meanwhile
        tail = self.head + len(self.waiting)
        batch = self._batch(subscriber.encoding, tail, 1)
        if batch is None:
            batch = Batch(subscriber.encoding, tail)
            self._batches.append(batch)
        batch.subscribers.append(subscriber)
        self.members[subscriber] = batch
        subscriber.sent -= tail

    def remove(self, subscriber: Subscriber) -> bool:
        """Remove a subscriber; return False if it was neither subscribed nor joining."""
        if (batch := self.members.pop(subscriber, None)) is None:
            return self.joining.pop(subscriber, None) is not None
        batch.subscribers.remove(subscriber)
        subscriber.sent += max(batch.cursor, self._cursors.pop(subscriber, 0))
        if not batch.subscribers:
            self._batches.remove(batch)
            self._forget()
        return True

    def wait(self, messages: Sequence[Message], gaps: int) -> None:
        """Add messages that have arrived, in this order, to those that wait.

        Messages published by this process come back in the same order, so only the oldest entry of
        ``echoes`` can equal an arriving message. Entries from before a gap may be lost and are
        dropped.

        Args:
            messages: messages of this channel.
            gaps: the number of gaps before these messages.
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
        """Return the messages that wait for one subscriber, which gets them before its batch."""
        batch = self.members.get(subscriber)
        if batch is None or batch.cursor == self.tail:
            return [], 0
        start = max(batch.cursor, self._cursors.get(subscriber, 0))
        self._cursors[subscriber] = self.tail
        return self._except_own(subscriber, start, self.tail)

    def peek(self) -> tuple[Encoded, Encoding]:
        """Return the messages that `serve` will take next, and their encoding."""
        batches, tail = self._batches, self.tail
        batch = next(batch for batch in batches if batch.cursor != tail)
        return self._next_chunk(batch.cursor, batch.encoding), batch.encoding

    def serve(self) -> tuple[Encoded, Encoding, Sequence[Subscriber], Exceptions]:
        """Take the messages that wait for the next batch, at most those of one chunk.

        Call it only while messages wait. The returned subscribers may be the batch's own list:
        write to them before a subscriber joins or leaves.

        Returns:
            The messages, the encoding, the subscribers that get them, and the subscribers of the
            batch that get other messages.
        """
        batches, tail = self._batches, self.tail
        while batches[0].cursor == tail:  # these batches have got all messages
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
        """Stop expecting that a published message of a member comes back."""
        for index, echo in enumerate(self.echoes):  # nearly always the first one
            if echo[:2] == (message, sender):
                del self.echoes[index]
                return

    def _batch(self, encoding: Encoding, cursor: int, size: int) -> Batch | None:
        """Return one of the last batches with this encoding, cursor and enough room, or None."""
        for batch in reversed(self._batches[-LAST_BATCHES:]):
            if (
                batch.encoding is encoding
                and batch.cursor == cursor
                and len(batch.subscribers) + size <= BATCH_SIZE
            ):
                return batch
        return None

    def _settle(self, batch: Batch) -> None:
        """Move a served batch to the end, or merge it into one of the last batches."""
        other = self._batch(batch.encoding, batch.cursor, len(batch.subscribers))
        if other is None:
            self._batches.append(batch)
        else:
            other.subscribers += batch.subscribers
            self.members.update(dict.fromkeys(batch.subscribers, other))

    def _next_chunk(self, start: int, encoding: Encoding) -> Encoded:
        """Return the messages of one chunk, from a number on."""
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
        """Drop messages that all subscribers have got."""
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
        """Return the subscribers of a batch that have got or published some of its messages."""
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
        """Return some waiting messages without those that a subscriber has published itself."""
        some = self.waiting[start - self.head : stop - self.head]
        numbered = enumerate(some, start)
        others = [one for number, one in numbered if self._own.get(number) is not subscriber]
        return others, len(some) - len(others)
