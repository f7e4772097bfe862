"""The published and the received messages: the checker for missing ones.

A message names its channel, its source and its number: ``soak:broadcast:room1 P 17``. The source P
is the `Publisher` of the run, any other a websocket. Numbers of one source in one channel begin
with 1 and have no gaps. All subscribers must therefore receive them one after the other, from
the first that was published after their 101 up to their end: before a gap they are closed
(1012), so an open websocket never misses a message. Only an overflow policy may drop what a
slow reader has not read, and counts it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

__all__ = ["PUBLISHER", "Hearing", "Talk"]

PUBLISHER = "P"

SHOWN = 5
"""The maximum number of descriptions for each kind of violation; all are counted."""


class Hearing:
    """The messages that one websocket has received.

    Attributes:
        name: the name of the websocket as a source.
        channels: the channels it is subscribed to.
        echo: whether it receives its own messages.
        slow: whether it may be so slow that messages are dropped.
        since: when it was opened, on the clock of `Talk`.
        last: the last received number, by channel and source.
    """

    __slots__ = ("_floor", "channels", "echo", "last", "name", "since", "slow")

    def __init__(
        self,
        name: str,
        channels: frozenset[str],
        echo: bool,
        slow: bool,
        since: int,
        floor: dict[str, int],
    ) -> None:
        self.name = name
        self.channels = channels
        self.echo = echo
        self.since = since
        self.last: dict[tuple[str, str], int] = {}
        self.slow = slow
        self._floor = floor

    def floor(self, channel: str) -> int:
        """Return the last number of the publisher in a channel when this was opened."""
        return self._floor.get(channel, 0)


class Talk:
    """The numbering of published messages, and the check of received ones.

    Attributes:
        violations: the numbers of failed checks, by kind.
        shown: descriptions of some of them.
        heard: the number of received messages.
        dropped: the messages that an overflow policy has dropped for slow readers.
    """

    def __init__(self, drops: bool = False) -> None:
        self.violations = Counter[str]()
        self.shown: list[str] = []
        self.heard = 0
        self.dropped = 0
        self._drops = drops
        self._clock = 0
        self._numbers: dict[tuple[str, str], int] = {}
        self._begun: dict[tuple[str, str], int] = {}  # when a source first published to a channel
        self._latest: dict[tuple[str, str], int] = {}  # and when it last did

    def next(self, channel: str, source: str = PUBLISHER) -> str:
        """Return the next message of a source, without padding."""
        self._clock += 1
        key = channel, source
        number = self._numbers[key] = self._numbers.get(key, 0) + 1
        self._begun.setdefault(key, self._clock)
        self._latest[key] = self._clock
        return f"{channel} {source} {number}"

    def opened(self, name: str, channels: Iterable[str], echo: bool, slow: bool = False) -> Hearing:
        """Return the record of the messages that a new websocket receives."""
        self._clock += 1
        names = frozenset(channels)
        floor = {name: self._numbers.get((name, PUBLISHER), 0) for name in names}
        return Hearing(name, names, echo, slow, self._clock, floor)

    def hear(self, hearing: Hearing, payload: bytes) -> None:
        """Check a message that a websocket has received."""
        self.heard += 1
        try:
            channel, source, text, *_ = payload.decode().split(" ", 3)
            number = int(text)
        except ValueError:
            self.wrong("an unknown message", f"{hearing.name} received {payload[:60]!r}")
            return
        what = f"{hearing.name} received {source}'s {number} in {channel}"
        key = channel, source
        if channel not in hearing.channels:
            self.wrong("a message for other clients", what)
        if number > self._numbers.get(key, 0):
            self.wrong("a message that was not sent", what)
        if source == hearing.name and not hearing.echo:
            self.wrong("an unwanted echo", what)
        last = hearing.last.get(key)
        if last is not None and number <= last:
            self.wrong("duplicated or out of order", f"{what} after {last}")
            return
        if last is None:
            last = number - 1 if source != PUBLISHER else min(number - 1, hearing.floor(channel))
            if source != PUBLISHER and self._begun.get(key, 0) > hearing.since:
                last = 0  # it was open when the source began
        hearing.last[key] = number
        missing = number - 1 - last
        if missing > 0 and self._drops and hearing.slow:
            self.dropped += missing
        elif missing > 0:
            self.wrong("missing messages", f"{what} after {last}")

    def settled(self, hearings: Iterable[Hearing]) -> list[str]:
        """Return the websockets that still miss published messages; [] if none does.

        Args:
            hearings: those of all websockets that are open and read.
        """
        hearings = list(hearings)
        there = {hearing.name for hearing in hearings} | {PUBLISHER}
        by_channel: dict[str, list[tuple[str, int]]] = {}
        for (channel, source), number in self._numbers.items():
            if source in there:
                by_channel.setdefault(channel, []).append((source, number))
        late = []
        for hearing in hearings:
            for channel in hearing.channels:
                for source, number in by_channel.get(channel, ()):
                    key = channel, source
                    if self._latest[key] < hearing.since:
                        continue
                    if source == hearing.name and not hearing.echo:
                        continue
                    if hearing.last.get(key, 0) < number:
                        had = hearing.last.get(key, 0)
                        late.append(
                            f"{hearing.name} has received {source}'s {had} of {number} in {channel}"
                        )
        return late

    def forget(self) -> None:
        """Forget all messages; only when no websocket is left that could receive one."""
        for table in (self._numbers, self._begun, self._latest):
            table.clear()

    def wrong(self, kind: str, what: str) -> None:
        """Count a violation."""
        self.violations[kind] += 1
        if self.violations[kind] <= SHOWN:
            self.shown.append(f"{kind}: {what}")
