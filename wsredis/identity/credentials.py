"""Where in a handshake a ticket or a token may stand; what it is worth, its resolver knows.

A browser's script cannot set headers of a handshake, but it can offer sub-protocols (RFC 6455
section 4.1, point 10). So a credential may be offered right behind a marker, as in
``Sec-WebSocket-Protocol: chat.v1, wsredis.ticket, TICKET``. The server answers with ``chat.v1`` if
it supports that, else with the marker, never with the credential: a browser wants one of its offers
back, and no more than one.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from ..exceptions import PermissionDenied
from ..protocol.http import CHECKED_ORIGIN, split_offers

__all__ = ["presented"]


def presented(
    environ: dict[str, Any],
    *,
    marker: str | None = None,
    query: str | None = None,
    header: bool = False,
    cookie: str | None = None,
) -> str | None:
    """Return the credential of a handshake, or None if there is none.

    Args:
        environ: of the handshake.
        marker: the sub-protocol behind which it may stand.
        query: name of the query parameter it may have.
        header: whether it may stand in ``Authorization: Bearer`` (RFC 6750 section 2.1).
        cookie: name of the cookie it may have, in a handshake with an origin that was let in.

    Raises:
        PermissionDenied: there are several, or one in a cookie and no such origin.
    """
    found: list[str] = []
    if marker is not None:
        _, offered, credential = split_offers(environ)
        found += [credential] if offered == marker else []
    if query is not None:
        found += [value for name, value in _query(environ) if name == query]
    if header:
        scheme, _, rest = environ.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
        found += [rest.strip()] if scheme.lower() == "bearer" else []
    if cookie is not None:
        found += _cookies(environ, cookie)
    if len(found) > 1:
        raise PermissionDenied("Send the credential in one way only.")
    return found[0] if found else None


def _query(environ: dict[str, Any]) -> list[tuple[str, str]]:
    return parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)


def _cookies(environ: dict[str, Any], name: str) -> list[str]:
    """Return the cookies of a name; a browser sends them with handshakes of any site's pages."""
    pairs = [part.partition("=") for part in environ.get("HTTP_COOKIE", "").split(";")]
    found = [value.strip().strip('"') for key, _, value in pairs if key.strip() == name]
    if found and not environ.get(CHECKED_ORIGIN):
        raise PermissionDenied("A cookie counts only together with an origin that is let in.")
    return found
