"""The minimum for a handshake on uWSGI: the accept key, a 101, a copy of the descriptor.

There are no checks, no identity and no channels, and the copy is never read from.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import uwsgi
from websockets.utils import accept_key

MOST = 5000
"""How many copies are kept open, more than a run needs: closing one would count for a handshake."""

held: deque[int] = deque()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY")
    if key is None:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(key)),
    ]
    start_response("101 Switching Protocols", headers)(b"")
    held.append(os.dup(uwsgi.connection_fd()))
    if len(held) > MOST:
        os.close(held.popleft())
    return []
