"""The context processor, the static file, and the messages of ``manage.py check``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks
from django.template import Context, Engine
from django.test import RequestFactory
from ws4redis import checks
from ws4redis.context_processors import default
from ws4redis.publisher import RedisPublisher
from ws4redis.wsgi_server import WebsocketWSGIServer

from wsredis.naming import RESERVED_PREFIXES

Site = Callable[..., None]
TEMPLATE = Engine().from_string("{{ WEBSOCKET_URI }}foobar {{ WS4REDIS_HEARTBEAT }}")


def render(**request: Any) -> str:
    return TEMPLATE.render(Context(default(RequestFactory().get("/", **request))))


def test_the_address_has_the_pages_scheme_and_host() -> None:
    assert render() == "ws://testserver/ws/foobar null"
    assert render(secure=True) == "wss://testserver/ws/foobar null"
    assert render(SERVER_NAME="chat.example", SERVER_PORT="8000").startswith(
        "ws://chat.example:8000/ws/foobar"
    )


@pytest.mark.parametrize("url", ["/sockets/", "/sockets"])
def test_the_address_ends_with_a_slash(site: Site, url: str) -> None:
    site(WEBSOCKET_URL=url)
    assert default(RequestFactory().get("/"))["WEBSOCKET_URI"] == "ws://testserver/sockets/"


def test_the_heartbeat_is_a_quoted_string(site: Site) -> None:
    site(WS4REDIS_HEARTBEAT="--heartbeat--")
    assert render().endswith(' "--heartbeat--"')


@pytest.mark.parametrize(
    "text",
    ["</script><script>alert(1)</script>", "a\"b'c", "back\\slash\\", 'x" onload="y', "é\u2028"],
)
def test_the_heartbeat_can_end_neither_script_nor_attribute(site: Site, text: str) -> None:
    site(WS4REDIS_HEARTBEAT=text)
    literal = default(RequestFactory().get("/"))["WS4REDIS_HEARTBEAT"]
    assert json.loads(literal) == text
    assert literal[0] == literal[-1] == '"'
    assert not set("<>&'\"`=") & set(literal[1:-1])


@pytest.mark.parametrize("heartbeat", [None, ""])
def test_no_heartbeat_is_null(site: Site, heartbeat: str | None) -> None:
    site(WS4REDIS_HEARTBEAT=heartbeat)
    assert render().endswith(" null")


def test_the_checks_find_what_would_not_start(site: Site) -> None:
    assert checks.check_settings() == []
    site(
        WS4REDIS_EXPIRE="x",
        WS4REDIS_SUBSCRIBER="no.such",
        WS4REDIS_ALLOWED_CHANNELS="no.such",
        WS4REDIS_PROCESS_REQUEST=17,
    )
    found = checks.check_settings()
    assert [problem.id for problem in found] == [f"ws4redis.E00{n}" for n in (1, 2, 3, 4)]
    assert {problem.id for problem in run_checks(tags=["ws4redis"])} >= {"ws4redis.E001"}


def test_the_deployment_check_tells_that_everybody_may_publish(site: Site) -> None:
    assert [problem.id for problem in checks.check_open()] == ["ws4redis.W001"]
    site(WS4REDIS_ALLOWED_CHANNELS=lambda request, channels: channels)
    assert checks.check_open() == []


@pytest.mark.parametrize(
    ("prefix", "number", "found"),
    [
        *((word, 0, ["ws4redis.W002"]) for word in sorted(RESERVED_PREFIXES)),
        ("user:shop", 0, ["ws4redis.W002"]),
        (None, 2, ["ws4redis.W003"]),
        ("shop", 2, []),
        ("users", 0, []),
        (None, 0, []),
        (None, None, []),
    ],
)
def test_the_checks_find_channels_that_two_sites_share(
    site: Site, prefix: str | None, number: int | None, found: list[str]
) -> None:
    site(WS4REDIS_PREFIX=prefix, WS4REDIS_CONNECTION={"host": "localhost", "db": number})
    messages = checks.check_channels()
    assert [message.id for message in messages] == found
    assert all(message.hint for message in messages)


def test_a_reserved_prefix_works_and_a_warning_is_logged_at_the_start(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site(WS4REDIS_PREFIX="demo")
    WebsocketWSGIServer().close()
    assert caplog.text == ""
    site(WS4REDIS_PREFIX="user")
    WebsocketWSGIServer().close()
    assert "WS4REDIS_PREFIX = 'user' makes channels of this site equal to" in caplog.text
    assert RedisPublisher(facility="x", broadcast=True)._publishers == {"user:broadcast:x"}
