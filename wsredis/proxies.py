"""The client's address, scheme and host behind trusted proxies.

A proxy reports them in ``X-Forwarded-For``, ``-Proto`` and ``-Host``. Any client can send these
headers too, so they are used only if the direct peer, ``REMOTE_ADDR``, is a listed proxy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

__all__ = ["UNIX", "Proxies", "client_address", "forwarded_host", "forwarded_scheme"]

UNIX = "unix"
"""The address of a peer on a Unix socket, also in a list of proxies."""

# The address that gunicorn, uWSGI, Werkzeug and nginx write for such a peer; gevent.pywsgi writes
# none.
_UNIX_PEERS = frozenset(("", "0.0.0.0", "<local>", "unix:"))

_UNKNOWN = "unknown"

_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}


class Proxies:
    """A set of trusted proxies.

    Args:
        listed: addresses, networks like ``10.0.0.0/8``, and ``unix`` for peers on a Unix socket.

    Raises:
        ValueError: an entry is none of these, or is a network of all addresses.
    """

    def __init__(self, listed: Sequence[str]) -> None:
        self._networks = [ip_network(entry) for entry in listed if entry != UNIX]
        self._unix = UNIX in listed
        for network in self._networks:
            if not network.prefixlen:
                raise ValueError(f"{network} contains all addresses")

    def __contains__(self, address: str) -> bool:
        """Return whether an address, in the normal form of `client_address`, is listed."""
        if address in (UNIX, _UNKNOWN):
            return self._unix and address == UNIX
        return any(ip_address(address) in network for network in self._networks)

    def trusts(self, environ: dict[str, Any]) -> bool:
        """Return whether a request comes directly from a listed proxy."""
        return _peer(environ) in self


@lru_cache(maxsize=64)
def _read(listed: tuple[str, ...]) -> Proxies:
    return Proxies(listed)


def client_address(environ: dict[str, Any], trusted: tuple[str, ...]) -> str:
    """Return the address of the client: that of the peer, or the one that trusted proxies report.

    In a chain of proxies this is the rightmost address of ``X-Forwarded-For`` that is not trusted,
    as the client may have forged the addresses to the left of it. IPv4-mapped IPv6 addresses are
    written as IPv4. `UNIX` stands for a peer on a Unix socket, ``unknown`` for an address that the
    server does not report.
    """
    return _walk(environ, _read(trusted))[0] if trusted else _peer(environ)


def forwarded_scheme(environ: dict[str, Any], trusted: tuple[str, ...]) -> str:
    """Return ``http`` or ``https``: the scheme between client and outermost trusted proxy."""
    said = _forwarded(environ, trusted, "HTTP_X_FORWARDED_PROTO")
    seen: str = environ.get("wsgi.url_scheme", "http")
    return _SCHEMES.get(said.lower(), seen)


def forwarded_host(environ: dict[str, Any], trusted: tuple[str, ...]) -> str:
    """Return host and port as the client sent them to the outermost trusted proxy."""
    return (
        _forwarded(environ, trusted, "HTTP_X_FORWARDED_HOST")
        or environ.get("HTTP_HOST")
        or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    )


def _forwarded(environ: dict[str, Any], trusted: tuple[str, ...], name: str) -> str:
    """Return the value that the outermost trusted proxy set in a header; ``""`` for none.

    Each proxy appends its value or replaces the header. If there are more values than trusted
    proxies, the leftmost ones are from the client and are ignored.
    """
    if not trusted or name not in environ:
        return ""
    _, depth = _walk(environ, _read(trusted))
    words = environ[name].split(",")
    return words[-min(depth, len(words))].strip() if depth else ""


def _walk(environ: dict[str, Any], proxies: Proxies) -> tuple[str, int]:
    """Follow trusted proxies outwards; return the first address after them, and their number."""
    address, depth = _peer(environ), 0
    said = environ.get("HTTP_X_FORWARDED_FOR")
    before = said.split(",") if said else []
    while address in proxies:
        depth += 1
        further = _address(before.pop()) if before else _UNKNOWN
        if further == _UNKNOWN:
            break
        address = further
    return address, depth


def _peer(environ: dict[str, Any]) -> str:
    peer: str = environ.get("REMOTE_ADDR", "")
    return UNIX if peer in _UNIX_PEERS else _address(peer)


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    """Return an address in its normal form, without a port; ``unknown`` if it is not valid."""
    text = text.strip()
    if text == "unix:":
        return UNIX
    host, _, port = text.rpartition(":")
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    elif port.isdigit() and (host.startswith("[") and host.endswith("]")):
        text = host[1:-1]
    elif port.isdigit() and ":" not in host:
        text = host
    try:
        address = ip_address(text)
    except ValueError:
        return _UNKNOWN
    if isinstance(address, IPv6Address):
        # Without the zone, which names a network interface of this machine.
        address = address.ipv4_mapped or IPv6Address(int(address))
    return str(address)
