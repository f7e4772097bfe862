"""The middleware on a live server: handshakes of Django users."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.core.signals import request_finished, request_started
from django.db import connection, connections
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import get_urlconf, set_urlconf
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from wsredis import ConfigurationError
from wsredis.adapters.django import (
    DjangoWebSocketMiddleware,
    Publisher,
    get_websocket_application,
    options,
)

Site = Callable[..., None]
Person = Callable[..., Any]
Login = Callable[[Any], Client]


def status(live: Any, path: str, client: Client | None = None, **headers: str) -> tuple[int, str]:
    """Return the answer to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as refused, live.open(path, client, **headers):
        pass
    response = refused.value.response
    return response.status_code, response.body.decode()


def test_everybody_receives_broadcasts(live: Any, room: str) -> None:
    with live.open(f"/ws/{room}?subscribe-broadcast") as ws:
        Publisher(room, broadcast=True).publish({"hello": "world"})
        assert ws.recv(timeout=30) == '{"hello":"world"}'


def test_members_receive_what_is_theirs(live: Any, room: str, person: Person, login: Login) -> None:
    alice, bob = login(person("alice", "editors")), login(person("bob"))
    query = f"/ws/{room}?subscribe-user&subscribe-group&subscribe-session"
    with live.open(query, alice) as one, live.open(query, bob) as two:
        Publisher(room, users=["alice"]).publish("for alice")
        Publisher(room, groups=["editors"]).publish("for editors")
        Publisher(room, sessions=[bob.cookies["sessionid"].value]).publish("for this browser")
        Publisher(room, users=["bob"]).publish("for bob")
        assert [one.recv(timeout=30) for _ in range(2)] == ["for alice", "for editors"]
        assert [two.recv(timeout=30) for _ in range(2)] == ["for this browser", "for bob"]


