"""The template tags: the address, the script, the static files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.template import Context, Engine, RequestContext, Template
from django.template.backends.jinja2 import Jinja2
from django.test import Client, RequestFactory, override_settings
from django.urls import set_script_prefix
from django.utils.functional import SimpleLazyObject, empty
from django.utils.translation import gettext_lazy

from wsredis.adapters.django.context_processors import websocket
from wsredis.adapters.django.templatetags.wsredis import websocket_script
from wsredis.adapters.django.uri import websocket_uri

Site = Callable[..., None]


@pytest.fixture(autouse=True)
def _script_prefix() -> Iterator[None]:
    yield
    set_script_prefix("/")


def rendered(text: str, context: Any = None) -> str:
    return Template("{% load wsredis %}" + text).render(context or Context())


def test_the_address_follows_the_request() -> None:
    plain = RequestFactory().get("/")
    secure = RequestFactory().get("/", secure=True, HTTP_HOST="chat.example")
    assert websocket_uri(plain, "news", "subscribe-broadcast", "echo") == (
        "ws://testserver/ws/news?subscribe-broadcast&echo"
    )
    assert websocket_uri(secure) == "wss://chat.example/ws/"


def test_the_address_knows_script_name_and_prefix(site: Site) -> None:
    site({"prefix": "/live/"})
    set_script_prefix("/shop/")
    assert websocket_uri(RequestFactory().get("/"), "news") == "ws://testserver/shop/live/news"


def test_a_facility_is_quoted() -> None:
    request = RequestFactory().get("/")
    assert websocket_uri(request, "eu/a b?c#d%&é") == (
        "ws://testserver/ws/eu/a%20b%3Fc%23d%25%26%C3%A9"
    )


def test_a_facility_may_be_a_number_or_a_translation() -> None:
    context = Context({"room": 7, "name": gettext_lazy("news")})
    assert rendered("{% websocket_uri room %} {% websocket_uri name %}", context) == (
        "/ws/7 /ws/news"
    )


def test_the_tag_escapes_what_stands_in_an_attribute() -> None:
    context = Context({"request": RequestFactory().get("/")})
    text = rendered("{% websocket_uri room 'subscribe-user' 'echo' %}", context)
    assert text == "ws://testserver/ws/?subscribe-user&amp;echo"


def test_without_a_request_the_address_is_a_path() -> None:
    assert rendered("{% websocket_uri 'news' 'echo' %}") == "/ws/news?echo"


def test_the_tag_finds_the_request_of_its_context() -> None:
    engine = Engine(libraries={"wsredis": "wsredis.adapters.django.templatetags.wsredis"})
    context = RequestContext(RequestFactory().get("/", HTTP_HOST="chat.example"))
    template = engine.from_string("{% load wsredis %}{% websocket_uri 'news' %}")
    assert template.render(context) == "ws://chat.example/ws/news"


def test_the_context_processor_gives_address_and_heartbeat(site: Site) -> None:
    site({"heartbeat": "</script>--beat--"})
    assert websocket(RequestFactory().get("/")) == {
        "WEBSOCKET_URI": "ws://testserver/ws/",
        "WEBSOCKET_HEARTBEAT": "</script>--beat--",
    }


def test_jinja2_has_it_too() -> None:
    processor = "wsredis.adapters.django.context_processors.websocket"
    engine = Jinja2(
        {"NAME": "x", "DIRS": [], "APP_DIRS": False, "OPTIONS": {"context_processors": [processor]}}
    )
    engine.env.globals.update(uri=websocket_uri, script=websocket_script)
    page = engine.from_string(
        "{{ WEBSOCKET_URI }} {{ uri(request, 'x', 'a', 'b') }} {{ script('n') }}"
    )
    assert page.render({}, RequestFactory().get("/")) == (
        "ws://testserver/ws/ ws://testserver/ws/x?a&amp;b"
        ' <script src="/static/wsredis/wsredis.js" nonce="n"></script>'
    )


def test_a_page_has_no_inline_script() -> None:
    page = Client().get("/").content.decode()
    assert '<script src="/static/wsredis/wsredis.js"></script>' in page
    assert page.count("<script") == page.count("<script src=")
    assert 'data-all="ws://testserver/ws/"' in page
    address = "ws://testserver/ws/eu/news%20%26%20more?subscribe-broadcast&echo"
    assert f'data-news="{address}"' in unescape(page)


def test_the_script_takes_a_nonce() -> None:
    text = rendered("{% websocket_script nonce=nonce %}", Context({"nonce": 'a"b'}))
    assert text == '<script src="/static/wsredis/wsredis.js" nonce="a&quot;b"></script>'


class LazyNonce(SimpleLazyObject):
    """A nonce like that of django-csp: it is false until it is used."""

    def __bool__(self) -> bool:
        return self._wrapped is not empty


@pytest.mark.parametrize(
    ("make", "attribute"),
    [
        (lambda: LazyNonce(lambda: "abc"), ' nonce="abc"'),
        (int, ' nonce="0"'),
        (lambda: None, ""),
        (str, ""),
        (lambda: LazyNonce(str), ""),
    ],
)
def test_only_none_and_the_empty_text_are_no_nonce(
    make: Callable[[], object], attribute: str
) -> None:
    text = rendered("{% websocket_script nonce %}", Context({"nonce": make()}))
    assert text == f'<script src="/static/wsredis/wsredis.js"{attribute}></script>'


def test_the_client_is_found_where_it_lies() -> None:
    found = finders.find("wsredis/wsredis.js")
    assert "class WSRedis" in Path(str(found)).read_text()


def test_collectstatic_collects_the_client_once(tmp_path: Path) -> None:
    with override_settings(STATIC_ROOT=str(tmp_path)):
        call_command("collectstatic", interactive=False, verbosity=0)
    collected = {file.name for file in tmp_path.joinpath("wsredis").iterdir()}
    assert {"wsredis.js", "wsredis.mjs"} <= collected


def test_hashed_names_are_used(tmp_path: Path) -> None:
    backend = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    storages = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": backend},
    }
    with override_settings(STATIC_ROOT=str(tmp_path), STORAGES=storages):
        call_command("collectstatic", interactive=False, verbosity=0)
        text = rendered("{% websocket_script %}")
    name = text.split('"')[1].removeprefix("/static/")
    assert name != "wsredis/wsredis.js"
    assert (tmp_path / name).is_file()
