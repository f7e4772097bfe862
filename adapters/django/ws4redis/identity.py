"""The user, the groups and the session of a request, for which ``SELF`` stands.

The request may be that of a view or of a handshake, or one that a test has made without ``user``
or ``session``.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.signed_cookies import SessionStore as SignedCookies

from wsredis.adapters.django import identity as adapter
from wsredis.identity import Identity

__all__ = ["MEMBEROF", "identity_of", "memberof", "session_key", "username"]

MEMBEROF = "ws4redis:memberof"
"""The key of a session under which the names of its user's groups are."""


def username(request: Any) -> str | None:
    """Return ``get_username()`` of an active user; None for all others."""
    user = getattr(request, "user", None)
    known = getattr(user, "is_authenticated", False)
    if callable(known):  # custom user classes may still have a method
        known = known()
    if user is None or not known or not getattr(user, "is_active", True):
        return None
    return adapter.given_name(user)


def memberof(request: Any) -> list[str]:
    """Return the names of an active user's groups from the session; empty for all others."""
    session = getattr(request, "session", None)
    if session is None or username(request) is None:
        return []
    return [str(name) for name in session.get(MEMBEROF) or () if name]


def session_key(request: Any) -> str | None:
    """Return the name of the session in its channel; None if there is no session."""
    session = getattr(request, "session", None)
    if isinstance(session, SignedCookies):
        return adapter.session_key(session)
    return getattr(session, "session_key", None) or None


def identity_of(request: Any) -> Identity:
    """Return all three as an `Identity` of the core."""
    return Identity(username(request), tuple(memberof(request)), session_key(request))
