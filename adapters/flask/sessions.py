"""Close the websockets of sessions that end in a request.

The session is compared at the start and at the end of each request. If its key, its user or its id
on the server has changed, the websockets with the old key are closed (4401) as soon as the response
has set the new cookie, and the browser client reconnects with the new identity.

A login, a logout and a change of the user change the key, so a copy of the old cookie gives no
access to later messages.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from flask import Flask, request, request_started
from flask.globals import request_ctx

from wsredis.config import Config
from wsredis.disconnect import disconnect
from wsredis.exceptions import BrokerUnavailable

from .conf import current_options
from .identity import CLAIM, HANDSHAKE, KEY, end_session_key, new_session_key

__all__ = ["follow_sessions"]

log = logging.getLogger("wsredis.adapters.flask")

BEFORE = "wsredis.flask.session"
"""The key in the environ of the session and of its state at the start of the request."""


def follow_sessions(app: Flask) -> None:
    """Compare the sessions of requests, and connect to the signals of Flask-Login, if installed."""
    request_started.connect(_begin, app)
    # Flask calls the first function last: by then all the others have changed the session.
    app.after_request_funcs.setdefault(None, []).insert(0, _compare)
    try:
        from flask_login import user_loaded_from_cookie, user_logged_in, user_logged_out
    except ImportError:
        return
    user_logged_in.connect(_logged_in, app)
    user_loaded_from_cookie.connect(_logged_in, app)
    user_logged_out.connect(_logged_out, app)


def _logged_in(sender: Any, **signal: Any) -> None:
    if HANDSHAKE not in request.environ:  # a handshake can only load a remembered user
        new_session_key()


def _logged_out(sender: Any, **signal: Any) -> None:
    end_session_key()


def _begin(sender: Any, **signal: Any) -> None:
    """Record the state of the session, without making the response vary by the cookie."""
    # Since Flask 3.1.3, `RequestContext.session` marks the session as accessed.
    current: Any = getattr(request_ctx, "_session", None)
    if current is None:
        current = request_ctx.session
    request.environ[BEFORE] = current, _state(current)


def _state(current: Any) -> tuple[Any, Any, Any]:
    """Return the key, the user and the id of a session, without marking it as accessed."""
    get = partial(dict.get, current) if isinstance(current, dict) else current.get
    return get(KEY), get(CLAIM), getattr(current, "sid", None)


def _compare(response: Any) -> Any:
    """Revoke the session when the response is closed, if it has ended in this request."""
    recorded = request.environ.get(BEFORE)
    if recorded is None:  # no request has started, or a receiver of the signal has failed
        return response
    current, before = recorded
    key, now = before[0], _state(current)
    if key and now != before:
        if now[0] == key and now[1] != before[1]:
            new_session_key()
        response.call_on_close(partial(_end, key, current_options().config))
    return response


def _end(key: str, config: Config) -> None:
    try:
        disconnect(session=key, config=config)
    except BrokerUnavailable:
        log.exception("the websockets of an ended session could not be closed")
