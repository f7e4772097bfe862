"""The identity of a Django request: its user, the user's groups and its session, read now.

This is for requests that Django's middleware has seen, and for those of `.request`, which stand
for a handshake.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib.sessions.backends.cached_db import SessionStore as CachedDatabaseSession
from django.contrib.sessions.backends.db import SessionStore as DatabaseSession
from django.contrib.sessions.backends.signed_cookies import SessionStore as SignedCookies
from django.utils.crypto import get_random_string, salted_hmac

from wsredis.identity import ANONYMOUS, Identity

__all__ = [
    "given_name",
    "group_names",
    "identity_of",
    "limited",
    "pin_session",
    "session_key",
    "user_name",
]

CLAIM = "_auth_user_id"
"""Where a session says whose it is; `django.contrib.auth.SESSION_KEY`."""

PIN = "_wsredis_session"
"""Where a session that lives in its cookie keeps the random name it has got at the login."""

SALT = "wsredis.adapters.django.session"


def identity_of(request: Any) -> Identity:
    """Return the identity of a Django request with ``user`` and ``session``; the default resolver.

    The groups are read from the database at each call. Nobody is: an inactive user, and a session
    that claims a user who does not exist any more, is inactive, or has got another password.
    In asyncio call it by ``sync_to_async``.
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
    """Return what ``get_username()`` says of an active user; None for anybody else."""
    if user is None or not user.is_authenticated or not getattr(user, "is_active", True):
        return None
    return given_name(user)


def given_name(user: Any) -> str | None:
    """Return what ``get_username()`` says, as text; a field that may be empty is no name."""
    name = user.get_username()
    return None if name is None else str(name) or None


def group_names(user: Any) -> tuple[str, ...]:
    """Return the names of a user's groups as the database has them now.

    A user model without groups has none; ``groups`` may also be a list of names.
    """
    groups = getattr(user, "groups", None)
    if groups is None:
        return ()
    if hasattr(groups, "values_list"):
        groups = groups.order_by("name").values_list("name", flat=True)
    return tuple(name for name in map(str, groups) if name)


def session_key(session: Any) -> str | None:
    """Return what names a session in its channel; None for one that does not load.

    It is the key under which the engine keeps the session. Signed cookies have no such key, only
    a content that everybody who reads Redis could read too and that changes with each write:
    there it is a hash, keyed with ``SECRET_KEY``, of a random name that the session gets at the
    login (`pin_session`), else of the cookie as it arrived. So before the login it changes
    whenever the session does.
    """
    if session is None:
        return None
    pin = session.get(PIN)  # makes the engine look whether there is such a session
    if not isinstance(session, SignedCookies):
        return session.session_key or None
    if not session.keys() or not (pin or session.session_key):
        return None
    return salted_hmac(SALT, str(pin or session.session_key), algorithm="sha256").hexdigest()


def limited(identity: Identity, session: Any) -> Identity:
    """Return an identity that ends with its session, unless its resolver has said when.

    A session in the database says when that is; of others it is taken as if they had been saved
    just now, so that it may be later than they end, by the time since then.
    """
    if identity.session is None or identity.expires is not None:
        return identity
    if identity.session != session_key(session):
        return identity
    ends = None
    if isinstance(session, DatabaseSession) and not isinstance(session, CachedDatabaseSession):
        row = session.model.objects.filter(session_key=session.session_key)
        ends = row.values_list("expire_date", flat=True).first()
    return replace(identity, expires=(ends or session.get_expiry_date()).timestamp())


def pin_session(sender: Any, request: Any, **kwargs: Any) -> None:
    """Give a session that lives in its cookie a random name; a receiver of ``user_logged_in``."""
    session = getattr(request, "session", None)
    if isinstance(session, SignedCookies):
        session[PIN] = get_random_string(32)
