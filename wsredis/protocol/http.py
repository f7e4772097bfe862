"""Header syntax and names that the packages handshake and identity share; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "CHECKED_ORIGIN",
    "MARKERS",
    "RETRY_SOON",
    "SWITCHING_PROTOCOLS",
    "TICKET",
    "TOKEN",
    "check_headers",
    "http_head",
    "is_token",
    "split_offers",
]

RETRY_SOON = (("Retry-After", "2"),)
"""The header of a temporary refusal: seconds after which the client may try again."""

SWITCHING_PROTOCOLS = "101 Switching Protocols"
"""The status of the response that accepts a handshake (RFC 6455 section 4.2.2)."""

TICKET, TOKEN = "wsredis.ticket", "wsredis.token"

MARKERS = (TICKET, TOKEN)
"""Subprotocols that a client offers directly before a credential."""

CHECKED_ORIGIN = "wsredis.origin"
"""The key of the environ for an origin that the handshake has accepted."""


def split_offers(environ: dict[str, Any]) -> tuple[list[str], str | None, str]:
    """Return the offered subprotocols, the marker after them (or None), and the credential."""
    offers = environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")
    names = [offer.strip() for offer in offers]
    for index, name in enumerate(names):
        if name in MARKERS:
            return names[:index], name, ",".join(names[index + 1 :])
    return names, None, ""


def is_token(text: Any) -> bool:
    """Return whether a text is a token (RFC 9110 section 5.6.2)."""
    return bool(text) and all(c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in text)


def check_headers(headers: Iterable[tuple[Any, Any]], reserved: Iterable[str] = ()) -> None:
    """Check the headers that an application adds to a response (RFC 9110 section 5).

    Args:
        headers: names and values.
        reserved: lower-case names that the application must not set; a name that ends in ``-``
            stands for all names that begin with it.

    Raises:
        ValueError: a name or value is not valid, or a name is reserved.
    """
    for name, value in headers:
        if not isinstance(name, str) or not is_token(name):
            raise ValueError(f"{name!r:.100} is not a valid header name.")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            raise ValueError(f"The value of the header {name} is not a str of printable ASCII.")
        lower = name.lower()
        if any(lower == r or (r.endswith("-") and lower.startswith(r)) for r in reserved):
            raise ValueError(f"wsredis sets the header {name} itself: leave it out.")


def http_head(status: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the status line and the headers of a response, with the empty line (RFC 9112)."""
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    return (f"HTTP/1.1 {status}\r\n" + "".join(lines) + "\r\n").encode("latin-1")
