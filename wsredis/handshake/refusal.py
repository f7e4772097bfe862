"""The HTTP answer of a refused handshake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..exceptions import HandshakeError

__all__ = ["REFUSED_BY", "answer"]

REFUSED_BY = "X-Refused-By"

_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    426: "Upgrade Required",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


def answer(error: HandshakeError, start_response: Callable[..., Any]) -> list[bytes]:
    """Send the HTTP answer of a refused handshake: one short plain sentence.

    It says who refuses, so that ``wsredis doctor`` can tell it from a proxy's answer or the site's.
    """
    body = f"{error.text}\n".encode()
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        (REFUSED_BY, "wsredis"),
        *error.headers,
    ]
    start_response(f"{error.status} {_REASONS.get(error.status, 'Refused')}", headers)
    return [body]
