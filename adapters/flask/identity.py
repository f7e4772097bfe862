"""The identity of a Flask request: the user, their groups and the session, read now.

It holds for pages and for the handshakes of `.application`, in whose context Flask has opened the
session and Flask-Login finds the user.

A session has a key of its own for its channel. The cookie of a session cannot be that, nor the id
under which a server keeps it: they open the session, and whoever reads Redis reads the names of
channels. A hash of the cookie cannot be it either: two visitors whose sessions got the same content
in the same second have the same cookie. So the key is a random name that is written once into the
session itself, where Flask's signature or the server's store protects it.
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
"""Where a session says to Flask-Login whose it is."""

KEY = "_wsredis_session"
"""Where a session keeps its key."""

HANDSHAKE = "wsredis.flask.handshake"
"""Where an environ keeps the request context of a handshake."""

NO_SECRET = (
    "There is no SECRET_KEY, so there are no sessions and nobody is known: set"
    " app.config['SECRET_KEY'] to what this prints:"
    ' python -c "import secrets; print(secrets.token_hex())"'
)


def who(flask_request: Any) -> Identity:
    """Return what the application's resolver says of the current request."""
    resolve = current_options().identity or identity_of
    return resolve(flask_request) or ANONYMOUS


def identity_of(flask_request: Any) -> Identity:
    """Return the identity of the current Flask request; the default resolver.

    A session that claims a user who does not exist any more, or is not active, is nobody's. What
    holds for the cookie of the session holds for the identity: it expires with it.

    Raises:
        Whatever the callbacks for user and groups raise.
    """
    options = current_options()
    claimed = CLAIM in session
    name = (options.user or _login_id)(flask_request)
    if not name and claimed:
        return ANONYMOUS
    groups = options.groups(flask_request) if name and options.groups else ()
    return Identity(str(name) if name else None, _names(groups), _key(), _session_expires())


def session_key() -> str:
    """Return what names the current session in its channel; from now on it has one.

    For views: the answer brings the cookie. It stays the same while the session lasts, and is
    another one after a login or logout through Flask-Login, or after ``session.clear()``.

    Raises:
        ConfigurationError: the application has no sessions; the text says what to write.
        RuntimeError: this is a handshake, which can set no cookie.
    """
    return _key() or new_session_key()


def new_session_key() -> str:
    """Give the current session another key.

    Raises:
        ConfigurationError, RuntimeError: see `session_key`.
    """
    if HANDSHAKE in request.environ:
        raise RuntimeError("A handshake can set no cookie: ask for session_key() in a view.")
    if not has_sessions(current_app):
        raise ConfigurationError(NO_SECRET)
    session[KEY] = secrets.token_urlsafe(24)
    return str(session[KEY])


def end_session_key() -> str | None:
    """Take the key from the current session and return it, if there is one."""
    key = _key()
    if key:
        del session[KEY]
    return key


def has_sessions(app: Flask) -> bool:
    """Return whether there are sessions: Flask's own need a key to sign them with."""
    return bool(app.secret_key) or not isinstance(
        app.session_interface, SecureCookieSessionInterface
    )


def _key() -> str | None:
    key = session.get(KEY)
    return key if key and isinstance(key, str) else None


def _login_id(flask_request: Any) -> str | None:
    """Return the id by which Flask-Login knows the user, if it is there and knows one."""
    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user

    active = current_user.is_authenticated and current_user.is_active
    return current_user.get_id() if active else None


def _names(groups: Any) -> Any:
    """Return what the callback has given as names; of a bare string the core says what to write."""
    return groups if isinstance(groups, str) else tuple(map(str, groups or ()))


def _session_expires() -> float | None:
    """Return when the cookie of this request stops to bring its session, in Unix time.

    A cookie that holds the session itself says when it was signed. Of one that names a session on
    the server it is only known that such a session does not outlive its lifetime from now.
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
        return None  # begun by this request
    return float(signed.timestamp() + lifetime + 1)  # its age is counted in whole seconds
