"""A valid handshake as a server passes it on, changes to it, and its results."""

from __future__ import annotations

from typing import Any

import pytest
from webob import Request

from wsredis.config import Config
from wsredis.exceptions import HandshakeError
from wsredis.handshake.upgrade import Handshake, read_handshake


def environ(**changes: Any) -> dict[str, Any]:
    """Return what a server makes of a good handshake; None takes a variable away."""
    good = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/ws/news",
        "QUERY_STRING": "subscribe-broadcast",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "localhost:8000",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
        "HTTP_ORIGIN": "http://localhost:8000",
    }
    changed = {**good, **{k.replace("wsgi_", "wsgi."): v for k, v in changes.items()}}
    return {name: value for name, value in changed.items() if value is not None}


def shake(config: Config | None = None, **changes: Any) -> Handshake:
    return read_handshake(Request(environ(**changes)), config or Config())


def refused(config: Config | None = None, **changes: Any) -> HandshakeError:
    with pytest.raises(HandshakeError) as refusal:
        shake(config, **changes)
    return refusal.value
