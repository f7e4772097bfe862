"""What ``SELF`` means: the user, the groups and the session of a request.

A request here may be one of a view, of a handshake, or one that a test has made by hand without
``user`` or ``session``.
"""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.signed_cookies import SessionStore as SignedCookies

from wsredis.adapters.django import identity as adapter
from wsredis.identity import Identity

__all__ = ["MEMBEROF", "identity_of", "memberof", "session_key", "username"]

MEMBEROF = "ws4redis:memberof"
"""Where a session keeps the names of its user's groups."""


def username(request: Any) -> str | None:
    """Return what ``get_username()`` says of an active user; None for anybody else."""
    user = getattr(request, "user", None)
    known = getattr(user, "is_authenticated", False)
    if callable(known):  # a user of somebody's own may still have a method
        known = known()
    if user is None or not known or not getattr(user, "is_active", True):
        return None
    return adapter.given_name(user)


def memberof(request: Any) -> list[str]:
    """Return the names of a known user's groups as the session has them."""
    session = getattr(request, "session", None)
    if session is None or username(request) is None:
        return []
    return [str(name) for name in session.get(MEMBEROF) or () if name]


def session_key(request: Any) -> str | None:
    """Return what names the session in its channel; None where there is none."""
    session = getattr(request, "session", None)
    if isinstance(session, SignedCookies):
        return adapter.session_key(session)
    return getattr(session, "session_key", None) or None


def identity_of(request: Any) -> Identity:
    """Return all three, as the core knows them."""
    return Identity(username(request), tuple(memberof(request)), session_key(request))
