"""The identity of a Django request: its user, the user's groups and its session.

This works for requests that have passed Django's middleware, and for those that `.request` makes
for handshakes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib.sessions.backends.cached_db import SessionStore as CachedDatabaseSession
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.contrib.sessions.backends.signed_cookies import SessionStore as SignedCookies
from django.utils.crypto import salted_hmac

from wsredis.identity import ANONYMOUS, Identity

__all__ = [
    "given_name",
    "group_names",
    "identity_of",
    "limited",
    "name_in_cookie",
    "session_key",
    "user_name",
]

CLAIM = "_auth_user_id"
"""The key of a session under which its user's id is; `django.contrib.auth.SESSION_KEY`."""

PIN = "_wsredis_session"
"""The key of a session stored in its cookie, under which its random name is."""

STORED_UNTIL = "_wsredis_stored_until"
"""The attribute of a watched session with the time when its row expires, as it was loaded."""

SALT = "wsredis.adapters.django.session"


def identity_of(request: Any) -> Identity:
    """Return the identity of a Django request with ``user`` and ``session``; the default resolver.

    The groups are read from the database at each call. An inactive user is anonymous, and so is a
    session whose user no longer exists, is inactive or has changed the password since.
    In asyncio, call it with ``sync_to_async``.
    """
    known = getattr(request, "identity", None)
    if isinstance(known, Identity):
        return known
    session = getattr(request, "session", None)
    claimed = session is not None and CLAIM in session
    user = getattr(request, "user", None)
    name = user_name(user)
    if name is None and (claimed or getattr(user, "is_authenticated", False)):
        return ANONYMOUS
    return Identity(name, group_names(user) if name else (), session_key(session))


def user_name(user: Any) -> str | None:
    """Return ``get_username()`` of an active user; None for all others."""
    if user is None or not user.is_authenticated or not getattr(user, "is_active", True):
        return None
    return given_name(user)


def given_name(user: Any) -> str | None:
    """Return ``get_username()`` as text; None if it is empty."""
    name = user.get_username()
    return None if name is None else str(name) or None


def group_names(user: Any) -> tuple[str, ...]:
    """Return the names of a user's groups, read from the database now.

    It is empty for a user model without groups; ``groups`` may also be a list of names.
    """
    groups = getattr(user, "groups", None)
    if groups is None:
        return ()
    if hasattr(groups, "values_list"):
        groups = groups.order_by("name").values_list("name", flat=True)
    return tuple(name for name in map(str, groups) if name)


def session_key(session: Any) -> str | None:
    """Return the name of a session in its channel; None if the session cannot be loaded.

    It is the key under which the engine stores the session, or that of `name_in_cookie`.
    """
    if session is None:
        return None
    session.get(PIN)  # makes the engine load the session
    if isinstance(session, SignedCookies):
        return name_in_cookie(session, session.session_key)
    return session.session_key or None


def name_in_cookie(content: Any, cookie: str | None) -> str | None:
    """Return the name of a session that is stored in its cookie; None if it has no content.

    Such a session has no key, and its content would be readable for everyone with access to Redis
    and changes with each write. So the name is a hash, keyed with ``SECRET_KEY``, of a random name
    that the session gets when it is saved, or, if sessions are not watched, at a login (see
    `.sessions`). Until then, the cookie is hashed instead.
    """
    pin = content.get(PIN)
    if not content.keys() or not (pin or cookie):
        return None
    return salted_hmac(SALT, str(pin or cookie), algorithm="sha256").hexdigest()


def limited(identity: Identity, session: Any) -> Identity:
    """Return an identity that expires with its session, unless its resolver has set a time.

    For a session in the database the time is stored there. Other sessions are taken as if they
    had been saved just now, so the time may be too late, by the time since they were saved.
    """
    if identity.session is None or identity.expires is not None:
        return identity
    if identity.session != session_key(session):
        return identity
    ends = None
    if isinstance(session, DatabaseSession) and not isinstance(session, CachedDatabaseSession):
        ends = getattr(session, STORED_UNTIL, None)
        if ends is None:  # a session that is not watched
            row = session.model.objects.filter(session_key=session.session_key)
            ends = row.values_list("expire_date", flat=True).first()
    return replace(identity, expires=(ends or session.get_expiry_date()).timestamp())
