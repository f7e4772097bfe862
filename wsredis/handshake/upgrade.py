"""From a WSGI environ to a `Handshake`, or to a `HandshakeError` with its HTTP response.

The opening handshake of RFC 6455 section 4.2. This module sends nothing: the response is sent once
the policy and the endpoint have accepted the client too.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webob import Request
from websockets.utils import accept_key

from ..config import Config
from ..exceptions import HandshakeError
from ..protocol.http import check_headers, is_token, split_offers
from .negotiation import choose_subprotocol, negotiate_deflate
from .origin import check_origin

__all__ = [
    "REPEATED_LENGTH",
    "WITH_BODY",
    "Handshake",
    "check_answer",
    "facility_of",
    "read_handshake",
]

PLAIN = (
    "This address serves websockets only: open it with a websocket client, such as"
    " new WebSocket(). Behind a proxy, forward the headers Upgrade and Connection."
)
WITH_BODY = "A websocket handshake must not have a body: it would be read as websocket frames."
REPEATED_LENGTH = "A websocket handshake must not have a body: leave out Content-Length."

_RESERVED = ("connection", "content-length", "sec-websocket-", "transfer-encoding", "upgrade")


@dataclass(frozen=True, slots=True)
class Handshake:
    """The result of a valid opening handshake.

    Args:
        headers: the headers of the 101, without a subprotocol.
        offered: the subprotocols that the client offers, in its order of preference.
        subprotocol: the chosen subprotocol if the endpoint chooses none, or None.
        window_bits: 9 to 15 if messages to the client may be deflated, else 0.
    """

    headers: tuple[tuple[str, str], ...]
    offered: tuple[str, ...] = ()
    subprotocol: str | None = None
    window_bits: int = 0

    def answer(
        self, subprotocol: str | None, headers: Sequence[tuple[str, str]]
    ) -> tuple[tuple[str, str], ...]:
        """Return the headers of the 101.

        Args:
            subprotocol: the chosen subprotocol, or None.
            headers: additional headers.

        Raises:
            ValueError: the client does not offer that subprotocol, or a header is not valid.
        """
        answer = (*self.headers, *headers)
        check_answer(
            None if subprotocol == self.subprotocol else subprotocol, self.offered, headers
        )
        if subprotocol is not None:
            answer += (("Sec-WebSocket-Protocol", subprotocol),)
        return answer


def check_answer(
    subprotocol: str | None, offered: Sequence[str], headers: Sequence[tuple[str, str]]
) -> None:
    """Check what an application adds to the 101.

    Args:
        subprotocol: the chosen subprotocol, or None.
        offered: the subprotocols that the client offers.
        headers: additional headers.

    Raises:
        ValueError: the client does not offer that subprotocol, or a header is not valid.
    """
    check_headers(headers, _RESERVED)
    if subprotocol is not None and subprotocol not in offered:
        offers = ", ".join(offered) or "none"
        raise ValueError(
            f"The client does not offer the subprotocol {subprotocol!r}:"
            f" choose one that it offers ({offers})."
        )


def read_handshake(request: Request, config: Config) -> Handshake:
    """Check an opening handshake and negotiate its extension and its default subprotocol.

    Raises:
        HandshakeError: 400 for a request that is not a handshake, 403 for a foreign origin,
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
    offered: tuple[str, ...] = ()
    subprotocol = None
    if "HTTP_SEC_WEBSOCKET_PROTOCOL" in environ:
        names, marker, _ = split_offers(environ)
        offered = tuple(filter(is_token, names))
        subprotocol = choose_subprotocol(offered, config.subprotocols) or marker
    extension, window_bits = "", 0
    if config.compression and (offers := environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS")):
        extension, window_bits = negotiate_deflate(offers)
    if extension:
        headers.append(("Sec-WebSocket-Extensions", extension))
    return Handshake(tuple(headers), offered, subprotocol, window_bits)


def facility_of(request: Request, prefix: str) -> str:
    """Return the part of the path after the prefix; the server has decoded it (PEP 3333).

    Raises:
        HandshakeError: 400 for bytes that are not UTF-8.
    """
    path: str = request.environ.get("PATH_INFO", "")
    try:
        facility = path[len(prefix) :].encode("latin-1").decode()
        if "\ufffd" in facility:  # Werkzeug replaces invalid bytes with it
            raise ValueError(facility)
    except ValueError as exc:
        raise HandshakeError(400, "The path of the URL is not valid UTF-8.") from exc
    return facility


def _names(header: str, token: str) -> bool:
    """Return whether a comma-separated header contains a token."""
    return token in map(str.strip, header.split(","))


def _check_upgrade(environ: dict[str, Any]) -> None:
    """Check points 1 to 6 of RFC 6455 section 4.2.1."""
    if environ["REQUEST_METHOD"] != "GET":
        raise HandshakeError(400, PLAIN, [("Allow", "GET")])
    upgrade = environ.get("HTTP_UPGRADE", "").lower()
    connection = environ.get("HTTP_CONNECTION", "").lower()
    if (upgrade != "websocket" and not _names(upgrade, "websocket")) or (
        connection != "upgrade" and not _names(connection, "upgrade")
    ):
        raise HandshakeError(400, PLAIN)
    if environ.get("SERVER_PROTOCOL") in ("HTTP/1.0", "HTTP/0.9"):
        raise HandshakeError(
            400, "Websockets need HTTP/1.1. Behind nginx, write: proxy_http_version 1.1;"
        )
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        raise HandshakeError(400, WITH_BODY)
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION", "").strip() != "13":
        raise HandshakeError(
            426, "Only websocket version 13 is supported.", [("Sec-WebSocket-Version", "13")]
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
