"""Which origins may connect."""

from __future__ import annotations

from typing import Any

import pytest

from wsredis.config import Config

from .support import refused, shake


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"HTTP_ORIGIN": "http://LOCALHOST:8000"},
        {"HTTP_ORIGIN": "https://example.com", "HTTP_HOST": "example.com"},
        {"HTTP_ORIGIN": "https://example.com", "HTTP_HOST": "example.com:443"},
        {"HTTP_ORIGIN": "http://example.com:80", "HTTP_HOST": "example.com"},
        {"HTTP_ORIGIN": "http://[::1]:8000", "HTTP_HOST": "[::1]:8000"},
        {"HTTP_HOST": None},
        {
            "HTTP_ORIGIN": "https://example.com",
            "HTTP_HOST": "example.com",
            "wsgi_url_scheme": "https",
        },
        {"HTTP_ORIGIN": None},
    ],
)
def test_by_default_the_sites_own_pages_may_connect(changes: dict[str, Any]) -> None:
    assert shake(**changes)


BAD_ORIGINS = [
    "http://localhost",
    "http://localhost:8001",
    "https://localhost:8443",
    "http://localhost:8000.evil.example",
    "http://localhost.evil.example:8000",
    "http://evil.example/localhost:8000",
    "http://evil.example?localhost:8000",
    "http://evil.example#localhost:8000",
    "http://localhost:8000@evil.example",
    "http://evil.example@localhost:8000",
    "http://xlocalhost:8000",
    "http://localhost:8000/",
    "http://localhost:8000?",
    "http://localhost:8000, http://evil.example",
    "http://localhost:8000,http://localhost:8000",
    "http://localhost:8000 http://evil.example",
    "http://localhost:8000\\",
    "http://localhost:port",
    "http://localhost:99999",
    "http://[::1",
    "ws://localhost:8000",
    "localhost:8000",
    "//localhost:8000",
    "http://",
    "http://l\xf6calhost:8000",
    "*",
    "null",
    "",
]


@pytest.mark.parametrize("origin", BAD_ORIGINS)
@pytest.mark.parametrize("config", [Config(), Config(origins=("http://localhost:8000",))])
def test_a_foreign_origin_gets_403(origin: str, config: Config) -> None:
    refusal = refused(config, HTTP_ORIGIN=origin)
    assert refusal.status == 403
    assert refusal.text.startswith("Origin ")


def test_a_page_without_tls_is_a_stranger_to_the_site_with_it() -> None:
    assert refused(wsgi_url_scheme="https").status == 403


def test_without_an_origin_cookies_are_refused() -> None:
    refusal = refused(HTTP_ORIGIN=None, HTTP_COOKIE="sessionid=abc")
    assert refusal.status == 403
    assert "abc" not in refusal.text


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "https://example.com:443",
        "https://EXAMPLE.com",
        "http://a.example:81",
    ],
)
def test_a_listed_origin_may_connect(origin: str) -> None:
    config = Config(origins=("https://example.com", "http://a.example:81"))
    assert shake(config, HTTP_ORIGIN=origin)


def test_with_a_list_ones_own_origin_must_stand_in_it() -> None:
    assert refused(Config(origins=("https://example.com",))).status == 403
    assert refused(Config(origins=())).status == 403


APPS = [
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "chrome-extension://abcdefghijklmnop",
    "file://",
    "null",
]


@pytest.mark.parametrize("origin", APPS)
def test_the_origin_of_an_application_may_connect_when_it_is_listed(origin: str) -> None:
    assert shake(Config(origins=("https://example.com", origin)), HTTP_ORIGIN=origin)
    others = Config(origins=("https://example.com", *(set(APPS) - {origin})))
    assert refused(others, HTTP_ORIGIN=origin).status == 403
    assert refused(HTTP_ORIGIN=origin).status == 403


@pytest.mark.parametrize(
    "origin",
    [
        "capacitor://localhost/",
        "capacitor://localhost:80",
        "capacitor://localhost.evil.example",
        "Capacitor://localhost",
        "http://localhost",
        "capacitor://localhost, https://evil.example",
    ],
)
def test_the_origin_of_an_application_is_compared_as_written(origin: str) -> None:
    config = Config(origins=("capacitor://localhost",))
    assert refused(config, HTTP_ORIGIN=origin).status == 403


@pytest.mark.parametrize("origin", ["https://anywhere.example", "null", None])
def test_a_star_lets_every_origin_in(origin: str | None) -> None:
    assert shake(Config(origins=("*",)), HTTP_ORIGIN=origin, HTTP_COOKIE="a=b")


BEHIND = {"HTTP_X_FORWARDED_HOST": "a.example", "HTTP_X_FORWARDED_PROTO": "https"}


def test_a_trusted_proxy_says_what_is_ones_own_origin() -> None:
    trusting, peer = Config(trusted_proxies=("192.0.2.1",)), {"REMOTE_ADDR": "192.0.2.1"}
    assert shake(trusting, HTTP_ORIGIN="https://a.example", **BEHIND, **peer)
    for stranger in ("http://a.example", "https://localhost:8000", "http://localhost:8000"):
        assert refused(trusting, HTTP_ORIGIN=stranger, **BEHIND, **peer).status == 403
    assert refused(trusting, HTTP_ORIGIN="https://a.example", **BEHIND).status == 403
    assert refused(Config(), HTTP_ORIGIN="https://a.example", **BEHIND, **peer).status == 403
