"""From a WSGI environ to a `Handshake`, or to a `HandshakeError` with its HTTP answer.

The opening handshake of RFC 6455 section 4.2, its Origin check, the choice of a sub-protocol and
of permessage-deflate (RFC 7692). Nothing is sent here: the 101 is written by `wsredis.servers`,
and only once everything else has agreed.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from webob import Request
from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension
from websockets.utils import accept_key

from .config import Config, is_token
from .exceptions import HandshakeError
from .identity.credentials import CHECKED_ORIGIN, split_offers
from .proxies import forwarded_host, forwarded_scheme

__all__ = ["Handshake", "answer", "facility_of", "read_handshake"]

PLAIN = "This address speaks websocket only: send GET with the headers to upgrade to a websocket."
NOT_LISTED = "This origin may not connect; the site lists its origins."
NOT_OWN = "This origin is not that of the site, as far as the Host tells that has arrived here."
WITH_BODY = "A handshake has no body: its bytes would be taken for frames."
REFUSED_BY = "X-Refused-By"
_PORTS = {"http": 80, "https": 443}
_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True, client_no_context_takeover=True
)


@dataclass(frozen=True, slots=True)
class Handshake:
    """Hold what a valid opening handshake has settled.

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
    _check_origin(environ, config)
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(_key(environ))),
    ]
    subprotocol = None
    if "HTTP_SEC_WEBSOCKET_PROTOCOL" in environ:
        offered, marker, _ = split_offers(environ)
        subprotocol = _choose(offered, config.subprotocols) or marker
    if subprotocol is not None:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    extension, window_bits = "", 0
    if config.compression and (offers := environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS")):
        extension, window_bits = _negotiate_deflate(offers)
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
    """Tell whether a list of tokens has one, in whatever case; nearly always it is alone."""
    header = header.lower()
    return header == token or token in map(str.strip, header.split(","))


def _check_upgrade(environ: dict[str, Any]) -> None:
    """Hold RFC 6455 section 4.2.1, points 1 to 6."""
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
            426, "Websocket version 13 is spoken here.", [("Sec-WebSocket-Version", "13")]
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


def _check_origin(environ: dict[str, Any], config: Config) -> None:
    """Let in the site's own pages, or those of the listed origins (RFC 6455 section 10.2).

    Something that is no browser sends no Origin; it may come in unless it brings cookies.
    """
    origin: str | None = environ.get("HTTP_ORIGIN")
    allowed = config.origins
    if allowed is not None and "*" in allowed:
        return
    if origin is None:
        if "HTTP_COOKIE" not in environ:
            return
        raise HandshakeError(403, "Cookies without an Origin are refused.")
    place = _place(origin)
    if place is None:
        granted = False
    elif allowed is not None:
        granted = place in map(_place, allowed)
    else:
        granted = _is_own(place, environ, config)
    if not granted:
        raise HandshakeError(403, NOT_OWN if allowed is None else NOT_LISTED)
    environ[CHECKED_ORIGIN] = origin


@lru_cache(maxsize=256)
def _place(origin: str) -> tuple[str, str, int] | None:
    """Split an origin into scheme, host and port (RFC 6454); None if it is none."""
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError:
        return None
    if url.scheme not in _PORTS or not url.hostname or url.path or url.query or "@" in url.netloc:
        return None
    if not origin.isascii() or any(c <= " " or c in ",\\#?" for c in origin):
        return None
    return url.scheme, url.hostname, _PORTS[url.scheme] if port is None else port


def _is_own(place: tuple[str, str, int], environ: dict[str, Any], config: Config) -> bool:
    """Tell whether an origin is the one that the request was sent to.

    TLS may end before us, so an https page is at home on a host that we see as http; never the
    other way round.
    """
    scheme, _, _ = place
    if scheme == "http" and forwarded_scheme(environ, config) == "https":
        return False
    return place == _place(f"{scheme}://{forwarded_host(environ, config)}")


def _choose(offered: Iterable[str], known: Iterable[str]) -> str | None:
    """Return the first sub-protocol of the client's list that is spoken here; '*' speaks all."""
    if "*" in known:
        return next(filter(is_token, offered), None)
    return next((name for name in offered if name in known), None)


def _negotiate_deflate(offers: str) -> tuple[str, int]:
    """Accept the first offer of permessage-deflate that can be met (RFC 7692 section 5).

    Raises:
        HandshakeError: 400 for a header that cannot be parsed.
    """
    try:
        parsed = parse_extension(offers)
    except InvalidHeader as exc:
        raise HandshakeError(400, "Sec-WebSocket-Extensions cannot be parsed.") from exc
    for name, parameters in parsed:
        if name == _DEFLATE.name:
            try:
                agreed, extension = _DEFLATE.process_request_params(parameters, [])
            except NegotiationError:
                continue
            bits: int = extension.local_max_window_bits
            if bits > 8:  # zlib cannot deflate with less
                return build_extension([(name, agreed)]), bits
    return "", 0


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
