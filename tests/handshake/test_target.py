"""Absolute-form request targets."""

from __future__ import annotations

import pytest

from wsredis.exceptions import HandshakeError
from wsredis.handshake.target import path_of, split_target

from .support import environ


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://example.com/ws/news", "/ws/news"),
        ("HTTPS://example.com:8443/ws/a b\nc", "/ws/a b\nc"),
        ("http://[::1]:80/ws/", "/ws/"),
        ("http://example.com", "/"),
        ("http://example.com/", "/"),
        ("http:///ws/news", "/ws/news"),
        ("http:/ws/news", "http:/ws/news"),
        ("://example.com/ws/", "://example.com/ws/"),
        ("example.com/ws/", "example.com/ws/"),
        ("ws/news", "ws/news"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_the_path_of_a_target(target: str, path: str) -> None:
    assert path_of(target) == path


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        ("http://example.com:81/ws/a b", None),  # uWSGI, gevent.pywsgi, wsgiref
        ("/ws/a b", "http://example.com:81/ws/a%20b?x"),  # gunicorn, Werkzeug
    ],
)
def test_path_and_host_are_those_of_the_target(path: str, raw: str | None) -> None:
    request = environ(PATH_INFO=path, RAW_URI=raw)
    split_target(request)
    assert (request["HTTP_HOST"], request["PATH_INFO"]) == ("example.com:81", "/ws/a b")


@pytest.mark.parametrize(
    "authority",
    [
        "",
        "alice@example.com",
        "example.com:port",
        "[::1",
        "[alice]",
        "a,b",
        "a b",
        "ex\xe4mple",
        ":80",
    ],
)
def test_a_target_without_a_valid_host_is_400(authority: str) -> None:
    for changes in (
        {"PATH_INFO": f"http://{authority}/ws/news"},
        {"PATH_INFO": "/ws/news", "RAW_URI": f"http://{authority}/ws/news"},
    ):
        with pytest.raises(HandshakeError, match="send only its path") as refusal:
            split_target(environ(**changes))
        assert refusal.value.status == 400


def test_a_raw_target_of_another_form_is_400() -> None:
    with pytest.raises(HandshakeError):
        split_target(environ(RAW_URI="example.com:80"))
