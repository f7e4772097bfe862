"""Finding a ticket or a token in a handshake; the resolvers check it.

A script in a browser cannot set headers of a handshake, but it can offer subprotocols (RFC 6455
section 4.1, point 10). So a credential may be offered directly after a marker, as in
``Sec-WebSocket-Protocol: chat.v1, wsredis.ticket, TICKET``. The server chooses ``chat.v1`` if it
supports that, else the marker, and never the credential: browsers require that the response names
exactly one of the offers.
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
        environ: the environ of the handshake.
        marker: the subprotocol that may precede it; None to ignore subprotocols.
        query: name of the query parameter that may contain it, or None.
        header: whether ``Authorization: Bearer`` may contain it (RFC 6750 section 2.1).
        cookie: name of the cookie that may contain it, in a handshake with an accepted origin, or
            None.

    Raises:
        PermissionDenied: there are several credentials, or one in a cookie without an accepted
            origin.
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
        raise PermissionDenied("There are several credentials. Send one, in one way only.")
    return found[0] if found else None


def _query(environ: dict[str, Any]) -> list[tuple[str, str]]:
    return parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)


def _cookies(environ: dict[str, Any], name: str) -> list[str]:
    """Return the cookies with a name; browsers also send them with handshakes of other sites."""
    pairs = [part.partition("=") for part in environ.get("HTTP_COOKIE", "").split(";")]
    found = [value.strip().strip('"') for key, _, value in pairs if key.strip() == name]
    if found and not environ.get(CHECKED_ORIGIN):
        raise PermissionDenied("A credential in a cookie needs an Origin header that is accepted.")
    return found
