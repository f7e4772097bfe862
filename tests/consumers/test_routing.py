"""Routing by path, type and channel."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from django.urls import include, path, re_path

from wsredis.consumers import AsyncWebsocketConsumer, WebsocketConsumer
from wsredis.consumers.routes import Routes
from wsredis.consumers.routing import (
    ChannelNameRouter,
    NoRoute,
    ProtocolTypeRouter,
    URLRouter,
    check_routes,
    router,
)
from wsredis.exceptions import ConfigurationError

UUID = "a1b2c3d4-0000-4000-8000-000000000000"


def app(name: str) -> Any:
    """Return an application that stores its scope."""

    async def run(scope: Any, receive: Any, send: Any) -> None:
        run.scope = scope  # type: ignore[attr-defined]

    run.__name__ = name
    return run


one, two = app("one"), app("two")


@pytest.mark.parametrize(
    ("pattern", "path", "kwargs"),
    [
        ("ws/chat/<slug:room>/", "ws/chat/a-b_1/", {"room": "a-b_1"}),
        ("ws/<name>", "ws/anything", {"name": "anything"}),
        ("ws/<int:number>/x", "ws/07/x", {"number": 7}),
        ("ws/<uuid:key>", f"ws/{UUID}", {"key": uuid.UUID(UUID)}),
        ("ws/<path:rest>", "ws/a/b/c", {"rest": "a/b/c"}),
        ("ws/<str:a>-<str:b>", "ws/x-y", {"a": "x", "b": "y"}),
        ("a.b/", "a.b/", {}),
        ("", "", {}),
        ("ws/<str:name>", "ws/Zoë", {"name": "Zoë"}),
    ],
)
def test_patterns_that_match(pattern: str, path: str, kwargs: Any) -> None:
    found = URLRouter([(pattern, one)]).match(path)
    assert found is not None
    assert (found.app, found.kwargs, found.rest) == (one, kwargs, "")


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("ws/<int:number>", "ws/x"),
        ("ws/<int:number>", "ws/٣"),
        ("ws/<int:number>", "ws/" + "9" * 5000),  # more digits than Python converts
        ("ws/<slug:room>", "ws/a/b"),
        ("ws/<str:room>", "ws/"),
        ("ws/<uuid:key>", "ws/" + UUID.upper()),
        ("a.b", "axb"),
        ("ws/", "ws/more"),
        ("ws/", "ws"),
        ("ws", "ws\n"),
    ],
)
def test_patterns_that_do_not_match(pattern: str, path: str) -> None:
    assert URLRouter([(pattern, one)]).match(path) is None


@pytest.mark.parametrize(
    ("route", "text"),
    [
        (("/ws/", one), "begins with a slash: remove it"),
        (
            ("ws/<slag:room>/", one),
            "'slag' in the pattern 'ws/<slag:room>/' is not a converter: did",
        ),
        (("ws/<int:>", one), "'' in the pattern 'ws/<int:>' is not a name"),
        (("ws/<a>/<a>", one), "'a' in the pattern 'ws/<a>/<a>' is not a name, or not the only one"),
        (("ws/",), "is not a route: write"),
        (("ws/", "not callable"), "is not a route: write"),
        ((5, one), "is not a route: write"),
        (5, "5 is not a route: write"),
        (path("ws/", include([])), "is an include"),
    ],
)
def test_routes_that_are_not_valid(route: Any, text: str) -> None:
    with pytest.raises(ConfigurationError) as info:
        URLRouter([route])
    assert text in str(info.value)


def test_the_first_route_that_matches_is_used() -> None:
    routes = URLRouter([("ws/<str:name>", one, {"more": 1}), ("ws/x", two)])
    found = routes.match("ws/x")
    assert found is not None
    assert (found.app, found.kwargs) == (one, {"name": "x", "more": 1})


def test_routes_of_django() -> None:
    inner = URLRouter([path("<int:number>/", one), re_path(r"^(\w+)/$", two)])
    routes = URLRouter([path("ws/<slug:room>/", inner, {"more": 1}), re_path(r"^re/$", inner)])
    found = routes.match("ws/a/5/")
    assert found is not None
    assert (found.app, found.kwargs) == (one, {"room": "a", "number": 5, "more": 1})
    found = routes.match("ws/a/word/")
    assert found is not None
    assert (found.app, found.args, found.kwargs) == (two, ("word",), {"room": "a", "more": 1})
    assert routes.match("ws/a/") is None
    found = routes.match("re/5/")
    assert found is not None
    assert found.app is one


def test_a_router_that_does_not_match_is_passed_over() -> None:
    routes = URLRouter([("a/", URLRouter([("b", one)])), ("a/c", two)])
    for text, wanted in (("a/b", one), ("a/c", two)):
        found = routes.match(text)
        assert found is not None
        assert found.app is wanted


def call(application: Any, **scope: Any) -> None:
    asyncio.run(application({"type": "websocket", **scope}, None, None))


def test_a_router_as_an_application() -> None:
    routes = ProtocolTypeRouter({"websocket": URLRouter([("ws/<int:number>/", one)])})
    call(routes, path="/ws/5/")
    assert one.scope["url_route"] == {"args": (), "kwargs": {"number": 5}}
    call(routes, path="/site/ws/6/", root_path="/site")
    assert one.scope["url_route"]["kwargs"] == {"number": 6}
    outer = {"args": (1,), "kwargs": {"room": "a"}}
    call(routes, path="/x/ws/7/", path_remaining="ws/7/", url_route=outer)
    assert one.scope["url_route"] == {"args": (1,), "kwargs": {"room": "a", "number": 7}}
    with pytest.raises(NoRoute, match="there is no route for the path '/other'"):
        call(routes, path="/other")
    with pytest.raises(NoRoute, match="not below the root_path '/site'"):
        call(routes, path="/other", root_path="/site")
    with pytest.raises(NoRoute, match="scopes of type 'lifespan'"):
        asyncio.run(routes({"type": "lifespan"}, None, None))


def test_a_router_by_channel() -> None:
    routes = ChannelNameRouter({"thumbnails": two})
    call(routes, channel="thumbnails")
    assert two.scope["channel"] == "thumbnails"
    for channel in ("other", None):
        with pytest.raises(NoRoute, match="no application for the channel"):
            call(routes, channel=channel)


routes = [("ws/x", one)]
nested = ProtocolTypeRouter({"websocket": URLRouter(routes)})


@pytest.mark.parametrize(
    "value",
    [routes, tuple(routes), URLRouter(routes), nested, f"{__name__}.routes", f"{__name__}:nested"],
)
def test_the_option(value: Any) -> None:
    check_routes(value)
    found = router(value).match("ws/x")
    assert found is not None
    assert found.app is one


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "routes=5 is not valid: write a list such as"),
        (one, "is not valid: write a list"),
        (ProtocolTypeRouter({}), "routes=None is not valid"),
        ("no path", "routes='no path' is not a path: write a list"),
    ],
)
def test_options_that_are_not_valid(value: Any, text: str) -> None:
    with pytest.raises(ConfigurationError) as info:
        check_routes(value)
    assert text in str(info.value)


@pytest.mark.parametrize("value", ["no.such.module", f"{__name__}.nothing"])
def test_a_path_that_cannot_be_imported(value: str) -> None:
    check_routes(value)
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        router(value)


def test_a_class_is_an_application_once() -> None:
    class Chat(AsyncWebsocketConsumer):
        """A consumer."""

    found = URLRouter([("ws/x", Chat)])
    first, second = found.match("ws/x"), found.match("ws/x")
    assert first is not None
    assert second is not None
    assert first.app is second.app
    assert first.app.consumer_class is Chat


def test_a_route_that_differs_by_a_slash_is_named(caplog: pytest.LogCaptureFixture) -> None:
    here = Routes([("ws/a/", WebsocketConsumer)])
    others = Routes([("ws/<str:name>", WebsocketConsumer)])
    assert here.find("/ws/c") is None
    assert here.find("/\xff") is None
    for _ in range(2):
        assert here.find("/ws/a") is None
    assert others.find(f"/ws/{'b' * 300}/") is None
    first, second = [record.getMessage() for record in caplog.records]
    assert first == "there is no route for 'ws/a', but there is one for 'ws/a/'. (Once a minute.)"
    assert "but there is one for 'ws/bbbb" in second
    assert len(second) < 500


def test_a_path_is_imported_at_the_first_use() -> None:
    here = Routes(f"{__name__}.routes")
    assert here._router is None
    assert here.find("/ws/x") is not None
    broken = Routes("no.such.module")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="cannot be imported"):
            broken.find("/ws/x")
