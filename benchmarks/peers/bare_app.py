"""The least that a handshake costs on uWSGI: the accept key, a 101, a copy of the descriptor.

No check, no identity, no channel, and nobody ever reads from the copy.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Any

import uwsgi

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
MOST = 2000
"""Copies that are held; older ones are closed, as their clients have gone."""

held: list[int] = []


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY")
    if key is None:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]
    accept = base64.b64encode(hashlib.sha1(f"{key}{GUID}".encode()).digest()).decode()
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept),
    ]
    start_response("101 Switching Protocols", headers)(b"")
    held.append(os.dup(uwsgi.connection_fd()))
    if len(held) > MOST:
        os.close(held.pop(0))
    return []
