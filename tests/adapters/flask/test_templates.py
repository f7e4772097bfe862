"""The template functions: the address, the script, the file of the client."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from flask import Flask, render_template_string, url_for

from wsredis.adapters.flask import WSRedis, websocket_script, websocket_uri
from wsredis.version import VERSION

Make = Callable[..., Flask]

SOURCE = f"/_wsredis/wsredis.js?v={VERSION}"


def test_the_address_follows_the_request(make: Make) -> None:
    app = make()
    with app.test_request_context():
        address = websocket_uri("news", "subscribe-broadcast", "echo")
        assert address == "ws://localhost/ws/news?subscribe-broadcast&echo"
    with app.test_request_context(base_url="https://chat.example:8443/shop"):
        assert websocket_uri() == "wss://chat.example:8443/shop/ws/"


def test_without_a_request_the_address_is_a_path(make: Make) -> None:
    with make(WSREDIS_PREFIX="/live/").app_context():
        assert websocket_uri("news", "echo") == "/live/news?echo"


def test_a_facility_is_quoted(make: Make) -> None:
    with make().test_request_context():
        address = websocket_uri("eu/a b?c#d%&é")
    assert address == "ws://localhost/ws/eu/a%20b%3Fc%23d%25%26%C3%A9"


@pytest.mark.parametrize(
    ("keys", "begun"),
    [
        (("subscribe-broadcast", "subscribe-user", "echo"), False),
        (("subscribe-broadcast", "subscribe-session"), True),
        (("publish-session",), True),
    ],
)
def test_only_a_request_for_the_session_begins_one(
    make: Make, keys: tuple[str, ...], begun: bool
) -> None:
    app = make()
    app.add_url_rule("/x", view_func=lambda: websocket_uri("news", *keys))
    answer = app.test_client().get("/x")
    assert ("Set-Cookie" in answer.headers) == begun


def test_a_page_has_no_inline_script_and_no_cookie(make: Make) -> None:
    answer = make().test_client().get("/")
    address = "ws://localhost/ws/eu/news%20%26%20more?subscribe-broadcast&echo"
    assert f'data-news="{address}"' in unescape(answer.text)
    assert "subscribe-broadcast&amp;echo" in answer.text
    assert f'<script src="{SOURCE}"></script>' in answer.text
    assert answer.text.count("<script") == 1
    assert "Set-Cookie" not in answer.headers


def test_the_script_takes_a_nonce(make: Make) -> None:
    with make().test_request_context():
        text = render_template_string("{{ websocket_script(nonce) }}", nonce='a"b')
        assert text == f'<script src="{SOURCE}" nonce="a&#34;b"></script>'
        assert text == websocket_script('a"b')


class LazyNonce:
    """A nonce that is made when it is used, and is false until then."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.used = False

    def __str__(self) -> str:
        self.used = True
        return self._text

    def __bool__(self) -> bool:
        return self.used


def test_only_none_and_the_empty_text_are_no_nonce(make: Make) -> None:
    with make().test_request_context():
        assert websocket_script(LazyNonce("abc")) == f'<script src="{SOURCE}" nonce="abc"></script>'
        assert websocket_script(0) == f'<script src="{SOURCE}" nonce="0"></script>'
        for none in (None, "", LazyNonce("")):
            assert websocket_script(none) == f'<script src="{SOURCE}"></script>'


@pytest.mark.parametrize("options", [{}, {"static_url_path": ""}, {"static_folder": None}])
def test_the_client_is_served(options: dict[str, Any]) -> None:
    app = Flask("site", **options)
    WSRedis(app)
    client = app.test_client()
    with client.get(SOURCE) as answer:
        assert answer.status_code == 200
        assert answer.mimetype == "text/javascript"
        assert "class WSRedis" in answer.text
    with client.get("/_wsredis/wsredis.mjs") as answer:
        assert answer.status_code == 200
    assert client.get("/_wsredis/../wsredis.py").status_code == 404


@pytest.mark.parametrize("host", ["example.com", "chat.example.com:8443"])
def test_the_client_is_served_with_host_matching(host: str) -> None:
    app = Flask("site", host_matching=True, static_host="static.example.com")
    WSRedis(app)
    app.add_url_rule("/", view_func=lambda: websocket_script(), host="<name>", defaults={})
    app.url_value_preprocessor(lambda endpoint, values: values and values.pop("name", None))
    client = app.test_client()
    page = client.get("/", base_url=f"https://{host}")
    assert page.text == f'<script src="{SOURCE}"></script>'
    with client.get(SOURCE, base_url=f"https://{host}") as answer:
        assert answer.status_code == 200
        assert "class WSRedis" in answer.text
    missing = client.get("/_wsredis/none.js", base_url=f"https://{host}")
    assert missing.status_code == 404
    with app.test_request_context("/", base_url=f"https://{host}"):
        other = url_for("wsredis.static", filename="wsredis.js", host="other.example.com")
        assert other == "https://other.example.com/_wsredis/wsredis.js"


def test_the_address_of_the_client_without_a_request_with_host_matching() -> None:
    app = Flask("site", host_matching=True, static_host="static.example.com", static_folder=None)
    app.config["SERVER_NAME"] = "example.com"
    WSRedis(app)
    with app.app_context():
        address = url_for("wsredis.static", filename="wsredis.js", host="example.com")
    assert address == "http://example.com/_wsredis/wsredis.js"
