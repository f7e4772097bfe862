"""The check of the Origin header (RFC 6454, RFC 6455 section 10.2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from ..config import Config
from ..exceptions import HandshakeError
from ..naming import printable
from ..protocol.http import CHECKED_ORIGIN
from ..proxies import forwarded_host, forwarded_scheme

__all__ = ["MISMATCH", "NOT_LISTED", "NOT_OWN", "check_origin"]

MISMATCH = " does not match Host "
"""Part of `NOT_OWN` and of no other refusal; ``wsredis doctor`` looks for it."""

NOT_LISTED = "Origin {origin} is not listed in `origins`. Add the origin there."
NOT_OWN = (
    "Origin {origin}" + MISMATCH + "{host}. Add the origin to `origins`, or configure the proxy to"
    " forward the Host header."
)
NO_SITE = (
    "Origin {origin} is not that of a website. Open the page over http or https, not as a local"
    " file or in a sandboxed frame."
)
OF_APPLICATION = " If it is that of an application, add it to `origins` as it is written here."
NO_ORIGIN = "A handshake with cookies needs an Origin header. Send one, or send no cookies."
_PORTS = {"http": 80, "https": 443}


def check_origin(environ: dict[str, Any], config: Config) -> None:
    """Accept the origin of the site itself, or the origins that the option ``origins`` lists.

    A client that is not a browser sends no Origin; it may connect unless it sends cookies. Origins
    with another scheme than http and https, and ``null``, must equal an entry. ``null`` does not
    count as checked, as pages of any site can send it, from a sandboxed frame.

    Raises:
        HandshakeError: 403 for any other origin.
    """
    origin: str | None = environ.get("HTTP_ORIGIN")
    allowed = config.origins
    if allowed is not None and "*" in allowed:
        return
    if origin is None:
        if "HTTP_COOKIE" not in environ:
            return
        raise HandshakeError(403, NO_ORIGIN)
    parsed = _parse(origin)
    if parsed is None:
        granted = allowed is not None and origin in allowed
    elif allowed is not None:
        granted = parsed in map(_parse, allowed)
    else:
        granted = _is_own(parsed, environ, config)
    if not granted:
        raise HandshakeError(403, _explain(origin, environ, config))
    if origin != "null":
        environ[CHECKED_ORIGIN] = origin


def _explain(origin: str, environ: dict[str, Any], config: Config) -> str:
    """Return why an origin is refused; without a Host header, the server's name is not shown."""
    shown = printable(origin) or '""'
    if _parse(origin) is None:
        advice = OF_APPLICATION if "://" in origin else ""
        return NO_SITE.format(origin=shown) + advice
    if config.origins is not None:
        return NOT_LISTED.format(origin=shown)
    host = "(none)"
    if environ.get("HTTP_HOST"):
        host = printable(forwarded_host(environ, config.trusted_proxies))
    secure = forwarded_scheme(environ, config.trusted_proxies) == "https"
    if origin.startswith("http:") and secure:
        host += " with https"
    return NOT_OWN.format(origin=shown, host=host)


@lru_cache(maxsize=256)
def _parse(origin: str) -> tuple[str, str, int] | None:
    """Split an origin into scheme, host and port (RFC 6454); return None if it is not valid."""
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


def _is_own(parsed: tuple[str, str, int], environ: dict[str, Any], config: Config) -> bool:
    """Return whether an origin is that of the host that the request was sent to.

    A proxy may terminate TLS, so an https origin matches a request that arrives over http. The
    reverse is never accepted.
    """
    scheme, _, _ = parsed
    if scheme == "http" and forwarded_scheme(environ, config.trusted_proxies) == "https":
        return False
    return parsed == _parse(f"{scheme}://{forwarded_host(environ, config.trusted_proxies)}")
