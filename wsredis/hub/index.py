"""The subscribers of this process by the names of their identities.

The cost of a revocation depends on the number of subscribers that have one of its names, not on the
number of all subscribers.

Invariants:

* A subscriber is found under its user, its session and each of its groups from `Index.add` to
  `Index.remove`; its identity does not change.
* A name with one subscriber, as most have, maps to the subscriber itself, which saves memory. Any
  other maps to a dict of at least two, which takes less memory than a set.
"""

from __future__ import annotations

from collections.abc import Collection

from ..identity.revocation import Revocation
from .subscriber import Client

__all__ = ["Index", "Name", "rarest_name"]

Name = tuple[str, str]
"""A kind ("user", "session" or "group") and a name of that kind."""

Named = dict[str, Client | dict[Client, None]]
"""Subscribers by their names of one kind."""


def rarest_name(revocation: Revocation) -> Name:
    """Return the name of a revocation that the fewest subscribers have."""
    if revocation.session is not None:
        return "session", revocation.session
    if revocation.user is not None:
        return "user", revocation.user
    assert revocation.group is not None  # it has a name
    return "group", revocation.group


class Index:
    """Subscribers by the names of their identities."""

    def __init__(self) -> None:
        self._users: Named = {}
        self._sessions: Named = {}
        self._groups: Named = {}
        self._kinds = {"user": self._users, "session": self._sessions, "group": self._groups}

    def add(self, subscriber: Client) -> None:
        """Add a subscriber under each of its names."""
        identity = subscriber.identity
        if identity.user is not None:
            _add(self._users, identity.user, subscriber)
        if identity.session is not None:
            _add(self._sessions, identity.session, subscriber)
        for group in identity.groups:
            _add(self._groups, group, subscriber)

    def remove(self, subscriber: Client) -> None:
        """Remove a subscriber that was added."""
        identity = subscriber.identity
        if identity.user is not None:
            _remove(self._users, identity.user, subscriber)
        if identity.session is not None:
            _remove(self._sessions, identity.session, subscriber)
        for group in identity.groups:
            _remove(self._groups, group, subscriber)

    def find(self, name: Name) -> Collection[Client]:
        """Return the subscribers that have a name at this moment."""
        kind, text = name
        found = self._kinds[kind].get(text)
        if found is None:
            return ()
        return tuple(found) if isinstance(found, dict) else (found,)


def _add(named: Named, name: str, subscriber: Client) -> None:
    found = named.get(name)
    if found is None:
        named[name] = subscriber
    elif isinstance(found, dict):
        found[subscriber] = None
    else:
        named[name] = {found: None, subscriber: None}


def _remove(named: Named, name: str, subscriber: Client) -> None:
    found = named[name]
    if not isinstance(found, dict):
        del named[name]
        return
    del found[subscriber]
    if len(found) == 1:
        (named[name],) = found
