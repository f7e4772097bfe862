"""Session keys and websockets when a user logs in or out, or a session ends otherwise."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import flasksite
import pytest
import redis
from flask import Flask, request, request_started, session
from flask.sessions import SessionInterface
from websockets.exceptions import InvalidStatus
from werkzeug.routing import BaseConverter

from wsredis.adapters.flask import Publisher, WSRedis, session_key, sessions

from ..support import SECONDS, Browser, closed

Live = Callable[..., Browser]
Make = Callable[..., Flask]
Kinds = dict[str, dict[str, Any]]


@pytest.fixture
def address(room: str) -> str:
    return f"/ws/{room}?subscribe-broadcast&subscribe-user&subscribe-session"


@pytest.fixture
def kinds(redis_client: redis.Redis) -> Kinds:
    """Return the options for each kind of session."""
    return {
        "signed": {},
        "redis": {"SESSION_TYPE": "redis", "SESSION_REDIS": redis_client},
        "store": {"STORE": True},
    }


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the keys of ended sessions instead of sending revocations."""
    given: list[str] = []
    monkeypatch.setattr(sessions, "disconnect", lambda session, config: given.append(session))
    return given


def hears(ws: Any, app: Flask, room: str) -> None:
    """See that a websocket is still open, and has missed nothing else."""
    with app.app_context():
        Publisher(room, broadcast=True).publish("still here")
    assert ws.recv(timeout=SECONDS) == "still here"


def test_a_logout_closes_the_websockets_of_this_browser_only(
    live: Live, make: Make, room: str, address: str
) -> None:
    app = make()
    desk = live(app)
    phone, bob = Browser(desk.host), Browser(desk.host)
    for browser, name in ((desk, "alice"), (phone, "alice"), (bob, "bob")):
        browser.get(f"/enter?name={name}")
    with (
        desk.open(address) as tab,
        desk.open(address) as other_tab,
        phone.open(address) as away,
        bob.open(address) as other,
    ):
        desk.get("/leave")
        assert closed(tab) == closed(other_tab) == 4401
        hears(away, app, room)
        hears(other, app, room)
    assert desk.refused(f"/ws/{room}?subscribe-user&subscribe-session")[0] == 403


def test_a_login_closes_those_of_whom_it_replaces(live: Live, address: str) -> None:
    browser = live()
    before = browser.get("/key")[1]
    with browser.open(address) as nobodys:
        browser.get("/enter?name=alice")
        assert closed(nobodys) == 4401
    with browser.open(address) as alices:
        browser.get("/enter?name=bob")
        assert closed(alices) == 4401
    assert browser.get("/key")[1] != before


def test_who_is_remembered_gets_a_key_from_a_page_and_not_from_a_handshake(
    live: Live, make: Make, room: str, address: str
) -> None:
    app = make()
    app.add_url_rule("/who", view_func=lambda: str(flasksite.current_user.id))
    browser = live(app)
    browser.get("/enter?name=alice&remember=1")
    del browser.cookies["session"]
    assert browser.refused(f"/ws/{room}?subscribe-session")[0] == 403
    with browser.open(address) as ws:
        hears(ws, app, room)
    assert browser.get("/who")[1] == "alice"
    with browser.open(address) as ws:
        assert browser.note(room, "hello")[-1].startswith("ws:session:")
        browser.get("/leave")
        assert ws.recv(timeout=SECONDS) == ws.recv(timeout=SECONDS) == "hello"
        assert closed(ws) == 4401
    assert "remember_token" not in browser.cookies


def test_a_login_of_ones_own_says_itself_whose_websockets_end(
    live: Live, make: Make, address: str
) -> None:
    app = make()

    @app.get("/own-logout")
    def leave() -> str:
        count = flasksite.ws.disconnect(session=session_key())
        return str(count)

    browser = live(app)
    other = Browser(browser.host)
    for each in (browser, other):
        each.get("/key")
    with browser.open(address) as ws, other.open(address) as beside:
        assert int(browser.get("/own-logout")[1]) >= 1  # other tests may have hubs here too
        assert closed(ws) == 4401
        beside.ping().wait(SECONDS)
        assert beside.close_code is None


@pytest.mark.parametrize("kind", ["signed", "redis", "store"])
@pytest.mark.parametrize("change", ["clear", "change_user", "forget_user", "forget_key"])
def test_a_session_that_ends_otherwise_closes_its_websockets(
    live: Live, make: Make, kinds: Kinds, address: str, kind: str, change: str
) -> None:
    browser = live(make(**kinds[kind]))
    other = Browser(browser.host)
    for each in (browser, other):
        each.get("/enter?name=alice")
    key = browser.get("/key")[1]
    with browser.open(address) as ws, other.open(address) as beside:
        browser.get(f"/session/{change}")
        assert closed(ws) == 4401
        beside.ping().wait(SECONDS)
        assert beside.close_code is None
    assert browser.get("/key")[1] != key


def test_a_session_that_gets_another_id_closes_its_websockets(
    live: Live, make: Make, kinds: Kinds, address: str
) -> None:
    browser = live(make(**kinds["redis"]))
    browser.get("/enter?name=alice")
    with browser.open(address) as ws:
        browser.get("/session/regenerate")
        assert closed(ws) == 4401
    with browser.open(address):
        pass


