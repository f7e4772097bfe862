"""The delivery guarantees (at most once, in order, no silent gaps), checked with numbers.

`Numbers` publishes 1, 2, 3, ...; `check` reads the records of clients (see `clients`). It checks:

- each socket has received rising numbers, and no client has received one twice;
- between the opening of a socket and the last number it has received, no number is missing that
  Redis has confirmed;
- so numbers that a client has missed are between two of its sockets, and the first was not just
  lost but closed with one of the codes that the test expects.

A number that Redis has not confirmed may have arrived or not: its publisher got an error.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Self

from wsredis.exceptions import BrokerUnavailable

from ..servers.support import SECONDS, eventually
from .clients import Client

__all__ = ["Findings", "Numbers", "check"]


class Numbers:
    """A thread that publishes 1, 2, 3, ... from `begin` to the end of a `with` block or `end`.

    Args:
        publish: takes a text; raises BrokerUnavailable if it may not have been published.
        pause: seconds between two.
        padding: bytes behind each number.
    """

    def __init__(
        self, publish: Callable[[str], object], pause: float = 0.002, padding: int = 0
    ) -> None:
        self.begun = 0
        self.confirmed: list[int] = []
        self.publish = publish
        self._pause = pause
        self._padding = " " + "x" * padding if padding else ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="numbers")
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(SECONDS)

    def begin(self) -> None:
        self._thread.start()

    def last(self) -> int:
        """Return the last number that somebody has begun to publish."""
        return self.begun

    def next(self) -> int:
        """Publish one more and return it; for tests that set the pace themselves."""
        self.begun += 1
        try:
            self.publish(f"{self.begun}{self._padding}")
        except BrokerUnavailable:
            pass
        else:
            self.confirmed.append(self.begun)
        return self.begun

    def _run(self) -> None:
        try:
            while not self._over.wait(self._pause):
                self.next()
        except BaseException as error:
            self._error = error

    def wait_confirmed(self) -> int:
        """Wait for a number that is begun from now on and confirmed, and return it."""
        begun = self.begun

        def confirmed() -> int:
            if self._error is not None:
                raise self._error
            last = self.confirmed[-1] if self.confirmed else 0
            return last if last > begun else 0

        return eventually(confirmed, "Redis takes numbers")

    def end(self) -> int:
        """Publish no more and return the last number that Redis has confirmed."""
        self.__exit__()
        if self._error is not None:
            raise self._error
        return self.confirmed[-1]


class Findings:
    """The results of the check.

    Attributes:
        codes: the numbers of closed sockets, by close code.
        missed: for each client, the confirmed numbers that it has not received.
        holes: for each client, how often numbers were missing within one socket.
        within: for each client, how many were missing there.
        ended: when the last socket with a close frame ended.
        away: the longest time that a client had no socket, in seconds.
    """

    def __init__(self) -> None:
        self.codes: Counter[int] = Counter()
        self.missed: list[set[int]] = []
        self.holes: list[int] = []
        self.within: list[int] = []
        self.ended = 0.0
        self.away = 0.0


def check(
    clients: Iterable[Client],
    numbers: Numbers,
    *,
    told: Iterable[int] = (1012,),
    holes: float = 0,
) -> Findings:
    """Judge what clients have noted of the numbers since each of them came.

    Args:
        clients: after each of them has heard the last confirmed number.
        numbers: that were published.
        told: codes by which a socket may end before a gap.
        holes: gaps that the site has counted and whose sockets were kept (``on_gap="keep"``);
            `math.inf` if the caller compares their numbers with those that were counted.
    """
    found = Findings()
    confirmed = set(numbers.confirmed)
    for client in clients:
        heard: list[int] = []
        missing_inside = within = 0
        for session in client.sessions:
            heard += session.numbers
            assert session.numbers == sorted(set(session.numbers)), "out of order, or twice"
            if session.numbers:
                last = session.numbers[-1]
                due = {n for n in confirmed if session.begun < n <= last}
                missed = sorted(due - set(session.numbers))
                missing_inside += _runs(missed, session.numbers)
                within += len(missed)
        assert heard == sorted(set(heard)), "a number has come again after a gap"
        assert missing_inside <= holes, f"{missing_inside} gaps that nobody was told of"
        *ended, still_open = client.sessions
        for session in ended:
            assert session.code in told, f"a socket has ended with {session.code}"
            found.codes[session.code] += 1
            found.ended = max(found.ended, session.ended)
        for before, after in pairwise(client.sessions):
            found.away = max(found.away, after.opened - before.ended)
        assert still_open.code is None, f"the last socket has ended with {still_open.code}"
        assert heard[-1] == max(confirmed), "the end is missing"
        first = client.sessions[0].begun
        found.missed.append({n for n in confirmed if n > first} - set(heard))
        found.holes.append(missing_inside)
        found.within.append(within)
    return found


def _runs(missing: list[int], heard: list[int]) -> int:
    """Return in how many places of what was heard some are missing."""
    places = {sum(1 for n in heard if n < number) for number in missing}
    return len(places)
