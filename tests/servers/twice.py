"""A site in which an outer middleware passes each handshake on twice, as for a retry.

``/answers`` returns the responses of the second time.
"""

from __future__ import annotations

from typing import Any

from wsredis import WebSocketMiddleware

answers: list[str] = []


def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Tell the answers."""
    body = " ".join(answers).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


websockets = WebSocketMiddleware(page, allowed_channels=lambda request, requested: requested)


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Hand a handshake on twice; the server gets what the first time has brought."""
    if not environ["PATH_INFO"].startswith("/ws/"):
        return websockets(environ, start_response)
    try:
        return websockets(environ, start_response)
    finally:
        websockets(environ, lambda status, headers: answers.append(status))
