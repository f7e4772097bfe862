"""Publishing from views: `SELF`, contexts, asyncio. Transactions are in a separate file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import flasksite
import pytest
from flask import Blueprint, Flask, request
from flask.json.provider import JSONProvider
from flask_login import login_user
from markupsafe import Markup
from werkzeug.local import LocalProxy

import wsredis
from wsredis import Config, Identity
from wsredis.adapters.flask import SELF, Publisher, WSRedis, session_key, websocket_uri
from wsredis.adapters.flask.identity import HANDSHAKE
from wsredis.tickets import TicketResolver, issue_ticket

from .conftest import serving

Make = Callable[..., Flask]


@pytest.fixture
def app(make: Make) -> Flask:
    return make()


@pytest.fixture
def alice(app: Flask) -> Any:
    """Be inside a request of somebody who has logged in."""
    with app.test_request_context():
        login_user(app.config["PEOPLE"]["alice"])
        yield request


def test_self_is_who_sends_the_current_request(alice: Any) -> None:
    publisher = Publisher("x", users=[SELF, "bob"], groups=[SELF], sessions=[SELF])
    assert publisher.channels == (
        "ws:user:alice:x",
        "ws:user:bob:x",
        "ws:group:editors:x",
        "ws:group:authors:x",
        f"ws:session:{session_key()}:x",
    )


def test_the_request_may_be_named(alice: Any) -> None:
    assert Publisher("x", users=[SELF], request=alice).channels == ("ws:user:alice:x",)


def test_self_of_a_visitor_is_nobody(app: Flask) -> None:
    with app.test_request_context():
        publisher = Publisher("x", users=[SELF], sessions=[SELF], groups=[SELF])
        assert publisher.channels == ()
        assert publisher.publish("to nobody") == 0


def test_self_is_whom_the_resolver_of_the_site_sees(make: Make) -> None:
    with make(WSREDIS_IDENTITY="flasksite.token").test_request_context("/?token=7"):
        assert Publisher("x", users=[SELF]).channels == ("ws:user:token-7:x",)
    with make(WSREDIS_IDENTITY="flasksite.token").test_request_context("/"):
        assert Publisher("x", users=[SELF]).channels == ()


def test_without_self_nobody_is_looked_up(make: Make) -> None:
    with make(WSREDIS_IDENTITY=lambda request: 1 / 0).test_request_context():
        assert Publisher("x", users=["alice"]).channels == ("ws:user:alice:x",)
        with pytest.raises(ZeroDivisionError):
            Publisher("x", users=[SELF])


def test_self_is_looked_up_once(make: Make) -> None:
    asked: list[object] = []

    def groups(request: Any) -> list[str]:
        asked.append(request)
        return ["editors"]

    with make(WSREDIS_GROUPS=groups).test_request_context("/?token=alice"):
        Publisher("x", users=[SELF], groups=[SELF], sessions=[SELF])
    assert len(asked) == 1


@pytest.mark.parametrize("names", [(SELF,), {SELF}, iter([SELF])])
def test_names_are_any_iterable(names: Any, alice: Any) -> None:
    assert Publisher("x", users=names).channels == ("ws:user:alice:x",)


def test_an_identity_serves_as_well(alice: Any) -> None:
    known = SimpleNamespace(identity=Identity("carol"))
    assert Publisher("x", users=[SELF], request=known).channels == ("ws:user:carol:x",)
    given = Publisher("x", users=[SELF], identity=Identity("bob"))
    assert given.channels == ("ws:user:bob:x",)


def test_outside_of_a_request_there_is_no_self(app: Flask) -> None:
    with app.app_context(), pytest.raises(TypeError, match="SELF in users needs request="):
        Publisher("x", users=[SELF])


def test_outside_of_an_application_flask_says_what_to_write(app: Flask) -> None:
    with pytest.raises(RuntimeError, match="application context"):
        Publisher("x", broadcast=True)
    config = Config(key_prefix="given")
    assert Publisher("x", broadcast=True, config=config).channels == ("given:broadcast:x",)


def test_an_extension_of_one_application_needs_no_context(config: Config, room: str) -> None:
    app = Flask("site")
    app.config["WSREDIS_REDIS"] = config.redis
    ws = WSRedis(app)
    publisher = ws.publisher(room, broadcast=True)
    publisher.publish("retained", expire=60)
    assert publisher.fetch() == "retained"
    assert wsredis.Publisher(room, broadcast=True, config=config).fetch() == "retained"
    with pytest.raises(RuntimeError, match="application context"):
        WSRedis().publisher(room, broadcast=True)


def test_a_view_of_a_blueprint_publishes(make: Make, room: str) -> None:
    app = make()
    news = Blueprint("news", __name__, url_prefix="/news")

    @news.post("/<text>")
    def publish(text: str) -> str:
        Publisher(room, broadcast=True).publish(text, expire=60)
        return "published"

    app.register_blueprint(news)
    assert app.test_client().post("/news/hello").text == "published"
    with app.app_context():
        assert Publisher(room, broadcast=True).fetch() == "hello"


def test_asyncio_publishes_too(alice: Any, room: str) -> None:
    publisher = Publisher(room, users=[SELF])
    asyncio.run(publisher.apublish("hello", expire=60))
    assert publisher.fetch() == "hello"


def test_in_a_handshake_the_session_gets_no_key(make: Make) -> None:
    handshake = make().test_request_context(environ_base={HANDSHAKE: object()})
    with handshake, pytest.raises(RuntimeError, match="call session_key\\(\\) in a view"):
        session_key()


# The publisher and the disconnect of the core


def test_the_core_uses_the_options_of_the_only_application(make: Make) -> None:
    app = make(WSREDIS_KEY_PREFIX="site")
    assert wsredis.Publisher("x", True).channels == ("site:broadcast:x",)
    app.config["WSREDIS_KEY_PREFIX"] = "changed"  # before the first request
    assert app.test_client().get("/nowhere").status_code == 404
    assert wsredis.Publisher("x", True).channels == ("changed:broadcast:x",)
    app.extensions["wsredis"].close()
    assert wsredis.Publisher("x", True).channels == ("ws:broadcast:x",)


def test_between_applications_only_their_own_publishers_choose(make: Make) -> None:
    apps = [make(WSREDIS_KEY_PREFIX=prefix) for prefix in ("one", "two")]
    with pytest.raises(wsredis.ConfigurationError, match="differ in key_prefix: pass config="):
        wsredis.Publisher("x", True)
    for app, prefix in zip(apps, ("one", "two"), strict=True):
        with app.app_context():
            assert Publisher("x", True).channels == (f"{prefix}:broadcast:x",)


def test_applications_that_a_test_suite_has_dropped_do_not_count(make: Make) -> None:
    for number in range(20):
        make(WSREDIS_KEY_PREFIX=f"test-{number}")
    app = make(WSREDIS_KEY_PREFIX="site")
    assert wsredis.Publisher("x", True).channels == ("site:broadcast:x",)
    assert app


def test_tickets_of_an_application_have_its_options(make: Make) -> None:
    with pytest.raises(wsredis.ConfigurationError, match="WSREDIS_SECRET"):
        make(WSREDIS_IDENTITY=TicketResolver()).test_client().get("/nowhere")
    secret = "a secret of the tests that has more than 32 bytes"
    app = make(WSREDIS_IDENTITY=TicketResolver(), WSREDIS_SECRET=secret, WSREDIS_KEY_PREFIX="site")
    with serving(app) as browser:
        path = f"/ws/x?subscribe-user&ticket={issue_ticket('alice')}"
        with browser.open(path) as client:
            wsredis.Publisher("x", users=["alice"]).publish("hello")
            assert client.recv(30) == "hello"


# What it publishes

VALUES = {
    "date": date(2026, 1, 31),
    "price": Decimal("9.90"),
    "id": UUID("8f2c5b8e-6b0e-4d8c-9a53-0d0f3c1f7a11"),
    "title": Markup("<b>Yes</b>"),
}


class Lazy:
    """Text as Flask-Babel's `lazy_gettext` returns it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    __html__ = __str__


