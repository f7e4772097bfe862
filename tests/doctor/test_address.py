from __future__ import annotations

import pytest

from wsredis.doctor.address import Address


@pytest.mark.parametrize(
    ("url", "tls", "authority", "prefix"),
    [
        ("wss://example.com/ws/", True, "example.com", "/ws/"),
        ("ws://example.com:80/ws/", False, "example.com", "/ws/"),
        ("https://example.com:8443/live/news?subscribe-user", True, "example.com:8443", "/live/"),
        ("http://example.com", False, "example.com", "/ws/"),
        ("http://[::1]:8000/a/b/c", False, "[::1]:8000", "/a/b/"),
        ("ws://bücher.example/ws/", False, "xn--bcher-kva.example", "/ws/"),
        ("ws://example.com/a b/", False, "example.com", "/a%20b/"),
    ],
)
def test_an_address_is_read(url: str, tls: bool, authority: str, prefix: str) -> None:
    address = Address.parse(url)
    assert (address.tls, address.authority, address.prefix) == (tls, authority, prefix)
    assert address.origin == f"{'https' if tls else 'http'}://{authority}"
    scheme = "wss" if tls else "ws"
    assert address.url().startswith(f"{scheme}://{authority}{prefix}wsredis-doctor-")
    assert address.url().endswith("?subscribe-broadcast")


def test_nobody_else_has_the_facility() -> None:
    first, second = (Address.parse("ws://example.com/ws/news").facility for _ in range(2))
    assert first != second
    assert "news" not in first
    assert Address.parse("ws://example.com", "a/b c").target() == "/ws/a/b%20c?subscribe-broadcast"


def test_what_the_query_requests_is_left_out_and_the_rest_stays() -> None:
    address = Address.parse(
        "ws://example.com/ws/x?subscribe-user&ticket=a%20b&echo&publish-user", "f"
    )
    assert address.target() == "/ws/f?subscribe-broadcast&ticket=a%20b"
    assert address.target("publish-user", prefix="/x/") == "/x/f?publish-user&ticket=a%20b"


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com", "ftp://example.com", "ws://", "ws:///ws/", "ws://example.com:0"),
        *("ws://example.com:x", "ws://alice:secret@example.com", "ws://alice@example.com"),
        *("ws://" + "a" * 64 + ".example", "ws://[::1"),
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match=r".{10}"):
        Address.parse(url)
