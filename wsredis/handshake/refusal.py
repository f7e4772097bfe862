"""The HTTP response of a refused handshake."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http.client import responses
from typing import Any

from ..exceptions import HandshakeError
from ..protocol.http import check_headers, http_head

__all__ = ["REFUSED_BY", "SERVER_ERROR", "answer", "answer_bytes"]

log = logging.getLogger("wsredis.handshake")

REFUSED_BY = "X-Refused-By"

UPGRADE_REQUIRED = 426

SERVER_ERROR = "This websocket cannot be opened because of a server error."
"""What the client is told when the code of the application has failed."""

_RESERVED = ("connection", "content-length", "content-type", "transfer-encoding", "upgrade")


def answer(
    error: HandshakeError, start_response: Callable[..., Any], environ: dict[str, Any]
) -> list[bytes]:
    """Send the HTTP response of a refused handshake through the WSGI server.

    A header names wsredis, so that ``wsredis doctor`` can tell the response from one of a proxy or
    of the site. A 426 names the protocol to upgrade to (RFC 9110 section 15.5.22), except under
    wsgiref, which accepts no hop-by-hop headers.

    Args:
        error: the refusal.
        start_response: that of the request.
        environ: that of the request.
    """
    try:
        _check(error)
    except ValueError as exc:
        log.error("the refusal %d cannot be sent: %s", error.status, exc)
        error = HandshakeError(500, SERVER_ERROR)
    body = _body(error)
    headers = _headers(error, body)
    if error.status == UPGRADE_REQUIRED and not _is_wsgiref(environ):
        headers += [("Upgrade", "websocket"), ("Connection", "Upgrade")]
    start_response(_status(error), headers)
    return [body]


def answer_bytes(error: HandshakeError) -> bytes:
    """Return the same response as bytes, for a socket that was taken from its WSGI server.

    Raises:
        ValueError: a header is not valid, or is one that wsredis sets itself.
    """
    _check(error)
    body = _body(error)
    headers = [*_headers(error, body), ("Connection", "close")]
    if error.status == UPGRADE_REQUIRED:
        headers[-1:] = [("Upgrade", "websocket"), ("Connection", "Upgrade, close")]
    return http_head(_status(error), headers) + body


def _is_wsgiref(environ: dict[str, Any]) -> bool:
    software: str = environ.get("SERVER_SOFTWARE", "")
    return software.startswith("WSGIServer/")


def _check(error: HandshakeError) -> None:
    check_headers((("Content-Type", error.content_type),))
    check_headers(error.headers, _RESERVED)


def _body(error: HandshakeError) -> bytes:
    body = f"{error.text}\n" if error.body is None else error.body
    return body.encode() if isinstance(body, str) else body


def _status(error: HandshakeError) -> str:
    return f"{error.status} {responses.get(error.status, 'Refused')}"


def _headers(error: HandshakeError, body: bytes) -> list[tuple[str, str]]:
    return [
        ("Content-Type", error.content_type),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        (REFUSED_BY, "wsredis"),
        *error.headers,
    ]
