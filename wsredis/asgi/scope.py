"""The scope of an ASGI application, made from a WSGI environ.

The ASGI websocket protocol, version 2.4 (https://asgi.readthedocs.io/en/latest/specs/www.html).
Some of a request is lost in a WSGI environ (PEP 3333): the order of headers, which of several equal
headers had which value, and the spelling of names with ``_`` or ``-``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from ..config import Config
from ..proxies import UNIX, forwarded_scheme

__all__ = ["ADDED", "ASGI", "websocket_scope"]

ADDED = "wsredis.asgi.scope"
"""The key of an environ under which a resolver may leave more entries for the scope, as a dict."""

ASGI = {"version": "3.0", "spec_version": "2.4"}
"""The versions of ASGI and of its websocket protocol."""

UNPREFIXED = {"CONTENT_TYPE": b"content-type", "CONTENT_LENGTH": b"content-length"}
"""Headers that a WSGI environ holds without ``HTTP_``."""

SCHEMES = {"http": "ws", "https": "wss"}

SAFE = "/:@!$&'()*+,;=-._~"
"""Characters that a path may contain unescaped (RFC 3986 section 3.3)."""


def websocket_scope(request: Any, config: Config, offered: Sequence[str]) -> dict[str, Any]:
    """Return the scope of a handshake.

    Args:
        request: the request, with ``client_address`` and ``identity``.
        config: the options of the middleware.
        offered: the subprotocols that the client offers.

    Raises:
        UnicodeDecodeError: the path is not UTF-8.
    """
    environ: dict[str, Any] = request.environ
    root = _decode(environ.get("SCRIPT_NAME", ""))
    path = root + _decode(environ.get("PATH_INFO", ""))
    raw: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    raw_path = raw.partition("?")[0] if raw[:1] == "/" else quote(path, safe=SAFE)
    address = request.client_address
    return {
        "type": "websocket",
        "asgi": dict(ASGI),
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2],
        "scheme": SCHEMES[forwarded_scheme(environ, config.trusted_proxies)],
        "path": path,
        "raw_path": raw_path.encode("latin-1"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": root,
        "headers": _headers(environ),
        "client": None if address in ("", UNIX) else [address, _port(environ, address)],
        "server": _server(environ),
        "subprotocols": list(offered),
        "state": {},
        "extensions": {"websocket.http.response": {}},
        "wsredis": request.identity,
        **environ.pop(ADDED, {}),
    }


def _decode(text: str) -> str:
    return text.encode("latin-1").decode()


def _headers(environ: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    headers = []
    for name, value in environ.items():
        if name[:5] == "HTTP_":
            headers.append((_header(name), value.encode("latin-1")))
        elif name in UNPREFIXED and value:
            headers.append((UNPREFIXED[name], value.encode("latin-1")))
    return headers


@lru_cache(256)  # clients choose the names
def _header(name: str) -> bytes:
    """Return the name of a header from that in an environ."""
    return name[5:].replace("_", "-").lower().encode("latin-1")


def _port(environ: Mapping[str, Any], address: str) -> int:
    """Return the port of the client; 0 if the server does not know it, or a proxy is between."""
    port = str(environ.get("REMOTE_PORT", ""))
    return int(port) if port.isdecimal() and environ.get("REMOTE_ADDR") == address else 0


def _server(environ: Mapping[str, Any]) -> list[Any]:
    port = str(environ.get("SERVER_PORT", ""))
    return [environ.get("SERVER_NAME", ""), int(port) if port.isdecimal() else None]
