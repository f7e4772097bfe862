"""A handshake as Django sees it: an `HttpRequest` with ``user`` and ``session``.

No middleware of the site runs for it. What they would do for a page is done here: the session of
the cookie, if the engine has it, and its user, if the authentication backend knows them.
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

__all__ = ["handshake_request", "has_auth", "has_sessions", "nobody"]


def handshake_request(environ: dict[str, Any]) -> Any:
    """Return the `HttpRequest` of a handshake.

    ``session`` is the cookie's, or an empty one where that does not exist or has expired; ``user``
    is looked up when it is first asked for, and an `AnonymousUser` where there is nobody.
    """
    request: Any = WSGIRequest(environ)
    request.session = _session(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    request.user = SimpleLazyObject(lambda: _user(request))
    return request


def has_sessions() -> bool:
    """Return whether sessions can be loaded: engines with a table need the application."""
    with_table = settings.SESSION_ENGINE in (
        "django.contrib.sessions.backends.db",
        "django.contrib.sessions.backends.cached_db",
    )
    return not with_table or apps.is_installed("django.contrib.sessions")


def has_auth() -> bool:
    """Return whether there are users."""
    return apps.is_installed("django.contrib.auth")


def _session(cookie: str | None) -> Any:
    if not has_sessions():
        return SessionBase()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if not cookie:
        return store()
    session = store(session_key=cookie)
    session.keys()  # loads it
    # Engines answer what does not exist or has expired with no key, with another one, or with
    # an empty session that wants to be saved.
    if session.session_key == cookie and not session.modified and session.get_expiry_age() > 0:
        return session
    if session.session_key not in (None, cookie):
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
    """Keep Django from giving a session another key: no cookie of a handshake could tell it.

    It does so after a change of ``SECRET_KEY`` for one that a fallback key has signed.
    """
    session.cycle_key = lambda: None
    try:
        yield
    finally:
        del session.cycle_key


class _Nobody:
    """Nobody, where `django.contrib.auth` is not installed."""

    is_active = is_anonymous = True
    is_authenticated = is_staff = is_superuser = False
    id = pk = None
    username = ""

    def get_username(self) -> str:
        return ""


def nobody() -> Any:
    """Return Django's `AnonymousUser`, or what resembles it."""
    if not has_auth():
        return _Nobody()
    from django.contrib.auth.models import AnonymousUser

    return AnonymousUser()
