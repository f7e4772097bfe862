"""Consumers of a Flask application: the decorator ``route`` and the option ``WSREDIS_ROUTES``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from websockets.exceptions import InvalidStatus

from wsredis import Config, ConfigurationError
from wsredis.adapters.flask import WSRedis
from wsredis.consumers import WebsocketConsumer
from wsredis.consumers.routing import ProtocolTypeRouter, URLRouter
from wsredis.layers import InMemoryChannelLayer, configure_layers, get_channel_layer

from ..support import SECONDS, Browser, closed

Live = Callable[..., Browser]
Make = Callable[..., Flask]


@pytest.fixture(autouse=True)
def layer() -> Iterator[InMemoryChannelLayer]:
    layer = InMemoryChannelLayer()
    configure_layers({"default": layer})
    yield layer
    configure_layers(None)


class Room(WebsocketConsumer):
    def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        self.group_add(self.room)
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "/who":
            scope = self.scope
            self.send(json.dumps([scope["user"], scope["session"], scope["wsredis"].user]))
        else:
            self.group_send(self.room, {"type": "said", "text": text_data})

    def said(self, event: Any) -> None:
        self.send(event["text"])


routes = [("ws/configured/<str:room>", Room)]


@pytest.mark.parametrize(
    "configured",
    [
        f"{__name__}.routes",
        routes,
        URLRouter(routes),
        ProtocolTypeRouter({"websocket": URLRouter(routes)}),
    ],
)
def test_routes_of_the_decorator_and_of_the_configuration(
    live: Live, config: Config, layer: InMemoryChannelLayer, configured: Any
) -> None:
    app = Flask("site")
    app.config.from_mapping(WSREDIS_REDIS=config.redis, WSREDIS_ROUTES=configured)
    app.secret_key = "x" * 32
    app.add_url_rule("/", view_func=lambda: "home")
    ws = WSRedis(app)
    assert ws.route("/ws/room/<string:room>")(Room) is Room
    browser = live(app)
    with browser.open("/ws/room/a") as one, browser.open("/ws/configured/a") as two:
        one.send("hello")
        assert [one.recv(timeout=SECONDS), two.recv(timeout=SECONDS)] == ["hello", "hello"]
        get_channel_layer().group_send("a", {"type": "said", "text": "from a view"})
        assert [one.recv(timeout=SECONDS), two.recv(timeout=SECONDS)] == ["from a view"] * 2
    assert browser.get("/")[0] == 200
    with pytest.raises(ConfigurationError, match="comes too late: add it before the first request"):
        ws.route("/ws/late")


def test_routes_that_cannot_be_imported_cost_only_websockets(
    live: Live, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    app = Flask("site")
    app.config.from_mapping(WSREDIS_REDIS=config.redis, WSREDIS_ROUTES="no.such.routes")
    app.secret_key = "x" * 32
    app.add_url_rule("/", view_func=lambda: "home")
    WSRedis(app).route("/ws/room/<string:room>")(Room)
    browser = live(app)
    for _ in range(2):
        with pytest.raises(InvalidStatus) as info, browser.open("/ws/room/a"):
            pass
        assert info.value.response.status_code == 500
        assert browser.get("/")[0] == 200
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "routes='no.such.routes' cannot be imported (ModuleNotFoundError)" in record.getMessage()


def test_the_scope(live: Live, make: Make) -> None:
    browser = live(make(WSREDIS_ROUTES=routes))
    browser.get("/enter?name=alice")
    with browser.open("/ws/configured/a") as ws:
        ws.send("/who")
        user, session, identity = json.loads(ws.recv(timeout=SECONDS))
        assert (user, identity) == ("alice", "alice")
        assert session["_user_id"] == "alice"
        browser.get("/leave")
        assert closed(ws) == 4401


def test_one_extension_of_several_applications(config: Config) -> None:
    ws = WSRedis()

    @ws.route("/ws/<room>")
    class Other(Room):
        """A consumer."""

    for _ in range(2):
        app = Flask("site")
        app.config["WSREDIS_REDIS"] = config.redis
        app.secret_key = "x" * 32
        ws.init_app(app)
        gate = app.extensions["wsredis"]
        assert gate._ready().routes == [("ws/<room>", Other)]
        gate.close()


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("ws/<room>", "the rule 'ws/<room>' does not begin with a slash"),
        ("/ws/<float:x>", "'float' in the pattern 'ws/<float:x>' is not a converter"),
    ],
)
def test_rules_that_are_not_valid(rule: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as info:
        WSRedis().route(rule)(Room)
    assert says in str(info.value)
