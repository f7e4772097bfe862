"""Where a request comes from behind proxies: which peers are trusted, and about what.

A proxy says in ``X-Forwarded-For``, ``-Proto`` and ``-Host`` what it was asked for and by whom. Any
client can send these headers too, so they are read only where the direct peer, ``REMOTE_ADDR``, is
listed. What follows from an address is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

__all__ = ["UNIX", "Proxies", "client_address", "forwarded_host", "forwarded_scheme"]

UNIX = "unix"
"""The address of whoever comes through a Unix socket, and its name in a list of proxies."""

# What gunicorn, uWSGI, Werkzeug and nginx write for such a peer; gevent.pywsgi writes nothing.
_UNIX_PEERS = frozenset(("", "0.0.0.0", "<local>", "unix:"))

_UNKNOWN = "unknown"

_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}


class Proxies:
    """The peers that are proxies of ours.

    Args:
        listed: addresses, networks like ``10.0.0.0/8``, and ``unix`` for whoever comes through a
            Unix socket.

    Raises:
        ValueError: an entry is none of these, or is a network of everybody.
    """

    def __init__(self, listed: Sequence[str]) -> None:
        self._networks = [ip_network(entry) for entry in listed if entry != UNIX]
        self._unix = UNIX in listed
        for network in self._networks:
            if not network.prefixlen:
                raise ValueError(f"{network} is everybody")

    def __contains__(self, address: str) -> bool:
        """Return whether an address, as `peer_address` writes it, is listed."""
        if address in (UNIX, _UNKNOWN):
            return self._unix and address == UNIX
        return any(ip_address(address) in network for network in self._networks)

    def trusts(self, environ: dict[str, Any]) -> bool:
        """Return whether a request comes straight from a listed proxy."""
        return _peer(environ) in self


@lru_cache(maxsize=64)
def _read(listed: tuple[str, ...]) -> Proxies:
    return Proxies(listed)


def client_address(environ: dict[str, Any], trusted: tuple[str, ...]) -> str:
    """Return the address of the client: of the peer, or of whom trusted proxies name.

    In a chain of proxies that is the rightmost address of ``X-Forwarded-For`` that is not trusted:
    what stands left of it, the client may have invented. IPv4 in IPv6 is written as IPv4.
    `UNIX` is a peer on a Unix socket, ``unknown`` one of which the server tells no address.
    """
    return _walk(environ, _read(trusted))[0] if trusted else _peer(environ)


def forwarded_scheme(environ: dict[str, Any], trusted: tuple[str, ...]) -> str:
    """Return ``http`` or ``https``: what the client uses with the outermost trusted proxy."""
    said = _forwarded(environ, trusted, "HTTP_X_FORWARDED_PROTO")
    seen: str = environ.get("wsgi.url_scheme", "http")
    return _SCHEMES.get(said.lower(), seen)


def forwarded_host(environ: dict[str, Any], trusted: tuple[str, ...]) -> str:
    """Return host and port as the client has asked the outermost trusted proxy for them."""
    return (
        _forwarded(environ, trusted, "HTTP_X_FORWARDED_HOST")
        or environ.get("HTTP_HOST")
        or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    )


def _forwarded(environ: dict[str, Any], trusted: tuple[str, ...], name: str) -> str:
    """Return what the outermost trusted proxy has put into a header; ``""`` for nothing.

    Each proxy adds its own word at the right or replaces the whole, so of more words than there
    are trusted proxies the leftmost ones are the client's.
    """
    if not trusted or name not in environ:
        return ""
    _, depth = _walk(environ, _read(trusted))
    words = environ[name].split(",")
    return words[-min(depth, len(words))].strip() if depth else ""


def _walk(environ: dict[str, Any], proxies: Proxies) -> tuple[str, int]:
    """Follow trusted proxies outwards; return the first address beyond and their number."""
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
    """Return an address in its one form, without its port; ``unknown`` for what is none."""
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
        # Without the zone, a name of this machine's network card.
        address = address.ipv4_mapped or IPv6Address(int(address))
    return str(address)