def test_the_log_contains_no_session_key(
    live: Any, room: str, person: Person, login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    client = login(person("alice"))
    key = client.cookies["sessionid"].value
    with (
        caplog.at_level(logging.DEBUG, "wsredis"),
        live.open(f"/ws/{room}?subscribe-session", client) as ws,
    ):
        Publisher(room, sessions=[key]).publish("hello")
        assert ws.recv(timeout=30) == "hello"
    assert "open user=alice" in caplog.text
    assert key not in caplog.text


def test_what_somebody_may_publish_the_callback_says(
    live: Any, room: str, person: Person, login: Login
) -> None:
    query = f"/ws/{room}?subscribe-broadcast&publish-broadcast&echo"
    with live.open(query, login(person("alice"))) as member, live.open(query) as visitor:
        member.send("hello")
        assert member.recv(timeout=30) == visitor.recv(timeout=30) == "hello"
        visitor.send("hello")
        with pytest.raises(Exception, match="1008"):
            visitor.recv(timeout=30)


def test_callbacks_get_a_django_request(
    live: Any, room: str, site: Site, person: Person, login: Login
) -> None:
    seen: dict[str, Any] = {}

    def allowed_channels(request: HttpRequest, requested: tuple[str, ...]) -> tuple[str, ...]:
        seen.update(
            kind=type(request),
            path=request.path,
            method=request.method,
            token=request.GET.get("token"),
            theme=request.COOKIES.get("theme"),
            agent=request.META.get("HTTP_X_AGENT"),
            user=request.user.get_username(),
            session=request.session.session_key,
            identity=request.identity,
            host=request.get_host(),
            requested=requested,
        )
        return requested

    site({"allowed_channels": allowed_channels})
    client = login(person("alice", "editors"))
    client.cookies["theme"] = "dark"
    address = f"/ws/{room}?subscribe-user&token=7"
    with live.open(address, client, **{"X-Agent": "tests"}):
        pass
    identity = seen.pop("identity")
    assert (identity.user, identity.groups) == ("alice", ("editors",))
    assert seen == {
        "kind": WSGIRequest,
        "path": f"/ws/{room}",
        "method": "GET",
        "token": "7",
        "theme": "dark",
        "agent": "tests",
        "user": "alice",
        "session": client.cookies["sessionid"].value,
        "host": live.host,
        "requested": ("subscribe-user",),
    }


def test_a_visitor_has_a_user_and_a_session_too(live: Any, room: str, site: Site) -> None:
    seen: list[Any] = []

    def allowed_channels(request: HttpRequest, requested: tuple[str, ...]) -> tuple[str, ...]:
        seen.extend([request.user.is_authenticated, request.session.is_empty()])
        seen.append(request.session.get("ws4redis:memberof"))
        return requested

    site({"allowed_channels": allowed_channels})
    with live.open(f"/ws/{room}?subscribe-broadcast"):
        assert seen == [False, True, None]


@pytest.mark.parametrize(
    ("name", "code"),
    [("misspelt", 403), ("none", 403), ("refused", 403), ("missing", 404)],
)
def test_a_failing_callback_refuses_the_handshake(
    live: Any, room: str, site: Site, name: str, code: int
) -> None:
    site({"allowed_channels": f"chatsite.channels.{name}"})
    found, text = status(live, f"/ws/{room}?subscribe-broadcast")
    assert found == code
    assert "secret" not in text
    assert "authentcated" not in text


def test_a_refusal_is_no_error_in_the_log(
    live: Any, room: str, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site({"allowed_channels": "chatsite.channels.refused"})
    """It is a warning at most, once a minute."""
    with caplog.at_level(logging.ERROR):
        assert status(live, f"/ws/{room}?subscribe-broadcast")[0] == 403
    assert not caplog.records


def test_a_callback_grants_no_more_than_was_asked(
    live: Any, room: str, site: Site, person: Person, login: Login
) -> None:
    site({"allowed_channels": "chatsite.channels.more_than_asked"})
    with live.open(f"/ws/{room}?subscribe-broadcast", login(person("alice"))) as ws:
        Publisher(room, users=["alice"]).publish("not asked for")
        Publisher(room, broadcast=True).publish("asked for")
        assert ws.recv(timeout=30) == "asked for"
        ws.send("not asked for either")
        with pytest.raises(Exception, match="1008"):
            ws.recv(timeout=30)


@pytest.mark.parametrize("cookie", ["sessionid=" + "a" * 32, "sessionid=", "sessionid", "x=1"])
def test_a_forged_cookie_gets_nobodys_channel(live: Any, room: str, db: None, cookie: str) -> None:
    address = f"/ws/{room}?subscribe-session&subscribe-user"
    assert status(live, address, Cookie=cookie) == (
        403,
        "Not granted to an anonymous client: subscribe-session, subscribe-user."
        " This client has no session and no user. Log in.\n",
    )
    with live.open(f"/ws/{room}?subscribe-broadcast&subscribe-session", Cookie=cookie) as ws:
        Publisher(room, sessions=["a" * 32]).publish("for somebody else")
        Publisher(room, broadcast=True).publish("for everybody")
        assert ws.recv(timeout=30) == "for everybody"


def test_a_facility_with_a_colon_is_no_other_channel(live: Any, room: str, site: Site) -> None:
    with live.open(f"/ws/{room}:eu?subscribe-broadcast") as ws:
        Publisher(room, broadcast=True).publish("elsewhere")
        Publisher(f"{room}:eu", broadcast=True).publish("here")
        assert ws.recv(timeout=30) == "here"


def test_an_identity_of_ones_own(live: Any, room: str, site: Site) -> None:
    site({"identity": "chatsite.channels.token"})
    with live.open(f"/ws/{room}?subscribe-user&token=7") as ws:
        Publisher(room, users=["token-7"]).publish("hello")
        assert ws.recv(timeout=30) == "hello"


def test_an_endpoint_of_ones_own_gets_djangos_request(live: Any, room: str, site: Site) -> None:
    site({"endpoint": "chatsite.channels.Shouting"})
    with live.open(f"/ws/{room}?subscribe-broadcast&suffix=%21%3F") as ws:
        ws.send("hello")
        assert ws.recv(timeout=30) == "HELLO!?"


def test_new_handshakes_follow_an_overridden_setting(live: Any, room: str, site: Site) -> None:
    with live.open(f"/ws/{room}?subscribe-broadcast") as old:
        site({"prefix": "/live/", "key_prefix": "other"})
        assert status(live, f"/ws/{room}?subscribe-broadcast")[0] == 404
        with live.open(f"/live/{room}?subscribe-broadcast") as new:
            Publisher(room, broadcast=True).publish("hello")
            assert new.recv(timeout=30) == "hello"
        site({"key_prefix": "ws"})
        Publisher(room, broadcast=True).publish("still here")
        assert old.recv(timeout=30) == "still here"


def test_a_setting_that_makes_no_sense_costs_requests_and_not_the_server(
    live: Any, room: str, site: Site
) -> None:
    address = f"/ws/{room}?subscribe-broadcast"
    with override_settings(WSREDIS={"prefix": "ws"}):
        assert status(live, address)[0] == 500
        with pytest.raises(HTTPError, match="500"):
            urlopen(f"http://{live.host}/")
    with live.open(address), urlopen(f"http://{live.host}/"):
        pass


def test_an_unavailable_redis_is_503(live: Any, room: str, site: Site) -> None:
    site({"redis": "redis://127.0.0.1:1"})
    assert status(live, f"/ws/{room}?subscribe-broadcast")[0] == 503


def test_pages_are_djangos(live: Any) -> None:
    with urlopen(f"http://{live.host}/") as answer:
        assert b"wsredis.js" in answer.read()


def test_the_origin_is_that_of_the_proxy(live: Any, room: str, site: Site) -> None:
    headers = {"Origin": "http://chat.example", "X-Forwarded-Host": "chat.example"}
    address = f"/ws/{room}?subscribe-broadcast"
    assert status(live, address, **headers)[0] == 403
    site({}, USE_X_FORWARDED_HOST=True)
    with live.open(address, **headers):
        pass
    assert status(live, address, **{**headers, "X-Forwarded-Host": "evil.example"})[0] == 403


def test_a_host_that_is_not_the_sites_is_refused(live: Any, room: str) -> None:
    """A page may have made its own name lead here, and its origin is that name."""
    address = f"ws://evil.example/ws/{room}?subscribe-broadcast"
    origin: Any = "http://evil.example"
    with (
        socket.create_connection(live.host.split(":")) as sock,
        pytest.raises(InvalidStatus) as refused,
        connect(address, sock=sock, origin=origin),
    ):
        pass
    assert refused.value.response.status_code == 400
    assert b"not in ALLOWED_HOSTS" in refused.value.response.body


def test_a_handshake_is_a_request_for_those_who_count_them(
    live: Any, room: str, eventually: Any
) -> None:
    seen: list[str] = []

    def started(environ: dict[str, Any], **kwargs: Any) -> None:
        seen.append(f"started {environ['PATH_INFO']}")

    def finished(**kwargs: Any) -> None:
        seen.append("finished")

    request_started.connect(started, sender=DjangoWebSocketMiddleware)
    request_finished.connect(finished, sender=DjangoWebSocketMiddleware)
    try:
        with live.open(f"/ws/{room}?subscribe-broadcast"):
            eventually(lambda: seen == [f"started /ws/{room}", "finished"])
    finally:
        request_started.disconnect(started, sender=DjangoWebSocketMiddleware)
        request_finished.disconnect(finished, sender=DjangoWebSocketMiddleware)


@contextmanager
def one_thread(application: Any) -> Iterator[str]:
    """Serve an application request by request, and return when the last one has ended.

    Unlike Django's own server this one closes no database connection.
    """

    class Handler(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = WSGIServer(("127.0.0.1", 0), Handler)
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("refuse", [False, True])
def test_database_connections_of_a_handshake_are_closed(
    site: Site, room: str, person: Person, login: Login, refuse: bool
) -> None:
    used: list[Any] = []

    def allowed_channels(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
        assert connection.connection is not None
        used.append(connections["default"])
        return () if refuse else requested

    site({"allowed_channels": allowed_channels})
    application = get_websocket_application()
    cookie = f"sessionid={login(person('alice')).cookies['sessionid'].value}"
    with closing(application), one_thread(application) as host:
        headers = {"Cookie": cookie, "Origin": f"http://{host}"}
        address = f"ws://{host}/ws/{room}?subscribe-user"
        if refuse:
            with pytest.raises(InvalidHandshake), connect(address, additional_headers=headers):
                pass
        else:
            with connect(address, additional_headers=headers):
                pass
    assert [used_one.connection for used_one in used] == [None]


def test_the_urls_of_the_page_before_are_not_those_of_a_handshake(site: Site, room: str) -> None:
    """A page may have been given other URLs, as those of another host are."""
    seen: list[Any] = []

    def allowed_channels(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
        seen.append(get_urlconf())
        return requested

    def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        set_urlconf("no.such.urls")
        start_response("200 OK", [])
        return [b"ok"]

    site({"allowed_channels": allowed_channels})
    application = get_websocket_application(page)
    with (
        closing(application),
        one_thread(application) as host,
        urlopen(f"http://{host}/"),
        connect(f"ws://{host}/ws/{room}?subscribe-broadcast"),
    ):
        pass
    assert seen == ["chatsite.urls"]


def test_without_an_application_only_websockets_are_served(site: Site) -> None:
    application = DjangoWebSocketMiddleware(None)
    answers: list[str] = []
    environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET"}
    body = application(environ, lambda code, headers: answers.append(code))
    assert (answers, body) == (
        ["404 Not Found"],
        [b"Only websockets are served here, below /ws/\n"],
    )


def test_options_may_come_from_elsewhere(site: Site) -> None:
    def load() -> Any:
        return type(options())(options().config.make(prefix="/elsewhere/"))

    application = DjangoWebSocketMiddleware(None, load=load)
    answers: list[str] = []
    application(
        {"PATH_INFO": "/ws/", "REQUEST_METHOD": "GET"},
        lambda code, headers: answers.append(code),
    )
    assert answers == ["404 Not Found"]


def test_counters_are_those_of_the_core(live: Any, site: Site) -> None:
    assert get_websocket_application().stats()["connections"] == 0


@pytest.mark.parametrize("arguments", [({},), ({}, print, print)], ids=["asgi2", "asgi3"])
def test_an_asgi_server_gets_a_sentence(arguments: tuple[Any, ...]) -> None:
    application: Any = get_websocket_application()
    with closing(application), pytest.raises(ConfigurationError, match="is a WSGI application"):
        application(*arguments)
