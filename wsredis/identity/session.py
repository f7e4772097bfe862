"""Whoever a server-side session names, of any library that gives a mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..exceptions import ConfigurationError
from .base import ANONYMOUS, Identity, Request

__all__ = ["SessionResolver"]


class SessionResolver:
    """A resolver that reads user and groups from a session, which a callable loads.

    ::

        SessionResolver(lambda request: request.environ["beaker.session"], key=beaker_key)

    A session that the library has only just made, for a visitor without one, names nobody.

    Args:
        load: takes the request and returns the session, a mapping, or None.
        user: the session's key under which the user stands, a string or a whole number.
        groups: the key under which the names of the groups stand, a list; None for no groups.
        key: takes the session and returns what names it in its own channel, or None where it was
            not really loaded; by default sessions have no channel.

    Raises:
        ConfigurationError: ``load`` or ``key`` is nothing that can be called.
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
                    f"{name}={given!r:.200} cannot be called: write"
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