class Names(JSONProvider):
    """An encoder of the application, which knows neither arguments nor values."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        assert not kwargs
        return f'"{type(obj).__name__}"'


@pytest.mark.parametrize("way", ["publish", "apublish"])
def test_values_are_those_of_the_json_of_the_application(
    way: str, app: Flask, room: str, retained: Any
) -> None:
    with app.app_context():
        publisher = Publisher(room, broadcast=True)
    if way == "publish":  # in a thread, perhaps, without an application
        publisher.publish(VALUES, 60)
    else:
        asyncio.run(publisher.apublish(VALUES, 60))
    assert json.loads(retained()) == app.json.loads(app.json.dumps(VALUES))


def test_an_application_has_its_own_encoder(make: Make, room: str, retained: Any) -> None:
    app = make()
    app.json = Names(app)
    with app.app_context():
        publisher = Publisher(room, broadcast=True)
        publisher.publish({"a": object()}, 60)
        assert retained() == '"dict"'
        publisher.publish("text", 60)
        assert retained() == "text"


def test_without_an_application_the_values_are_those_of_the_core(config: Config) -> None:
    publisher = Publisher("x", broadcast=True, config=config)
    assert publisher.publish({"a": [1]}) == 0
    with pytest.raises(TypeError, match="a value in it of type date is not JSON-serializable"):
        publisher.publish(VALUES)


def test_nan_is_not_published(app: Flask) -> None:
    with app.app_context(), pytest.raises(TypeError, match="is not JSON-serializable"):
        Publisher("x", broadcast=True).publish([float("nan")])


def test_lazy_text_is_text(app: Flask, room: str, retained: Any) -> None:
    text: Any = Lazy("hello")
    with app.app_context():
        Publisher(room, broadcast=True).publish(text, 60)
        assert retained() == "hello"
        Publisher(room, broadcast=True).publish([text], 60)
        assert retained() == '["hello"]'
        names = Publisher(text, users=[text, LocalProxy(lambda: "alice")])
    assert names.channels == ("ws:user:hello:hello", "ws:user:alice:hello")


def test_a_uuid_is_its_string(app: Flask) -> None:
    with app.app_context():
        publisher = flasksite.ws.publisher(VALUES["id"], users=[VALUES["id"]])
        assert websocket_uri(VALUES["id"]) == f"/ws/{VALUES['id']}"
    assert publisher.channels == (f"ws:user:{VALUES['id']}:{VALUES['id']}",)
