"""Session keys and websockets at a login and a logout through Flask-Login.

Both change the key of the session: a copy of the old cookie gives no access to later messages. The
websockets under the old key are closed (4401) as soon as the response has set the new cookie, and
the browser client reconnects with the new identity.
"""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, after_this_request, request

from wsredis.disconnect import disconnect
from wsredis.exceptions import BrokerUnavailable

from .conf import current_options
from .identity import HANDSHAKE, end_session_key, new_session_key

__all__ = ["follow_logins"]

log = logging.getLogger("wsredis.adapters.flask")


def follow_logins(app: Flask) -> None:
    """Connect to Flask-Login's signals, if it is installed."""
    try:
        from flask_login import user_loaded_from_cookie, user_logged_in, user_logged_out
    except ImportError:
        return
    user_logged_in.connect(_begun, app)
    user_loaded_from_cookie.connect(_begun, app)
    user_logged_out.connect(_ended, app)


def _begun(sender: Any, **signal: Any) -> None:
    if HANDSHAKE not in request.environ:  # a handshake can only load a remembered user
        _ended(sender)
        new_session_key()


def _ended(sender: Any, **signal: Any) -> None:
    key = end_session_key()
    if key is None:
        return
    config = current_options().config

    def end() -> None:
        try:
            disconnect(session=key, config=config)
        except BrokerUnavailable:
            log.exception("the websockets of an ended session could not be closed")

    @after_this_request
    def later(response: Any) -> Any:
        response.call_on_close(end)
        return response
