"""A client's forwarded headers are used only as far as trusted proxies have written them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import strategies as st

from wsredis.proxies import client_address, forwarded_host, forwarded_scheme

from ._requests import environ, requests

TRUSTED = ("192.0.2.1", "10.0.0.0/8", "fd00::/8", "unix")
NOBODY = ()

SEEN = ("198.51.100.7", "https", "a.example")
"""Address, scheme and host as the trusted proxy adds them."""

SAID = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")


def check(data: bytes) -> None:
    """Hold that an address is one in its one form, ``unix`` or ``unknown``, and nothing raises.

    What a client writes changes nothing where no proxy is trusted, and where one is, nothing of
    what that one has added; nor does it matter what else the client sends.
    """
    request = environ(data)
    for trusted in (TRUSTED, NOBODY):
        address = client_address(request, trusted)
        assert address in ("unix", "unknown") or str(ip_address(address)) == address
        assert forwarded_scheme(request, trusted) in ("http", "https") or not known(request)
        assert isinstance(forwarded_host(request, trusted), str)
    silent = {name: value for name, value in request.items() if name not in SAID}
    assert seen(request, NOBODY) == seen(silent, NOBODY)
    added = {name: f"{request.get(name, '')},{word}" for name, word in zip(SAID, SEEN, strict=True)}
    assert seen({**request, **added, "REMOTE_ADDR": "192.0.2.1"}, TRUSTED) == SEEN


def known(request: dict[str, Any]) -> bool:
    """Return whether the server has named a scheme that there is."""
    return request["wsgi.url_scheme"] in ("http", "https")


def seen(request: dict[str, Any], trusted: tuple[str, ...]) -> tuple[str, str, str]:
    """Return address, scheme and host."""
    return (
        client_address(request, trusted),
        forwarded_scheme(request, trusted),
        forwarded_host(request, trusted),
    )


_PEERS = ["192.0.2.1", "10.1.2.3", "203.0.113.9", "::ffff:10.0.0.1", "fd00::7%eth0", "", "unix:"]
INPUTS = requests(
    st.just("GET /"),
    Remote_Addr=_PEERS,
    X_Forwarded_For=["198.51.100.7, 10.0.0.1", "[fd00::1]:80, 10.0.0.1:90", "unknown", *_PEERS],
    X_Forwarded_Proto=["https", "http, wss", "ftp"],
    X_Forwarded_Host=["a.example", "b.example:80, a.example"],
    Host=["inside.example:8000"],
)
