"""The revocations of the last minutes, found by the names of an identity.

A client that was identified before a revocation may join after it: its handshake takes a while, or
it presents a ticket. So new subscribers are compared with recent revocations, at a cost that
depends on the number of their names, not on the number of revocations.

Invariants:

* A revocation is in ``_by_age``, ordered by arrival, and in ``by_name`` under its rarest name.
* Of revocations with the same names only the newest is kept: it applies to all that the others
  apply to.
* Revocations that were dropped for lack of room count as applying to everyone from before them.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from ..identity import Identity
from ..identity.revocation import LOG_LENGTH, Revocation
from ..protocol.closing import IDENTITY_ENDED, default_reason
from .index import Name, rarest_name
from .steps import STEP
from .subscriber import Client

__all__ = ["Recent", "RecentRevocations"]

Names = tuple[str | None, str | None, str | None]


class Recent(NamedTuple):
    """A revocation, and the times of the identities that it applies to.

    Args:
        arrived: monotonic time at which this process received it.
        when: applies to handshakes that began until then (monotonic).
        at: applies to credentials that were issued until then (Unix time).
        revocation: the revocation.
    """

    arrived: float
    when: float
    at: float
    revocation: Revocation

    def is_after(self, subscriber: Client) -> bool:
        """Return whether a subscriber was identified before the revocation."""
        issued = subscriber.identity.issued
        return subscriber.since <= self.when or (issued is not None and issued <= self.at)


class RecentRevocations:
    """The revocations of the last minutes.

    Args:
        seconds: how long a revocation is kept after its arrival.
        most: maximum number of revocations; beyond it, the oldest are dropped.

    Attributes:
        by_name: the revocations; empty if there are none.
    """

    def __init__(self, seconds: float, most: int = LOG_LENGTH) -> None:
        self._seconds = seconds
        self._most = most
        self._by_age: OrderedDict[Names, Recent] = OrderedDict()
        self.by_name: dict[Name, dict[Names, Recent]] = {}
        self._dropped_when = self._dropped_at = -math.inf  # the times of the newest dropped one

    def __len__(self) -> int:
        return len(self._by_age)

    def add(self, recent: Recent) -> None:
        """Keep a revocation that has just arrived."""
        arrived, when, at, revocation = recent
        names = revocation.session, revocation.user, revocation.group
        if (old := self._by_age.get(names)) is not None:
            self._remove(names)
            newest = max(old.revocation, revocation, key=lambda one: one.at)
            recent = Recent(arrived, max(old.when, when), max(old.at, at), newest)
        self._by_age[names] = recent
        self.by_name.setdefault(rarest_name(revocation), {})[names] = recent
        if len(self._by_age) > self._most:
            names, oldest = next(iter(self._by_age.items()))
            self._remove(names)
            self.drop(oldest.when, oldest.at)

    def drop(self, when: float, at: float) -> None:
        """Note that revocations until these times may be missing; see `Recent`."""
        self._dropped_when = max(self._dropped_when, when)
        self._dropped_at = max(self._dropped_at, at)

    def expire(self, now: float) -> Iterator[None]:
        """Remove the revocations that arrived too long ago, in steps."""
        arrived = now - self._seconds
        while old := [
            n for n, each in islice(self._by_age.items(), STEP) if each.arrived < arrived
        ]:
            for names in old:
                self._remove(names)
            yield

    def end_of(self, subscriber: Client) -> tuple[int, str] | None:
        """Return the close code and reason for a subscriber that a revocation applies to, or None.

        Missing revocations apply to subscribers that came recently; at that time, older ones were
        compared with all that were known.
        """
        for name in _names(subscriber.identity):
            for recent in self.by_name.get(name, _NONE).values():
                revocation = recent.revocation
                if recent.is_after(subscriber) and revocation.matches(subscriber.identity):
                    return revocation.code, revocation.reason or default_reason(revocation.code)
        when, issued = self._dropped_when, subscriber.identity.issued
        if subscriber.since > when - self._seconds and (
            subscriber.since <= when or (issued is not None and issued <= self._dropped_at)
        ):
            return IDENTITY_ENDED.code, IDENTITY_ENDED.reason
        return None

    def _remove(self, names: Names) -> None:
        name = rarest_name(self._by_age.pop(names).revocation)
        same = self.by_name[name]
        del same[names]
        if not same:
            del self.by_name[name]


_NONE: dict[Names, Recent] = {}


def _names(identity: Identity) -> list[Name]:
    names = [("group", group) for group in identity.groups]
    if identity.user is not None:
        names.append(("user", identity.user))
    if identity.session is not None:
        names.append(("session", identity.session))
    return names
