"""The end of identities: subscribers are closed when their identity expires or is revoked.

A revocation finds its subscribers by their names (see `.index`). A client that was identified just
before a revocation arrived, or whose ticket was issued before it, may join after it. So recent
revocations also apply to new subscribers (see `.recent`). All of this runs on the hub's loop, in
steps (see `.steps`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..identity.revocation import LOG_LENGTH, MAX_AGE, Revocation, read_revocation
from ..message import Message
from ..protocol.closing import IDENTITY_ENDED, default_reason
from ..runtime.logs import get_logger
from .index import Index, rarest_name
from .recent import Recent, RecentRevocations
from .steps import in_steps
from .subscriber import Client

__all__ = ["Expiry"]

log = get_logger("wsredis.revocation")

SKEW = 2.0
"""Maximum seconds by which the clocks of two hosts may differ."""

SPARE = 20.0
"""Seconds beyond the handshake timeout and `MAX_AGE` for which revocations are kept."""


class Expiry:
    """The closing of subscribers whose identity has expired or was revoked.

    The methods return the number of subscribers that they close, or yield it after each step; those
    that are already closing do not count.

    Args:
        subscribers: returns all subscribers of the process, including joining ones.
        handshake_timeout: maximum seconds from the handshake of a subscriber until it is watched.
    """

    def __init__(
        self, subscribers: Callable[[], Iterable[Client]], handshake_timeout: float
    ) -> None:
        self._subscribers = subscribers
        self._until: dict[Client, float] = {}  # Unix time
        self._earliest = math.inf  # no later than any of them
        self._index = Index()
        self._recent = RecentRevocations(MAX_AGE + handshake_timeout + SPARE)

    def watch(self, subscriber: Client) -> int:
        """Watch a new subscriber until `forget`; return 1 if it is closed at once, else 0."""
        identity = subscriber.identity
        if identity.user or identity.session or identity.groups:
            self._index.add(subscriber)
        until = identity.expires
        if until is not None:
            if until <= time.time():
                return _expire(subscriber)
            self._until[subscriber] = until
            if until < self._earliest:
                self._earliest = until
        return self._compare(subscriber) if self._recent.by_name else 0

    def forget(self, subscriber: Client) -> None:
        """Stop watching a subscriber that has ended; called once for each that was watched."""
        identity = subscriber.identity
        if identity.user or identity.session or identity.groups:
            self._index.remove(subscriber)
        self._until.pop(subscriber, None)

    def expire(self) -> Iterator[int]:
        """Close subscribers whose identity has expired."""
        now = time.time()
        if self._earliest <= now:
            self._earliest = math.inf
            try:
                for step in in_steps(tuple(self._until)):
                    closed = 0
                    for subscriber in step:
                        until = self._until.get(subscriber, math.inf)  # it may have ended meanwhile
                        if until <= now:
                            del self._until[subscriber]
                            closed += _expire(subscriber)
                        elif until < self._earliest:
                            self._earliest = until
                    yield closed
            except BaseException:
                self._earliest = now  # the next run looks at all of them again
                raise
        for _ in self._recent.expire(time.monotonic()):
            yield 0

    def apply(self, message: Message) -> Iterator[int]:
        """Apply a revocation that has just arrived.

        Subscribers that join between the steps are compared with it then, see `watch`.
        """
        revocation = _read(message)
        if revocation is None:
            return
        now = time.monotonic()
        self._recent.add(Recent(now, now, min(revocation.at, time.time()), revocation))
        for step in in_steps(self._index.find(rarest_name(revocation))):
            yield sum(_revoke(subscriber, now, revocation) for subscriber in step)

    def catch_up(self, log: Sequence[Message], skew: float = SKEW) -> Iterator[int]:
        """Apply the revocations of the log.

        They do not apply to clients that were identified after they were published. The comparison
        allows for clocks that differ by ``skew`` seconds. Subscribers are closed once all
        revocations are known, so that the work does not grow with the product of both.
        """
        incomplete = len(log) >= LOG_LENGTH  # it may have had earlier ones
        for messages in in_steps(log):
            for message in messages:
                if (revocation := _read(message)) is not None:
                    now, wall = time.monotonic(), time.time()
                    when = min(now, now + revocation.at - wall + skew)
                    recent = Recent(now, when, min(revocation.at, wall), revocation)
                    if incomplete:
                        self._recent.drop(when, recent.at)
                        incomplete = False
                    self._recent.add(recent)
            yield 0
        for step in in_steps(self._subscribers()):
            yield sum(map(self._compare, step))

    def _compare(self, subscriber: Client) -> int:
        """Close a subscriber if a recent revocation applies to it; return 1 then, else 0."""
        end = self._recent.end_of(subscriber)
        return 0 if end is None else subscriber.kick(*end)


def _read(message: Message) -> Revocation | None:
    try:
        return read_revocation(message)
    except ValueError as exc:
        # The text may contain parts of a foreign message, so it is escaped and shortened.
        log.error("a message on the control channel was ignored: %.200r", str(exc))
        return None


def _revoke(subscriber: Client, when: float, revocation: Revocation) -> bool:
    meant = subscriber.since <= when and revocation.matches(subscriber.identity)
    return meant and subscriber.kick(
        revocation.code, revocation.reason or default_reason(revocation.code)
    )


def _expire(subscriber: Client) -> bool:
    return subscriber.kick(IDENTITY_ENDED.code, IDENTITY_ENDED.reason)
