"""Which requests are for websockets, and what handles them."""

from __future__ import annotations

from typing import Any

import pytest

from wsredis import Config, PubSubEndpoint, WebSocketMiddleware
from wsredis.consumers import WebsocketConsumer
from wsredis.destinations import Destinations
from wsredis.exceptions import HandshakeError

ROUTES = [("chat/<str:room>", WebsocketConsumer), ("ws/chat/<str:room>", WebsocketConsumer)]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Do nothing."""


def find(path: str, upgrade: str = "WebSocket", **options: Any) -> str:
    """Return what handles a request, in a word."""
    asgi, routes = options.pop("asgi", None), options.pop("routes", None)
    config = Config(redis="memory://x", **options)
    here = Destinations(config, None, asgi, routes, PubSubEndpoint)
    environ = {"HTTP_UPGRADE": upgrade} if upgrade else {}
    try:
        found = here.find(environ, path)
    except HandshakeError as exc:
        return str(exc.status)
    if found is None:
        return "site"
    return {"/": "route", "/live/": "asgi"}.get(found.prefix, "endpoint")


@pytest.mark.parametrize(
    ("path", "nothing", "routes", "asgi", "both"),
    [
        ("/ws/news", "endpoint", "endpoint", "endpoint", "endpoint"),
        ("/ws/chat/a", "endpoint", "route", "endpoint", "route"),
        ("/chat/a", "site", "route", "site", "route"),
        ("/chat/a/", "site", "404", "site", "404"),
        ("/live/a", "site", "404", "asgi", "asgi"),
        ("/elsewhere", "site", "404", "site", "404"),
    ],
)
def test_websockets(path: str, nothing: str, routes: str, asgi: str, both: str) -> None:
    hosted = {"asgi": application, "asgi_prefix": "/live/"}
    assert find(path) == nothing
    assert find(path, routes=ROUTES) == routes
    assert find(path, **hosted) == asgi
    assert find(path, routes=ROUTES, **hosted) == both


@pytest.mark.parametrize("upgrade", ["", "h2c"])
def test_other_requests_outside_the_prefix_are_for_the_site(upgrade: str) -> None:
    for path in ("/chat/a", "/live/a", "/elsewhere"):
        assert find(path, upgrade, routes=ROUTES) == "site"
    assert find("/ws/chat/a", upgrade, routes=ROUTES) == "endpoint"  # which refuses them


def test_a_websocket_of_the_site_reaches_the_site() -> None:
    reached: list[str] = []

    def site(environ: Any, start_response: Any) -> list[bytes]:
        reached.append(environ["PATH_INFO"])
        return []

    hosted: dict[str, Any] = {"asgi": application, "asgi_prefix": "/live/"}
    middleware = WebSocketMiddleware(site, redis="memory://x", **hosted)
    middleware({"PATH_INFO": "/elsewhere", "HTTP_UPGRADE": "websocket"}, lambda *args: None)
    assert reached == ["/elsewhere"]


@pytest.mark.parametrize(
    ("path", "upgrade", "hosted", "routed"),
    [
        ("/ws/news", "", True, True),
        ("/live/a", "websocket", True, True),
        ("/live/a", "", False, False),
        ("/chat/a", "websocket", False, True),
        ("/elsewhere", "websocket", False, True),  # it gets 404
        ("/elsewhere", "h2c", False, False),
    ],
)
def test_what_the_middleware_answers_itself(
    path: str, upgrade: str, hosted: bool, routed: bool
) -> None:
    environ = {"HTTP_UPGRADE": upgrade} if upgrade else {}
    options: list[dict[str, Any]] = [
        {"asgi": application, "asgi_prefix": "/live/"},
        {"routes": ROUTES},
    ]
    for option, serves in zip(options, (hosted, routed), strict=True):
        middleware = WebSocketMiddleware(None, redis="memory://x", **option)
        assert middleware.serves(environ, path) == serves
