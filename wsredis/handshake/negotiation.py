"""Negotiation of the subprotocol and of permessage-deflate (RFC 7692)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension

from ..exceptions import HandshakeError

__all__ = ["choose_subprotocol", "negotiate_deflate"]

_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True, client_no_context_takeover=True
)


_EMPTY_PARAMETER = re.compile(r"[ \t]*;(?=[ \t]*(?:[;,]|$))")
"""A semicolon without a parameter, as in ``permessage-deflate;``."""


def choose_subprotocol(offered: Iterable[str], known: Iterable[str]) -> str | None:
    """Return the first offered subprotocol that is known, or None; '*' stands for all names."""
    return next((name for name in offered if name in known or "*" in known), None)


def negotiate_deflate(offers: str) -> tuple[str, int]:
    """Accept the first acceptable offer of permessage-deflate (RFC 7692 section 5).

    Empty parameters are skipped, as RFC 9110 section 5.6.6 defines for parameters in general. Any
    other header that violates the grammar fails the handshake (RFC 6455 section 9.1).

    Returns:
        The extension header and the window bits of messages to the client; "" and 0 for no
        compression.

    Raises:
        HandshakeError: 400 for a header that cannot be parsed.
    """
    try:
        parsed = parse_extension(offers)
    except InvalidHeader:
        try:
            parsed = parse_extension(_EMPTY_PARAMETER.sub("", offers))
        except InvalidHeader as exc:
            raise HandshakeError(400, "Sec-WebSocket-Extensions cannot be parsed.") from exc
    for name, parameters in parsed:
        if name == _DEFLATE.name:
            try:
                agreed, extension = _DEFLATE.process_request_params(parameters, [])
            except NegotiationError:
                continue
            bits: int = extension.local_max_window_bits
            if bits > 8:  # zlib cannot deflate with a smaller window
                return build_extension([(name, agreed)]), bits
    return "", 0
