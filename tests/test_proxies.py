"""Forwarded headers are trusted from listed proxies only."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsredis.config import Config
from wsredis.proxies import Proxies, client_address, forwarded_host, forwarded_scheme

PROXIES = ("192.0.2.1", "10.0.0.0/8", "fd00::/8", "unix")
NOBODY = Config().trusted_proxies


def environ(peer: str | None, **said: str) -> dict[str, Any]:
    """Return what a server makes of a request from a peer with ``X-Forwarded-*`` headers."""
    headers = {f"HTTP_X_FORWARDED_{name.upper()}": value for name, value in said.items()}
    where = {"HTTP_HOST": "inside.example:8000", "wsgi.url_scheme": "http"}
    return {**where, **headers, **({} if peer is None else {"REMOTE_ADDR": peer})}


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        # Nobody stands between, or nobody who is listed: what is said does not count.
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),
        ("11.0.0.1", "198.51.100.7", "11.0.0.1"),
        # One proxy.
        ("192.0.2.1", "198.51.100.7", "198.51.100.7"),
        ("10.255.0.3", "198.51.100.7", "198.51.100.7"),
        ("fd00::1", "2001:DB8:0::7", "2001:db8::7"),
        # The client has invented what stands left of it.
        ("192.0.2.1", "127.0.0.1, 10.0.0.1, 198.51.100.7", "198.51.100.7"),
        ("192.0.2.1", "nonsense,198.51.100.7", "198.51.100.7"),
        # A chain.
        ("192.0.2.1", "198.51.100.7, 10.0.0.1,10.0.0.2 , fd00::2", "198.51.100.7"),
        ("192.0.2.1", "8.8.8.8, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
        # The proxy asks for itself.
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "10.0.0.1", "10.0.0.1"),
        # What is no address ends the search at the proxy that has said it.
        ("192.0.2.1", "198.51.100.7, unknown", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7, _hidden, 10.0.0.1", "10.0.0.1"),
        ("192.0.2.1", "198.51.100.7,", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7\r\nuser=alice", "192.0.2.1"),
        # Some proxies add the port.
        ("192.0.2.1", "198.51.100.7:4711", "198.51.100.7"),
        ("192.0.2.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("192.0.2.1", "[2001:db8::7]", "2001:db8::7"),
        ("192.0.2.1", "198.51.100.7:port", "192.0.2.1"),
        # One address has one form.
        ("::ffff:192.0.2.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("fe80::1%eth0", None, "fe80::1"),
        # Unix sockets, in the words of gunicorn, uWSGI, Werkzeug, nginx and gevent.
        ("", "198.51.100.7", "198.51.100.7"),
        ("0.0.0.0", "198.51.100.7", "198.51.100.7"),
        ("<local>", "198.51.100.7", "198.51.100.7"),
        ("unix:", "198.51.100.7", "198.51.100.7"),
        (None, "198.51.100.7", "198.51.100.7"),
        ("192.0.2.1", "198.51.100.7, unix:", "198.51.100.7"),
        (None, None, "unix"),
        # A server that tells no address.
        ("localhost", "198.51.100.7", "unknown"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_trusted(
    peer: str | None, said: str | None, address: str
) -> None:
    request = environ(peer, **({} if said is None else {"For": said}))
    assert client_address(request, PROXIES) == address


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "", None, "0.0.0.0", "unknown", "unix"])
def test_by_default_nobody_is_believed(peer: str | None) -> None:
    request = environ(peer, For="198.51.100.7", Proto="https", Host="outside.example")
    assert client_address(request, NOBODY) != "198.51.100.7"
    assert forwarded_scheme(request, NOBODY) == "http"
    assert forwarded_host(request, NOBODY) == "inside.example:8000"


@pytest.mark.parametrize(
    ("peer", "said", "scheme", "host"),
    [
        ("192.0.2.1", {"Proto": "https", "Host": "a.example"}, "https", "a.example"),
        ("192.0.2.1", {"Proto": "HTTPS"}, "https", "inside.example:8000"),
        ("192.0.2.1", {"Proto": "wss"}, "https", "inside.example:8000"),
        ("192.0.2.1", {"Proto": "http"}, "http", "inside.example:8000"),
        ("192.0.2.1", {"Proto": "gopher", "Host": ""}, "http", "inside.example:8000"),
        ("203.0.113.9", {"Proto": "https", "Host": "a.example"}, "http", "inside.example:8000"),
        # A proxy that adds to what the client has sent, as Apache does with the host.
        ("192.0.2.1", {"Host": "evil.example, a.example"}, "http", "a.example"),
        # In a chain the outermost trusted proxy was the one that the client has asked.
        (
            "192.0.2.1",
            {"For": "198.51.100.7, 10.0.0.1", "Host": "evil.example, a.example, b.example"},
            "http",
            "a.example",
        ),
        ("192.0.2.1", {"For": "198.51.100.7, 10.0.0.1", "Proto": "https"}, "https", None),
    ],
)
def test_scheme_and_host_are_those_that_the_client_has_asked_a_trusted_proxy_for(
    peer: str, said: dict[str, str], scheme: str, host: str | None
) -> None:
    request = environ(peer, **said)
    assert forwarded_scheme(request, PROXIES) == scheme
    assert forwarded_host(request, PROXIES) == (host or "inside.example:8000")


def test_a_request_without_a_host_has_its_servers_name() -> None:
    request = {"SERVER_NAME": "localhost", "SERVER_PORT": "8000"}
    assert forwarded_host(request, PROXIES) == "localhost:8000"


@pytest.mark.parametrize("listed", [["10.0.0.0/8"], ["::1"], []])
def test_who_comes_through_a_unix_socket_is_no_address(listed: list[str]) -> None:
    assert not Proxies(listed).trusts({"REMOTE_ADDR": ""})
    assert not Proxies(listed).trusts({})


ADDRESSES = st.ip_addresses().map(str)
TRUSTED = st.sampled_from(["192.0.2.1", "10.1.2.3", "fd00::7", "unix:"])
TEXTS = st.text(alphabet="0123456789abcdef.:,[]% xunk\r\n", max_size=30)


@given(st.lists(ADDRESSES | TRUSTED | TEXTS, max_size=6), st.lists(TRUSTED, max_size=3))
def test_nothing_that_a_client_writes_changes_its_address(
    invented: list[str], chain: list[str]
) -> None:
    said = ",".join([*invented, "198.51.100.7", *chain])
    request = environ("192.0.2.1", For=said)
    assert client_address(request, PROXIES) == "198.51.100.7"


@given(TEXTS, TEXTS)
def test_an_address_is_one_or_a_plain_word(peer: str, said: str) -> None:
    address = client_address(environ(peer, For=said), PROXIES)
    assert address in ("unix", "unknown") or str(ip_address(address)) == address
