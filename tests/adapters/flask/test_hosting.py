"""The option ``WSREDIS_ASGI``: an ASGI application beside a Flask application."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import asgisite
import pytest
from flask import Flask

from wsredis import Config, ConfigurationError, Publisher
from wsredis.adapters.flask import WSRedis

from ..support import SECONDS, Browser, closed, environment, production, running, servers

PROJECT = Path(__file__).parent / "project"
SERVERS = production("wsgi")

Live = Callable[..., Browser]
Make = Callable[..., Flask]


@pytest.mark.parametrize(
    "asgi", ["asgisite.application", "asgisite:application", asgisite.application]
)
def test_it_has_the_websockets(live: Live, make: Make, asgi: Any) -> None:
    browser = live(make(WSREDIS_ASGI=asgi))
    browser.get("/enter?name=alice")
    with browser.open("/ws/anything") as ws:
        assert ws.recv(timeout=SECONDS) == "alice"
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "hello"
        assert browser.get("/")[0] == 200
        browser.get("/leave")
        assert closed(ws) == 4401
    with browser.open("/ws/anything") as ws:
        assert ws.recv(timeout=SECONDS) == "None"


def test_with_a_prefix_of_its_own_the_others_remain(live: Live, make: Make, room: str) -> None:
    app = make(WSREDIS_ASGI="asgisite.application", WSREDIS_ASGI_PREFIX="/channels/")
    browser = live(app)
    with (
        browser.open("/channels/anything") as hosted,
        browser.open(f"/ws/{room}?subscribe-broadcast") as ws,
        app.app_context(),
    ):
        assert hosted.recv(timeout=SECONDS) == "None"
        WSRedis().publisher(room, broadcast=True).publish("hello")
        assert ws.recv(timeout=SECONDS) == "hello"
    assert browser.get("/channels/anything")[0] == 404


def test_an_endpoint_remains_beside_it(live: Live, make: Make, room: str) -> None:
    options = {"WSREDIS_ASGI": "asgisite.application", "WSREDIS_ENDPOINT": "flasksite.Shouting"}
    browser = live(make(WSREDIS_ASGI_PREFIX="/channels/", **options))
    with browser.open("/channels/anything") as hosted:
        assert hosted.recv(timeout=SECONDS) == "None"
    query = f"/ws/{room}?subscribe-broadcast"
    with browser.open(query) as ws:
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "HELLO!"
    with pytest.raises(ConfigurationError, match="asgi and endpoint both have the websockets"):
        make(**options).test_client().get("/")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (3, "app.config['WSREDIS_ASGI'] = 3 is not callable: write an ASGI 3 application"),
        ("mysite/asgi.py", "app.config['WSREDIS_ASGI'] = 'mysite/asgi.py' is not a path: write"),
        (lambda environ, start_response: [], "takes 2 arguments, like a WSGI application"),
    ],
)
def test_what_is_no_application_is_said_at_the_first_request(
    make: Make, value: Any, says: str
) -> None:
    client = make(WSREDIS_ASGI=value).test_client()
    with pytest.raises(ConfigurationError) as refused:
        client.get("/")
    assert says in str(refused.value)


def test_an_application_that_cannot_be_imported_costs_its_websockets_only(
    live: Live, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    browser = live(make(WSREDIS_ASGI="no_such_module.application"))
    assert browser.refused("/ws/anything")[0] == 500
    assert "asgi='no_such_module.application' cannot be imported" in caplog.text
    assert browser.get("/")[0] == 200


@pytest.mark.servers
@servers(("uwsgi-gevent", "uwsgi-threads", "gunicorn-gevent", "gunicorn-gthread"))
def test_on_a_server(name: str, tmp_path: Path, config: Config, room: str) -> None:
    redis = str(config.redis)
    environ = environment(PROJECT, tmp_path, WSREDIS_REDIS=redis, WSREDIS_ASGI_PREFIX="/channels/")
    environ["FLASK_WSREDIS_ASGI"] = "asgisite:application"
    with running(SERVERS[name], tmp_path / "log", environ, tmp_path) as server:
        server.get("/enter?name=alice")
        with (
            server.open("/channels/x") as hosted,
            server.open(f"/ws/{room}?subscribe-broadcast") as ws,
        ):
            assert hosted.recv(timeout=SECONDS) == "alice"
            Publisher(room, broadcast=True, config=config).publish("hello")
            assert ws.recv(timeout=SECONDS) == "hello"
            server.get("/leave")
            assert closed(hosted) == 4401
    server.is_calm()
