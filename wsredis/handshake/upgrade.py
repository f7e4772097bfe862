"""From a WSGI environ to a `Handshake`, or to a `HandshakeError` with its HTTP answer.

The opening handshake of RFC 6455 section 4.2. Nothing is sent here: the 101 is written by
`wsredis.servers`, and only once everything else has agreed.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any

from webob import Request
from websockets.utils import accept_key

from ..config import Config
from ..exceptions import HandshakeError
from ..protocol.http import split_offers
from .negotiation import choose_subprotocol, negotiate_deflate
from .origin import check_origin

__all__ = ["WITH_BODY", "Handshake", "facility_of", "read_handshake"]

PLAIN = "This address serves websockets only: send GET with the headers of a websocket handshake."
WITH_BODY = "A handshake has no body: its bytes would be taken for frames."


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a valid opening handshake has settled.

    Args:
        headers: the headers of the 101.
        subprotocol: the chosen sub-protocol, or None.
        window_bits: 9 to 15 if messages to the client may be deflated, else 0.
    """

    headers: tuple[tuple[str, str], ...]
    subprotocol: str | None = None
    window_bits: int = 0


def read_handshake(request: Request, config: Config) -> Handshake:
    """Check an opening handshake and settle its sub-protocol and extension.

    Raises:
        HandshakeError: 400 for a request that is no handshake, 403 for a foreign origin,
            426 for another version of the protocol.
    """
    environ = request.environ
    _check_upgrade(environ)
    check_origin(environ, config)
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(_key(environ))),
    ]
    subprotocol = None
    if "HTTP_SEC_WEBSOCKET_PROTOCOL" in environ:
        offered, marker, _ = split_offers(environ)
        subprotocol = choose_subprotocol(offered, config.subprotocols) or marker
    if subprotocol is not None:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    extension, window_bits = "", 0
    if config.compression and (offers := environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS")):
        extension, window_bits = negotiate_deflate(offers)
    if extension:
        headers.append(("Sec-WebSocket-Extensions", extension))
    return Handshake(tuple(headers), subprotocol, window_bits)


def facility_of(request: Request, prefix: str) -> str:
    """Return what follows the prefix; the server has already decoded it (PEP 3333).

    Raises:
        HandshakeError: 400 for bytes that are not UTF-8.
    """
    path: str = request.environ.get("PATH_INFO", "")
    try:
        facility = path[len(prefix) :].encode("latin-1").decode()
        if "\ufffd" in facility:  # Werkzeug writes it for each byte that is wrong
            raise ValueError(facility)
    except ValueError as exc:
        raise HandshakeError(400, "The address is not valid UTF-8.") from exc
    return facility


def _names(header: str, token: str) -> bool:
    """Return whether a list of tokens has one, in whatever case; nearly always it is alone."""
    header = header.lower()
    return header == token or token in map(str.strip, header.split(","))


def _check_upgrade(environ: dict[str, Any]) -> None:
    """Check points 1 to 6 of RFC 6455 section 4.2.1."""
    if environ["REQUEST_METHOD"] != "GET":
        raise HandshakeError(400, PLAIN, [("Allow", "GET")])
    upgrade = _names(environ.get("HTTP_UPGRADE", ""), "websocket")
    if not upgrade or not _names(environ.get("HTTP_CONNECTION", ""), "upgrade"):
        raise HandshakeError(400, PLAIN)
    if environ.get("SERVER_PROTOCOL") in ("HTTP/1.0", "HTTP/0.9"):
        raise HandshakeError(
            400, "A websocket needs HTTP/1.1; behind nginx write: proxy_http_version 1.1;"
        )
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise HandshakeError(400, WITH_BODY)
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION", "").strip() != "13":
        raise HandshakeError(
            426, "Websocket version 13 is supported.", [("Sec-WebSocket-Version", "13")]
        )


def _key(environ: dict[str, Any]) -> str:
    key: str = environ.get("HTTP_SEC_WEBSOCKET_KEY", "").strip()
    try:
        nonce = binascii.a2b_base64(key, strict_mode=True)
    except ValueError:
        nonce = b""
    if len(nonce) != 16:
        raise HandshakeError(400, "Sec-WebSocket-Key must be 16 bytes in base64.")
    return key
