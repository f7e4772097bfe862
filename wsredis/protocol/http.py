"""Header syntax and names that handshake and identity share; no I/O and no decision."""

from __future__ import annotations

from typing import Any

__all__ = [
    "CHECKED_ORIGIN",
    "MARKERS",
    "RETRY_SOON",
    "TICKET",
    "TOKEN",
    "is_token",
    "split_offers",
]

RETRY_SOON = (("Retry-After", "2"),)
"""The header of a refusal that will pass: seconds until it is worth trying again."""

TICKET, TOKEN = "wsredis.ticket", "wsredis.token"

MARKERS = (TICKET, TOKEN)
"""Sub-protocols behind which a credential is offered."""

CHECKED_ORIGIN = "wsredis.origin"
"""The key of the environ under which a handshake keeps an origin that it has let in."""


def split_offers(environ: dict[str, Any]) -> tuple[list[str], str | None, str]:
    """Return the sub-protocols that a client offers, the marker after them and its credential."""
    offers = environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")
    names = [offer.strip() for offer in offers]
    for index, name in enumerate(names):
        if name in MARKERS:
            return names[:index], name, ",".join(names[index + 1 :])
    return names, None, ""


def is_token(text: Any) -> bool:
    """Return whether a text is a token (RFC 9110 section 5.6.2)."""
    return bool(text) and all(c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in text)
