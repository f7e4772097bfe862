"""Which origins may connect (RFC 6454, RFC 6455 section 10.2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from ..config import Config
from ..exceptions import HandshakeError
from ..protocol.http import CHECKED_ORIGIN
from ..proxies import forwarded_host, forwarded_scheme

__all__ = ["NOT_LISTED", "NOT_OWN", "check_origin"]

NOT_LISTED = "This origin may not connect; the site lists its origins."
NOT_OWN = "This origin is not that of the site, as far as the Host tells that has arrived here."
_PORTS = {"http": 80, "https": 443}


def check_origin(environ: dict[str, Any], config: Config) -> None:
    """Accept the site's own pages, or those of the listed origins.

    A client that is no browser sends no Origin; it may connect unless it sends cookies.

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
        raise HandshakeError(403, "Cookies without an Origin are refused.")
    parsed = _parse(origin)
    if parsed is None:
        granted = False
    elif allowed is not None:
        granted = parsed in map(_parse, allowed)
    else:
        granted = _is_own(parsed, environ, config)
    if not granted:
        raise HandshakeError(403, NOT_OWN if allowed is None else NOT_LISTED)
    environ[CHECKED_ORIGIN] = origin


@lru_cache(maxsize=256)
def _parse(origin: str) -> tuple[str, str, int] | None:
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


def _is_own(parsed: tuple[str, str, int], environ: dict[str, Any], config: Config) -> bool:
    """Return whether an origin is the one that the request was sent to.

    TLS may end before us, so an https page is at home on a host that we see as http; never the
    other way round.
    """
    scheme, _, _ = parsed
    if scheme == "http" and forwarded_scheme(environ, config.trusted_proxies) == "https":
        return False
    return parsed == _parse(f"{scheme}://{forwarded_host(environ, config.trusted_proxies)}")
