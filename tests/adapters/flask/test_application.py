"""The middleware on a live server: its handshakes, and the requests it leaves to Flask."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

import flask
import flasksite
import pytest
from flask import Flask, abort, current_app, g, has_request_context, session, url_for
from flask_login import current_user
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from wsredis.adapters.flask import Publisher, WSRedis
from wsredis.exceptions import NOT_PERMITTED

from ..support import SECONDS, Browser

Live = Callable[..., Browser]
Make = Callable[..., Flask]


def test_everybody_receives_broadcasts(live: Live, make: Make, room: str) -> None:
    app = make()
    with live(app).open(f"/ws/{room}?subscribe-broadcast") as ws:
        with app.app_context():
            Publisher(room, broadcast=True).publish({"hello": "world"})
        assert ws.recv(timeout=SECONDS) == '{"hello":"world"}'


def test_members_receive_what_is_theirs(live: Live, make: Make, room: str) -> None:
    app = make()
    alice = live(app)
    bob = Browser(alice.host)
    alice.get("/enter?name=alice")
    bob.get("/enter?name=bob")
    query = f"/ws/{room}?subscribe-user&subscribe-group&subscribe-session"
    with alice.open(query) as one, bob.open(query) as two, app.app_context():
        Publisher(room, users=["alice"]).publish("for alice")
        Publisher(room, groups=["editors"]).publish("for editors")
        Publisher(room, sessions=[bob.get("/key")[1]]).publish("for this browser")
        Publisher(room, users=["bob"]).publish("for bob")
        assert [one.recv(timeout=SECONDS) for _ in range(2)] == ["for alice", "for editors"]
        assert [two.recv(timeout=SECONDS) for _ in range(2)] == ["for this browser", "for bob"]


def test_what_somebody_may_publish_the_callback_says(live: Live, room: str) -> None:
    visitor = live(WSREDIS_ALLOWED_CHANNELS="flasksite.members")
    member = Browser(visitor.host)
    member.get("/enter?name=alice")
    query = f"/ws/{room}?subscribe-broadcast&publish-broadcast&echo"
    with member.open(query) as one, visitor.open(query) as other:
        one.send("hello")
        assert one.recv(timeout=SECONDS) == other.recv(timeout=SECONDS) == "hello"
        other.send("hello")
        with pytest.raises(Exception, match="1008"):
            other.recv(timeout=SECONDS)


def test_callbacks_get_flasks_request_in_its_context(live: Live, room: str) -> None:
    seen: dict[str, Any] = {}

    def allowed_channels(request: flask.Request, requested: tuple[str, ...]) -> tuple[str, ...]:
        g.something = "of this handshake"
        seen.update(
            same=request is flask.request._get_current_object(),  # type: ignore[attr-defined]
            app=current_app.name,
            path=request.path,
            token=request.args["q"],
            theme=request.cookies["theme"],
            agent=request.headers["X-Agent"],
            host=request.host,
            user=current_user.id,
            basket=session["basket"],
            url=url_for("pages.page"),
            identity=request.identity,  # type: ignore[attr-defined]
            requested=requested,
        )
        return requested

    browser = live(WSREDIS_ALLOWED_CHANNELS=allowed_channels)
    browser.get("/enter?name=alice")
    browser.get("/put?basket=7")
    browser.cookies["theme"] = "dark"
    with browser.open(f"/ws/{room}?subscribe-user&q=1%2B1", **{"X-Agent": "tests"}):
        pass
    identity = seen.pop("identity")
    assert (identity.user, identity.groups) == ("alice", ("editors", "authors"))
    assert seen == {
        "same": True,
        "app": "flasksite",
        "path": f"/ws/{room}",
        "token": "1+1",
        "theme": "dark",
        "agent": "tests",
        "host": browser.host,
        "user": "alice",
        "basket": "7",
        "url": "/",
        "requested": ("subscribe-user",),
    }


@pytest.mark.parametrize("ends", ["accepted", "refused", "failed"])
def test_a_handshake_is_torn_down_like_a_request(
    live: Live, make: Make, room: str, ends: str, eventually: Any
) -> None:
    heard: list[object] = []

    def allowed_channels(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
        heard.append("asked")
        return {"accepted": requested, "refused": (), "failed": None}[ends]  # type: ignore[return-value]

    app = make(WSREDIS_ALLOWED_CHANNELS=allowed_channels)
    app.before_request(lambda: heard.append("before"))
    app.teardown_request(lambda exc: heard.append(("request", exc)))
    app.teardown_appcontext(lambda exc: heard.append(("app", exc, has_request_context())))
    browser = live(app)
    address = f"/ws/{room}?subscribe-broadcast"
    if ends == "accepted":
        with browser.open(address):
            pass
    else:
        assert browser.refused(address)[0] == 403
    eventually(lambda: len(heard) == 3)  # the answer goes out before
    assert heard == ["asked", ("request", None), ("app", None, False)]


def test_a_page_is_flasks(live: Live) -> None:
    status, body = live().get("/")
    assert status == 200
    assert "wsredis.js" in body


def test_an_address_of_no_view_is_flasks_too(live: Live) -> None:
    browser = live()
    assert browser.get("/nowhere")[0] == 404
    assert browser.get("/wsfoo")[0] == 404
    assert browser.get("/ws/x")[0] == 400


CALLBACKS = ["ALLOWED_CHANNELS", "ENDPOINT", "IDENTITY", "USER"]

NOT_GRANTED = (
    "Not granted to an anonymous client: subscribe-broadcast."
    " Log in if allowed_channels grants it to users, or grant it there."
)


@pytest.mark.parametrize("where", CALLBACKS)
@pytest.mark.parametrize(
    ("raised", "answer"),
    [
        (lambda: abort(403, "a secret reason"), (403, "Forbidden.\n")),
        (lambda: abort(404), (404, "Not Found.\n")),
        (lambda: abort(401), (401, "Unauthorized.\n")),
        (lambda: flask.request.args["missing"], (400, "Bad Request.\n")),
        (lambda: abort(flask.redirect("/login")), (403, f"{NOT_PERMITTED}\n")),
    ],
    ids=["403", "404", "401", "400", "redirect"],
)
def test_a_callback_may_abort(
    live: Live, room: str, where: str, raised: Any, answer: tuple[int, str]
) -> None:
    browser = live(**{f"WSREDIS_{where}": lambda *args: raised()})
    status, text = answer
    if where == "ALLOWED_CHANNELS":
        text = text.replace(NOT_PERMITTED, NOT_GRANTED)
    assert browser.refused(f"/ws/{room}?subscribe-broadcast") == (status, text)


@pytest.mark.parametrize("where", CALLBACKS)
def test_a_failing_callback_refuses_the_handshake(live: Live, room: str, where: str) -> None:
    browser = live(**{f"WSREDIS_{where}": lambda *args: 1 / 0})
    status, text = browser.refused(f"/ws/{room}?subscribe-broadcast")
    assert status == (500 if where == "ENDPOINT" else 403)
    assert "zero" not in text


def test_a_refusal_is_no_error_in_the_log(
    live: Live, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    browser = live(WSREDIS_ALLOWED_CHANNELS=lambda request, requested: abort(403))
    with caplog.at_level(logging.ERROR):  # it is a warning at most, once a minute
        assert browser.refused(f"/ws/{room}?subscribe-broadcast")[0] == 403
    assert not caplog.records


def test_a_session_store_that_fails_lets_nobody_in(live: Live, make: Make, room: str) -> None:
    app = make(STORE=True)
    app.session_interface.open_session = lambda app, request: 1 / 0  # type: ignore[method-assign, assignment]
    assert live(app).refused(f"/ws/{room}?subscribe-broadcast")[0] == 403


def test_a_callback_grants_no_more_than_was_asked(live: Live, make: Make, room: str) -> None:
    app = make(
        WSREDIS_ALLOWED_CHANNELS=lambda request, requested: [
            "subscribe-broadcast",
            "subscribe-user",
        ]
    )
    browser = live(app)
    browser.get("/enter?name=alice")
    with browser.open(f"/ws/{room}?subscribe-broadcast") as ws, app.app_context():
        Publisher(room, users=["alice"]).publish("not asked for")
        Publisher(room, broadcast=True).publish("asked for")
        assert ws.recv(timeout=SECONDS) == "asked for"


def test_an_endpoint_of_ones_own_gets_flasks_request(live: Live, room: str) -> None:
    browser = live(WSREDIS_ENDPOINT="flasksite.Shouting")
    with browser.open(f"/ws/{room}?subscribe-broadcast&suffix=%21%3F") as ws:
        ws.send("hello")
        assert ws.recv(timeout=SECONDS) == "HELLO!?"


def test_several_applications_in_one_process_share_nothing(
    live: Live, make: Make, room: str
) -> None:
    shop = make(WSREDIS_KEY_PREFIX="shop", WSREDIS_PREFIX="/live/")
    blog = make(WSREDIS_KEY_PREFIX="blog", SECRET_KEY="another")
    query = f"{room}?subscribe-broadcast&subscribe-user"
    in_shop, in_blog = live(shop), live(blog)
    in_shop.get("/enter?name=alice")
    in_blog.cookies = in_shop.cookies
    with in_shop.open(f"/live/{query}") as one, in_blog.open(f"/ws/{query}") as other:
        assert in_shop.get("/ws/")[0] == 404
        assert in_shop.note(room, "x")[0] == f"shop:user:alice:{room}"
        assert one.recv(timeout=SECONDS) == "x"
        for app in (shop, blog):
            with app.app_context():
                Publisher(room, users=["alice"]).publish("to alice")
                Publisher(room, broadcast=True).publish(f"to {app.config['WSREDIS_KEY_PREFIX']}")
        assert [one.recv(timeout=SECONDS) for _ in range(2)] == ["to alice", "to shop"]
        assert other.recv(timeout=SECONDS) == "to blog"


def test_an_application_may_be_mounted_below_another(live: Live, make: Make, room: str) -> None:
    outer, inner = Flask("outer"), make()
    browser = live(inner, DispatcherMiddleware(outer, {"/shop": inner}))
    browser.get("/shop/enter?name=alice")
    assert browser.get(f"/ws/{room}?subscribe-broadcast")[0] == 404
    _, page = browser.get("/shop/")
    assert f"ws://{browser.host}/shop/ws/eu/news" in page
    with browser.open(f"/shop/ws/{room}?subscribe-user") as ws, inner.app_context():
        Publisher(room, users=["alice"]).publish("hello")
        assert ws.recv(timeout=SECONDS) == "hello"


def test_behind_a_proxy_the_origin_is_the_one_that_proxy_fix_sees(
    live: Live, make: Make, room: str
) -> None:
    app = make()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)  # type: ignore[method-assign]
    browser = live(app)
    headers = {"Origin": "https://chat.example", "X-Forwarded-Host": "chat.example"}
    address = f"/ws/{room}?subscribe-broadcast"
    with browser.open(address, **headers, **{"X-Forwarded-Proto": "https"}):
        pass
    assert browser.refused(address, **{**headers, "X-Forwarded-Host": "evil.example"})[0] == 403


def test_a_host_that_is_not_trusted_gets_no_websocket(live: Live, room: str) -> None:
    browser = live(TRUSTED_HOSTS=["127.0.0.1"])
    address = f"/ws/{room}?subscribe-broadcast"
    with browser.open(address):
        pass
    with socket.create_connection(browser.host.split(":")) as sock:
        answer = Browser("rebound.example").refused(address, sock=sock)
    assert answer == (400, "Bad Request.\n")


def test_an_unavailable_redis_is_503(live: Live, room: str) -> None:
    browser = live(WSREDIS_REDIS="redis://127.0.0.1:1")
    assert browser.refused(f"/ws/{room}?subscribe-broadcast")[0] == 503


def test_counters_are_those_of_the_core(live: Live, make: Make, room: str) -> None:
    app = make()
    gate = app.extensions["wsredis"]
    browser = live(app)
    assert gate.stats()["connections"] == 0
    with browser.open(f"/ws/{room}?subscribe-broadcast"):
        assert gate.stats()["connections"] == 1


def test_the_test_client_of_flask_gets_pages_and_a_sentence(make: Make) -> None:
    client = make().test_client()
    assert client.get("/").status_code == 200
    assert client.get("/ws/x?subscribe-broadcast").status_code == 501


def test_one_extension_object_serves_a_module_and_a_factory() -> None:
    app = Flask("by_module")
    assert WSRedis(app).app is app
    assert flasksite.ws.app is None
