"""The end of identities: subscribers are closed when their identity expires or is revoked.

A client that was identified just before a revocation arrived may join after it. So recent
revocations also apply to new subscribers. All of this runs on the hub's loop.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from ..identity.revocation import Revocation, read_revocation
from ..message import Message
from ..protocol.closing import IDENTITY_ENDED, default_reason
from ..runtime.logs import get_logger
from .subscriber import Subscriber

__all__ = ["Expiry"]

log = get_logger("wsredis.revocation")

SKEW = 2.0
"""Maximum seconds by which the clocks of two hosts may differ."""

SPARE = 20.0
"""Seconds beyond the handshake timeout for which a revocation applies to new subscribers."""


class Expiry:
    """The closing of subscribers whose identity has expired or was revoked.

    The methods return the number of subscribers that they close; those that are already closing do
    not count.

    Args:
        subscribers: returns all subscribers of the process, including joining ones.
        handshake_timeout: maximum seconds from the handshake of a subscriber until it is watched.
    """

    def __init__(
        self, subscribers: Callable[[], Iterable[Subscriber]], handshake_timeout: float
    ) -> None:
        self._subscribers = subscribers
        self._remembered = handshake_timeout + SPARE
        self._until: dict[Subscriber, float] = {}  # Unix time
        self._recent: deque[tuple[float, Revocation]] = deque()  # with their monotonic times

    def watch(self, subscriber: Subscriber) -> int:
        """Watch a new subscriber; return 1 if it is closed at once, else 0."""
        until = subscriber.identity.expires
        if until is not None:
            if until <= time.time():
                return _expire(subscriber)
            self._until[subscriber] = until
        if not self._recent:
            return 0
        return sum(_revoke(subscriber, when, revocation) for when, revocation in self._recent)

    def forget(self, subscriber: Subscriber) -> None:
        """Stop watching a subscriber that has ended."""
        self._until.pop(subscriber, None)

    def expire(self) -> int:
        """Close subscribers whose identity has expired; return their number."""
        now = time.time()
        over = [subscriber for subscriber, until in self._until.items() if until <= now]
        for subscriber in over:
            self._until.pop(subscriber, None)
        old = time.monotonic() - self._remembered
        while self._recent and self._recent[0][0] < old:
            self._recent.popleft()
        return sum(map(_expire, over))

    def apply(self, message: Message) -> int:
        """Apply a revocation that has just arrived; return the number of subscribers it closes."""
        revocation = _read(message)
        return 0 if revocation is None else self._carry_out(time.monotonic(), revocation)

    def catch_up(self, message: Message, skew: float = SKEW) -> int:
        """Apply a revocation from the log; return the number of subscribers it closes.

        It does not apply to clients that were identified after it was published. The comparison
        allows for clocks that differ by ``skew`` seconds.
        """
        revocation = _read(message)
        if revocation is None:
            return 0
        now = time.monotonic()
        return self._carry_out(min(now, now + revocation.at - time.time() + skew), revocation)

    def _carry_out(self, when: float, revocation: Revocation) -> int:
        self._recent.append((when, revocation))
        everybody = list(self._subscribers())
        return sum(_revoke(subscriber, when, revocation) for subscriber in everybody)


def _read(message: Message) -> Revocation | None:
    try:
        return read_revocation(message)
    except ValueError as exc:
        # The text may contain parts of a foreign message, so it is escaped and shortened.
        log.error("a message on the control channel was ignored: %.200r", str(exc))
        return None


def _revoke(subscriber: Subscriber, when: float, revocation: Revocation) -> bool:
    meant = subscriber.since <= when and revocation.matches(subscriber.identity)
    return meant and subscriber.kick(
        revocation.code, revocation.reason or default_reason(revocation.code)
    )


def _expire(subscriber: Subscriber) -> bool:
    return subscriber.kick(IDENTITY_ENDED.code, IDENTITY_ENDED.reason)
