"""Identities from server-side sessions, of any library whose sessions are mappings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..exceptions import ConfigurationError
from .base import ANONYMOUS, Identity, Request

__all__ = ["SessionResolver"]


class SessionResolver:
    """A resolver that reads user and groups from a session that a callable loads.

    ::

        SessionResolver(lambda request: request.environ["beaker.session"], key=beaker_key)

    A new session, which the library has just made for a client without one, is anonymous.

    Args:
        load: takes the request and returns the session, a mapping, or None.
        user: the key of the user in the session; the value is a string or an int.
        groups: the key of the group names in the session, a list; None for no groups.
        key: takes the session and returns the name of its channel, or None if the session did not
            exist before; by default sessions have no channel.

    Raises:
        ConfigurationError: ``load`` or ``key`` is not callable.
    """

    def __init__(
        self,
        load: Callable[[Any], Mapping[str, Any] | None],
        *,
        user: str = "user",
        groups: str | None = "groups",
        key: Callable[[Any], str | None] | None = None,
    ) -> None:
        callables: dict[str, object] = {"load": load} | ({} if key is None else {"key": key})
        for name, given in callables.items():
            if not callable(given):
                raise ConfigurationError(
                    f"{name}={given!r:.200} is not callable: write"
                    " SessionResolver(lambda request: request.environ['beaker.session'],"
                    " key=lambda session: session.id)."
                )
        self._load = load
        self._user = user
        self._groups = groups
        self._key = key

    def __call__(self, request: Request, /) -> Identity:
        session = self._load(request)
        if session is None:
            return ANONYMOUS
        user = session.get(self._user)
        if type(user) is int:
            user = str(user)
        groups = (session.get(self._groups) or ()) if self._groups and user else ()
        key = self._key(session) if self._key is not None else None
        return Identity(user or None, groups, key or None)
