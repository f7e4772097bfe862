"""How long the subscribers of one process may stay: until their identity expires or is revoked.

A client whose identity was asked for just before a revocation came would slip through while it
joins, so recent revocations apply to newcomers too. All of this runs on the hub's loop.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from ..identity.revocation import Revocation, read_revocation
from ..message import Message
from ..protocol.closing import IDENTITY_ENDED
from ..runtime.logs import get_logger
from .subscriber import Subscriber

__all__ = ["Expiry"]

log = get_logger("wsredis.revocation")

SKEW = 2.0
"""Seconds by which the clocks of two hosts may differ."""

SPARE = 20.0
"""Seconds beyond the handshake's time-out for which a revocation applies to newcomers."""


class Expiry:
    """The ends of identities, and who must leave because of them.

    What is counted here are the subscribers that were not about to end anyway.

    Args:
        subscribers: gives all subscribers of the process, joining ones too.
        handshake_timeout: seconds that may pass until a newcomer is among them.
    """

    def __init__(
        self, subscribers: Callable[[], Iterable[Subscriber]], handshake_timeout: float
    ) -> None:
        self._subscribers = subscribers
        self._remembered = handshake_timeout + SPARE
        self._until: dict[Subscriber, float] = {}  # Unix time
        self._recent: deque[tuple[float, Revocation]] = deque()  # and when they were given

    def watch(self, subscriber: Subscriber) -> int:
        """Take a newcomer; return 1 if it has to leave at once, else 0."""
        until = subscriber.identity.expires
        if until is not None:
            if until <= time.time():
                return _expire(subscriber)
            self._until[subscriber] = until
        if not self._recent:
            return 0
        return sum(_revoke(subscriber, when, revocation) for when, revocation in self._recent)

    def forget(self, subscriber: Subscriber) -> None:
        """Drop a subscriber that ends."""
        self._until.pop(subscriber, None)

    def expire(self) -> int:
        """Close those whose time is over; return how many these were."""
        now = time.time()
        over = [subscriber for subscriber, until in self._until.items() if until <= now]
        for subscriber in over:
            self._until.pop(subscriber, None)
        old = time.monotonic() - self._remembered
        while self._recent and self._recent[0][0] < old:
            self._recent.popleft()
        return sum(map(_expire, over))

    def apply(self, message: Message) -> int:
        """Carry out a revocation that has just come; return how many subscribers it ends."""
        revocation = _read(message)
        return 0 if revocation is None else self._carry_out(time.monotonic(), revocation)

    def catch_up(self, message: Message, skew: float = SKEW) -> int:
        """Carry out a revocation from the log; return how many subscribers it ends.

        It concerns nobody whose identity was asked for after it was given, as far as two clocks
        that differ by ``skew`` seconds can tell.
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
        # Its text may hold what somebody else has written: one line of it, and not all.
        log.error("a message on the control channel was ignored: %.200r", str(exc))
        return None


def _revoke(subscriber: Subscriber, when: float, revocation: Revocation) -> bool:
    meant = subscriber.since <= when and revocation.matches(subscriber.identity)
    return meant and subscriber.kick(revocation.code, revocation.reason)


def _expire(subscriber: Subscriber) -> bool:
    return subscriber.kick(IDENTITY_ENDED, "the session has expired")
