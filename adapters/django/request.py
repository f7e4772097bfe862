"""A handshake as a Django `HttpRequest` with ``user`` and ``session``.

No middleware of the site runs for it, except that the session middleware makes the session, as some
engines need more of the request than a cookie. What else it and the authentication middleware would
do for a page is done here: load the session, if it exists, and its user, if the authentication
backend knows the user. A handshake saves no session.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.signed_cookies import SessionStore as SignedCookies
from django.core.exceptions import PermissionDenied
from django.core.handlers.wsgi import WSGIRequest
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string

from .revoke import without_revocations
from .sessions import site_engine

__all__ = ["handshake_request", "has_auth", "has_sessions", "nobody", "session_middleware"]


def handshake_request(environ: dict[str, Any]) -> Any:
    """Return the `HttpRequest` of a handshake.

    ``session`` is that of the cookie, or an empty one if that does not exist or has expired.
    ``user`` is looked up at its first use; it is an `AnonymousUser` if the session has no user.
    """
    request: Any = WSGIRequest(environ)
    request.session = _session(request)
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


def session_middleware() -> Any:
    """Return the class of the site's session middleware; None if it has none that we can use.

    It is recognized by its name or that of a base class: not all are derived from Django's.
    """
    return _session_middleware(tuple(settings.MIDDLEWARE))


@lru_cache(maxsize=16)
def _session_middleware(paths: tuple[str, ...]) -> Any:
    for path in paths:
        try:
            found = import_string(path)
        except ImportError:  # Django reports it itself
            continue
        names = {base.__name__ for base in getattr(found, "__mro__", ())}
        if "SessionMiddleware" in names and hasattr(found, "process_request"):
            return found
    return None


def _session(request: Any) -> Any:
    """Return the session of a request, if it is stored and has not expired; else an empty one."""
    if not has_sessions():
        return SessionBase()
    session = _made(request)
    if session.session_key is None or _lives(session):
        return session
    session = _made(WSGIRequest({**request.environ, "HTTP_COOKIE": ""}))
    return session if session.session_key is None else SessionBase()


def _made(request: Any) -> Any:
    """Return the session as the site's middleware makes it, or as Django's would."""
    middleware = session_middleware()
    if middleware is None:
        store = import_module(settings.SESSION_ENGINE).SessionStore
        return store(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    if middleware(_no_view).process_request(request) is not None:
        raise PermissionDenied  # a page would get this response instead
    return request.session


def _no_view(request: Any) -> Any:
    """Take the place of the site's views, which a handshake does not reach."""
    raise NotImplementedError


def _lives(session: Any) -> bool:
    """Return whether a session is stored and has not expired.

    Instead of a session that is not stored, engines return one without a key, one with another key,
    or an empty one. Whether it is modified does not tell: some engines write the client's address
    into a session that they load.
    """
    key = session.session_key
    content = session.keys()  # loads it
    if session.session_key != key:
        if session.session_key is not None:
            with without_revocations():
                session.delete()  # the engine has made it just now
        return False
    if not content or (session.modified and not isinstance(session, SignedCookies)):
        return bool(session.exists(key)) and session.get_expiry_age() > 0
    return bool(session.get_expiry_age() > 0)


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
