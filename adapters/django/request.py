"""A handshake as a Django `HttpRequest` with ``user`` and ``session``.

No middleware of the site runs for it. What the session and authentication middleware would do for
a page is done here: load the session of the cookie, if it exists, and its user, if the
authentication backend knows the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.core.handlers.wsgi import WSGIRequest
from django.utils.functional import SimpleLazyObject

from .revoke import unannounced
from .sessions import site_engine

__all__ = ["handshake_request", "has_auth", "has_sessions", "nobody"]


def handshake_request(environ: dict[str, Any]) -> Any:
    """Return the `HttpRequest` of a handshake.

    ``session`` is that of the cookie, or an empty one if that does not exist or has expired.
    ``user`` is looked up at its first use; it is an `AnonymousUser` if the session has no user.
    """
    request: Any = WSGIRequest(environ)
    request.session = _session(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    request.user = SimpleLazyObject(lambda: _user(request))
    return request


def has_sessions() -> bool:
    """Return whether sessions can be loaded: engines with a table need their application."""
    with_table = site_engine() in (
        "django.contrib.sessions.backends.db",
        "django.contrib.sessions.backends.cached_db",
    )
    return not with_table or apps.is_installed("django.contrib.sessions")


def has_auth() -> bool:
    """Return whether `django.contrib.auth` is installed."""
    return apps.is_installed("django.contrib.auth")


def _session(cookie: str | None) -> Any:
    if not has_sessions():
        return SessionBase()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if not cookie:
        return store()
    session = store(session_key=cookie)
    session.keys()  # loads it
    # For a session that does not exist or has expired, engines return one without a key, one with
    # another key, or an empty one that is marked as modified.
    if session.session_key == cookie and not session.modified and session.get_expiry_age() > 0:
        return session
    if session.session_key not in (None, cookie):
        with unannounced():
            session.delete()
    return store()


def _user(request: Any) -> Any:
    if not has_auth():
        return nobody()
    with _key_stays(request.session):
        user = get_user(request)
    return user if getattr(user, "is_active", True) else nobody()


@contextmanager
def _key_stays(session: Any) -> Iterator[None]:
    """Keep Django from giving a session another key, as a handshake cannot set the new cookie.

    Django does so for a session whose hash was made with a fallback of ``SECRET_KEY``.
    """
    session.cycle_key = lambda: None
    try:
        yield
    finally:
        del session.cycle_key


class _Nobody:
    """An anonymous user where `django.contrib.auth` is not installed."""

    is_active = is_anonymous = True
    is_authenticated = is_staff = is_superuser = False
    id = pk = None
    username = ""

    def get_username(self) -> str:
        return ""


def nobody() -> Any:
    """Return Django's `AnonymousUser`, or a substitute if `django.contrib.auth` is missing."""
    if not has_auth():
        return _Nobody()
    from django.contrib.auth.models import AnonymousUser

    return AnonymousUser()
