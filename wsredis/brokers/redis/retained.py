"""Reading retained messages in bounded chunks, and a cache of the channels that have none.

Redis closes a subscribed connection when too much waits for it (see `wsredis.brokers.copies`). So
the beginning of each value is read over the link, a few channels at a time, and a large value over
another connection.

If a channel is known to have no retained message, a new subscriber need not wait for Redis: when
two thousand clients reconnect at once, only the first two read from Redis. Redis reports when a key
that was read changes (client-side caching), with a RESP3 push that is in order with all other data.

Only missing messages are cached. Retained messages are not: they expire, and Redis reports that
only when it deletes the key, which may be later. See
https://redis.io/docs/latest/develop/reference/client-side-caching/.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore

from ..copies import OutputLimit
from .asking import Asking
from .link import Answer, Link
from .resp import ReplyError, pack, pack_ranges

__all__ = ["SMALL", "Retained"]

SMALL = 1 << 16
"""Maximum bytes of a value that is read over the link."""

CHUNK = 16
"""Maximum channels that one client reads at a time."""

WITHOUT_RANGES = 4
"""Maximum channels that one client reads at a time with MGET, which has no limit of bytes."""

FETCHES = 4
"""Maximum values that are fetched over other connections at a time."""

Learn = Callable[[Any], None]
"""Takes the values of some keys, or a `ReplyError`."""

_CACHING = pack("CLIENT", "CACHING", "YES")


class Retained:
    """A reader of retained messages that remembers channels without one.

    Args:
        asking: waits for the replies.
        fetch: reads the value of a key over another connection, None if there is none; blocks only
            the greenlet, raises BrokerUnavailable.

    Attributes:
        at_once: maximum channels that all clients read at a time.
    """

    def __init__(self, asking: Asking, fetch: Callable[[str], bytes | None]) -> None:
        self.at_once = OutputLimit().at_once // SMALL
        self._asking = asking
        self._fetch = fetch
        self._none: set[str] = set()  # channels without a retained message
        self._tracked: bool | None = None  # whether Redis reports changes; None if not tried yet
        self._ranges = True  # whether Redis permits GETRANGE and EXISTS
        self._forgotten = 0
        self._reading = 0  # channels that are being read
        self._queue: deque[tuple[int, AsyncResult[None]]] = deque()  # clients that wait to read
        self._fetches = BoundedSemaphore(FETCHES)

    def is_nothing(self, channels: Sequence[str]) -> bool:
        """Return whether all of some channels are known to have no retained message."""
        return self._none.issuperset(channels)

    def read(
        self, link: Link, channels: Sequence[str], most: int, *, track: bool
    ) -> list[tuple[str, bytes]]:
        """Return the channels that have a retained message, each with its payload.

        Blocks the calling greenlet. All messages that were pushed before the last reply are
        delivered before this method returns.

        Args:
            link: the link.
            channels: the channels; with ``track`` they must be subscribed.
            most: number of bytes above which no further channels are read.
            track: whether to remember channels without a message, if Redis reports changes. Redis
                stores each of them, so this is for channels with several subscribers.

        Raises:
            BrokerUnavailable: Redis does not answer or refuses.
        """
        found: list[tuple[str, bytes]] = []
        total = 0
        fetched = False
        left = list(channels)
        while left and total <= most:
            size = min(CHUNK if self._ranges else WITHOUT_RANGES, self.at_once)
            some, left = left[:size], left[size:]
            values, whole = self._read_chunk(link, some, track)
            for name, value in zip(some, values, strict=True):
                if value is not None and not whole and not 0 < len(value) <= SMALL:
                    with self._fetches:
                        value, fetched = self._fetch(name), True
                if value is not None:
                    found.append((name, value))
                    total += len(value)
        if fetched:
            send = partial(link.command, after_pushes=True)
            self._asking.check(self._asking.ask(link, lambda answer: send(answer, "PING")))
        return found

    def _read_chunk(
        self, link: Link, names: Sequence[str], track: bool
    ) -> tuple[list[bytes | None], bool]:
        """Return the values of some keys, None for a missing one, and whether they are whole.

        Otherwise at most `SMALL` + 1 bytes of each are returned, and an empty value means that the
        key has to be read again.
        """
        self._begin(len(names))
        try:
            if track and self._tracked is None:
                self._tracked = True
                link.command(self._agree, "CLIENT", "TRACKING", "ON", "OPTIN")
            learn = partial(self._learn, self._forgotten, names) if track else _ignore
            whole = not self._ranges
            read = self._read_whole if whole else self._read_ranges
            values = self._asking.ask(link, partial(read, link, names, learn, track))
            if not whole and _is_forbidden(values):
                self._ranges, whole = False, True
                read = partial(self._read_whole, link, names, learn, track)
                values = self._asking.ask(link, read)
            if isinstance(values, ReplyError):
                self._asking.check(values)
            return cast(list[bytes | None], values), whole
        finally:
            self._end(len(names))

    def _read_ranges(
        self, link: Link, names: Sequence[str], learn: Learn, track: bool, answer: Answer
    ) -> None:
        """Read with GETRANGE, which returns an empty string for a missing key, and EXISTS."""
        replies: list[Any] = []
        answers: list[Answer] = [replies.append] * len(names)
        before = b""
        if track and self._tracked:
            answers = [self._agree, replies.append] * len(names)
            before = _CACHING  # applies to the next command

        def finish(count: Any) -> None:
            values = _values(replies, count)
            learn(values)
            answer(values)

        data = pack_ranges(names, SMALL + 1, before) + pack("EXISTS", *names)
        link.commands([*answers, finish], data)

    def _read_whole(
        self, link: Link, names: Sequence[str], learn: Learn, track: bool, answer: Answer
    ) -> None:
        """Read with MGET; the values may have any size."""

        def finish(values: Any) -> None:
            learn(values)
            answer(values)

        if track and self._tracked:
            link.command(self._agree, "CLIENT", "CACHING", "YES")
        link.command(finish, "MGET", *names, after_pushes=True)

    def _learn(self, forgotten: int, names: Sequence[str], values: Any) -> None:
        """Remember channels without a message, before a report of a change can follow."""
        if self._tracked and forgotten == self._forgotten and isinstance(values, list):
            pairs = zip(names, values, strict=True)
            self._none.update([name for name, value in pairs if value is None])

    def _agree(self, reply: Any) -> None:
        """Handle Redis' reply; it may be too old for tracking, or not allow it."""
        if isinstance(reply, ReplyError):
            self._tracked = False

    def _begin(self, count: int) -> None:
        """Wait until so many channels may be read, in the order of the calls."""
        if not self._queue and self._reading + count <= self.at_once:
            self._reading += count
            return
        turn: AsyncResult[None] = AsyncResult()
        entry = count, turn
        self._queue.append(entry)
        try:
            turn.get()
        except BaseException:
            if turn.ready():
                self._end(count)
            else:
                self._queue.remove(entry)
            raise

    def _end(self, count: int) -> None:
        self._reading -= count
        while self._queue and self._reading + self._queue[0][0] <= self.at_once:
            size, turn = self._queue.popleft()
            self._reading += size
            turn.set(None)

    def changed(self, channels: Iterable[str] | None) -> None:
        """Forget channels that may have a retained message now; None stands for all channels."""
        if channels is None:
            self._none.clear()
        elif self._none:
            self._none.difference_update(channels)

    def forget(self, channels: Iterable[str]) -> None:
        """Forget unsubscribed channels, and ignore pending replies about them."""
        self._none.difference_update(channels)
        self._forgotten += 1

    def reset(self) -> None:
        """Forget everything, as the link is lost."""
        self._none.clear()
        self._forgotten += 1
        self._tracked = None
        self._ranges = True


def _values(replies: list[Any], count: Any) -> list[bytes | None] | ReplyError:
    """Return the values of GETRANGE; the error if Redis refuses a command.

    Args:
        replies: the replies to GETRANGE.
        count: the reply to EXISTS for the same keys.
    """
    values: list[bytes | None] = []
    for reply in replies:
        if isinstance(reply, ReplyError):
            if not str(reply).startswith("WRONGTYPE"):
                return reply
            reply = None  # the key is not that of a channel
        values.append(reply)
    if isinstance(count, ReplyError):
        return count
    if count + values.count(b"") == len(values):  # so all keys with an empty value are missing
        return [value or None for value in values]
    return values


def _is_forbidden(values: Any) -> bool:
    return isinstance(values, ReplyError) and str(values).startswith("NOPERM")


def _ignore(values: Any) -> None:
    """Ignore values."""
