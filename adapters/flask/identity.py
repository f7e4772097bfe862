"""The identity of a Flask request: the user, the user's groups and the session.

It works for pages and for the handshakes of `.application`, in whose context Flask has opened the
session and Flask-Login finds the user.

A session has a separate key for its channel. The session's cookie, or its id on the server, cannot
be that key: it gives access to the session, and everyone with access to Redis can read the names of
channels. Neither can a hash of the cookie: two sessions that got the same content in the same
second have the same cookie. So the key is a random name, written once into the session itself,
where Flask's signature or the server's store protects it.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from flask import Flask, current_app, request, session
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadData

from wsredis.exceptions import ConfigurationError
from wsredis.identity import ANONYMOUS, Identity

from .conf import current_options

__all__ = [
    "HANDSHAKE",
    "NO_SECRET",
    "end_session_key",
    "has_sessions",
    "identity_of",
    "new_session_key",
    "session_key",
    "who",
]

CLAIM = "_user_id"
"""The key of a session under which Flask-Login stores the user's id."""

KEY = "_wsredis_session"
"""The key of a session under which its name in the channel is."""

HANDSHAKE = "wsredis.flask.handshake"
"""The key of an environ under which the request context of a handshake is."""

NO_SECRET = (
    "SECRET_KEY is not set, so there are no sessions and all clients are anonymous: set"
    " app.config['SECRET_KEY'] to the output of"
    ' python -c "import secrets; print(secrets.token_hex())"'
)


def who(flask_request: Any) -> Identity:
    """Return the identity that the application's resolver returns for the current request."""
    identity = current_options().identity
    resolve = identity_of if identity is None else identity
    return resolve(flask_request) or ANONYMOUS


def identity_of(flask_request: Any) -> Identity:
    """Return the identity of the current Flask request; the default resolver.

    A session whose user no longer exists or is not active is anonymous. The identity expires when
    the cookie of the session does.

    Raises:
        Exception: any exception that the callbacks for user and groups raise.
    """
    options = current_options()
    claimed = CLAIM in session
    user = (_login_id if options.user is None else options.user)(flask_request)
    # The id 0 is a name; False is what `user.is_authenticated and user.name` returns for nobody.
    name = None if user is None or user is False else str(user) or None
    if name is None and claimed:
        return ANONYMOUS
    groups = None if name is None or options.groups is None else options.groups(flask_request)
    return Identity(name, _names(groups), _key(), _session_expires())


def session_key() -> str:
    """Return the key of the current session for its channel; make one if it has none.

    For views, as the response must set the cookie. The key stays the same while the session lasts.
    It changes with a login or logout through Flask-Login, and with ``session.clear()``.

    Raises:
        ConfigurationError: the application has no sessions; the message says how to fix it.
        RuntimeError: this is a handshake, which cannot set a cookie.
    """
    return _key() or new_session_key()


def new_session_key() -> str:
    """Give the current session a new key and return it.

    Raises:
        ConfigurationError, RuntimeError: see `session_key`.
    """
    if HANDSHAKE in request.environ:
        raise RuntimeError("A handshake cannot set a cookie: call session_key() in a view.")
    if not has_sessions(current_app):
        raise ConfigurationError(NO_SECRET)
    session[KEY] = secrets.token_urlsafe(24)
    return str(session[KEY])


def end_session_key() -> str | None:
    """Remove the key from the current session and return it; None if there is none."""
    key = _key()
    if key:
        del session[KEY]
    return key


def has_sessions(app: Flask) -> bool:
    """Return whether there are sessions: Flask's own need a secret key."""
    return bool(app.secret_key) or not isinstance(
        app.session_interface, SecureCookieSessionInterface
    )


def _key() -> str | None:
    key = session.get(KEY)
    return key if key and isinstance(key, str) else None


def _login_id(flask_request: Any) -> str | None:
    """Return Flask-Login's id of the user; None without Flask-Login or without an active user."""
    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user

    active = current_user.is_authenticated and current_user.is_active
    return current_user.get_id() if active else None


def _names(groups: Any) -> Any:
    """Return the callback's groups as names; a bare string is left for the core to report."""
    return groups if isinstance(groups, str) else tuple(map(str, groups or ()))


def _session_expires() -> float | None:
    """Return when the session of this request expires, in Unix time; None if it does not.

    A cookie that has the session in it has the time of its signature. Of a session stored on the
    server it is only known that it ends at the latest one lifetime from now.
    """
    if not session:
        return None
    app, interface = current_app, current_app.session_interface
    lifetime = int(app.permanent_session_lifetime.total_seconds())
    if not isinstance(interface, SecureCookieSessionInterface):
        return time.time() + lifetime if session.permanent else None
    serializer: Any = interface.get_signing_serializer(app)
    try:
        cookie = request.cookies[interface.get_cookie_name(app)]
        _, signed = serializer.loads(cookie, return_timestamp=True)
    except (KeyError, BadData):
        return None  # a session that this request has begun
    return float(signed.timestamp() + lifetime + 1)  # Flask counts its age in whole seconds