@pytest.mark.parametrize("kind", ["signed", "redis", "store"])
def test_other_changes_of_a_session_close_nothing(
    make: Make, kinds: Kinds, kind: str, ended: list[str]
) -> None:
    client = make(**kinds[kind]).test_client()
    for change in ("put", "clear"):
        client.get(f"/session/{change}")  # nobody has a websocket under a key
    client.get("/enter?name=alice")
    for change in ("put", "look", "nothing"):
        assert client.get(f"/session/{change}").status_code == 200
    assert ended == []
    with client.get("/leave"):
        pass
    assert len(ended) == 1


def test_a_function_that_was_there_before_may_end_the_session(ended: list[str]) -> None:
    app = Flask("site")
    app.secret_key = "a key that only the tests know"

    @app.after_request
    def leave(response: Any) -> Any:
        if request.path == "/leave":
            session.clear()
        return response

    WSRedis(app)
    app.add_url_rule("/key", "key", view_func=session_key)
    app.add_url_rule("/leave", "leave", view_func=lambda: "goodbye")
    client = app.test_client()
    key = client.get("/key").text
    with client.get("/leave"):
        pass
    assert ended == [key]


def test_a_page_that_does_not_look_at_the_session_does_not_vary_by_it() -> None:
    app = Flask("site")  # Flask-Login looks at each session
    app.secret_key = "a key that only the tests know"
    WSRedis(app)
    app.add_url_rule("/look", "look", view_func=lambda: session.get("basket", "none"))
    app.add_url_rule("/nothing", "nothing", view_func=lambda: "nothing")
    client = app.test_client()
    assert "Vary" not in client.get("/nothing").headers
    assert client.get("/look").headers["Vary"] == "Cookie"


def test_a_page_whose_url_converter_looks_at_the_session_varies_by_it() -> None:
    class Basket(BaseConverter):
        def to_python(self, value: str) -> Any:
            return session.get("basket", value)

    app = Flask("site")
    app.secret_key = "a key that only the tests know"
    app.url_map.converters["basket"] = Basket
    WSRedis(app)
    app.add_url_rule("/baskets/<basket:found>", "basket", view_func=lambda found: found)
    assert app.test_client().get("/baskets/none").headers["Vary"] == "Cookie"


def test_a_session_need_not_be_marked_as_accessed() -> None:
    class Plain(dict[str, Any]):
        """A session that is not derived from a class of Flask."""

    class Interface(SessionInterface):
        def open_session(self, app: Flask, request: Any) -> Any:
            return Plain()

        def save_session(self, app: Flask, session: Any, response: Any) -> None:
            pass

    app = Flask("site")
    app.session_interface = Interface()
    WSRedis(app)
    app.add_url_rule("/nothing", "nothing", view_func=lambda: "nothing")
    assert app.test_client().get("/nothing").status_code == 200


def test_a_response_without_a_started_request_is_processed(make: Make) -> None:
    app = make()
    with app.test_request_context("/"):
        response = app.make_response("done")
        assert app.process_response(response) is response


def test_a_receiver_that_fails_is_the_only_error_of_a_request(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    app = make()
    app.testing = False

    def fail(sender: Any, **signal: Any) -> None:
        raise LookupError("a receiver of the site")

    with request_started.connected_to(fail, app):
        # Receivers are called in no fixed order: without ours, the outcome is always the same.
        request_started.disconnect(sessions._begin, app)
        assert app.test_client().get("/put").status_code == 500
    errors = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert errors == [LookupError]


def test_the_response_to_an_error_also_closes_the_websockets(make: Make, ended: list[str]) -> None:
    app = make()
    app.testing = False
    answers = []

    def fail_once(response: Any) -> Any:
        answers.append(response.status_code)
        if len(answers) == 1:
            raise LookupError("a function of the site")
        return response

    client = app.test_client()
    client.get("/enter?name=alice")
    key = client.get("/key").text
    app.after_request_funcs[None].insert(0, fail_once)  # called after ours
    with client.get("/leave") as answer:
        assert answer.status_code == 500
    assert answers == [200, 500]
    assert ended == [key]


def test_all_websockets_of_a_user_may_be_closed(live: Live, make: Make, address: str) -> None:
    app = make()
    browser = live(app)
    browser.get("/enter?name=alice")
    with browser.open(address) as ws, app.app_context():
        flasksite.ws.disconnect(user="alice", code=4403)
        assert closed(ws) == 4403


def test_a_websocket_ends_with_the_session(live: Live, room: str, eventually: Any) -> None:
    browser = live(PERMANENT_SESSION_LIFETIME=3)  # seconds after the cookie was signed
    found: list[Any] = []
    with ExitStack() as stack:

        def opens() -> bool:
            """Log in and connect, again where this machine was too busy in between."""
            browser.get("/enter?name=alice")
            with suppress(InvalidStatus):
                found.append(stack.enter_context(browser.open(f"/ws/{room}?subscribe-user")))
            return bool(found)

        eventually(opens)
        assert closed(found[0]) == 4401
    assert browser.refused(f"/ws/{room}?subscribe-user")[0] == 403


@pytest.mark.parametrize("path", ["/leave", "/enter?name=bob"])
def test_a_redis_that_is_unavailable_stops_nobody(
    make: Make, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = make(WSREDIS_REDIS="redis://127.0.0.1:1")
    client = app.test_client()
    client.get("/enter?name=alice")
    with caplog.at_level(logging.ERROR), client.get(path) as answer:
        assert answer.status_code == 200
    assert "could not be closed" in caplog.text


def test_without_flask_login_nothing_is_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flask_login", None)
    WSRedis(Flask("site"))
