"""Refused handshakes: the HTTP response for the client, and the warning for the site."""

from __future__ import annotations

from collections.abc import Callable
from http.client import responses
from typing import Any

from ..access.requests import REQUESTABLE
from ..exceptions import BrokerUnavailable, HandshakeError
from ..naming import encode_name, loggable, printable
from ..protocol.http import check_headers, http_head
from ..runtime.logs import Seldom, get_logger

__all__ = ["REFUSED_BY", "SERVER_ERROR", "answer", "answer_bytes", "asked", "warn"]

log = get_logger("wsredis.handshake")

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


ADVICE = {
    401: "The identity resolver, allowed_channels or the endpoint refuses this client.",
    403: "The identity resolver, allowed_channels, the endpoint or `origins` decides this.",
    404: "Paths of websockets are those of `routes`, and below `prefix` and `asgi_prefix`.",
    429: "The limits are max_connections_per_user and max_connections_per_address.",
    500: "The error is in this log, unless the site itself refuses with 500.",
    501: "Start the site with one of these servers.",
    503: "The cause is Redis, max_connections, handshake_timeout or a restart of the server.",
}
"""What the site can do about a refusal, by its status."""

OTHERWISE = "`wsredis doctor URL` shows what a proxy changes."


_seldom = Seldom()


def warn(error: HandshakeError, wanted: str, client: str) -> None:
    """Log a refusal as a warning, once a minute for each place in the code that raises it.

    Deferred endpoints do not raise: their refusals with one status count as one place.

    Args:
        error: the refusal.
        wanted: what the client asked for, in a form that is safe to log.
        client: the address of the client, "" if it is unknown.
    """
    if not _seldom.passes(_reason(error)):
        return
    user = "-" if error.user is None else loggable(encode_name(error.user))
    log.warning(
        "refused a websocket with %d: client=%s user=%s asked for %s: %s %s (Once a minute for each"
        " reason; all refusals are logged at INFO.)",
        *(error.status, client or "-", user, wanted, error.text + _cause(error)),
        ADVICE.get(error.status, OTHERWISE),
    )


def _cause(error: HandshakeError) -> str:
    """Return why Redis is unavailable, if that is the cause of a refusal."""
    cause = error.__cause__
    return f" ({cause})" if isinstance(cause, BrokerUnavailable) else ""


def asked(environ: dict[str, Any]) -> str:
    """Return the path and the channel keys of a request; other values may be secret."""
    keys = [word.partition("=")[0] for word in environ.get("QUERY_STRING", "").split("&")]
    known = [key for key in keys if key in REQUESTABLE or key == "echo"]
    path = printable(
        environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
    )
    return f"{path}?{'&'.join(dict.fromkeys(known))}" if known else path


def _reason(error: HandshakeError) -> object:
    """Return the status of a refusal and the place in the code that caused it, if it was raised.

    It is no value that a client chooses, such as an origin in the text.
    """
    place, traceback = None, (error.__cause__ or error).__traceback__
    while traceback is not None:
        place = traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next
    return error.status, place
