"""The channels of the user, the groups and the session: for valid sessions and existing users."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client, RequestFactory
from ws4redis.redis_store import SELF
from ws4redis.wsgi_server import WebsocketWSGIServer

from .conftest import Live
from .talk import cookie, hear, heard

Site = Callable[..., None]
Person = Callable[..., Any]
Login = Callable[[Any], Client]
ENGINES = ("db", "cached_db", "cache", "file", "signed_cookies")


def test_a_user_gets_their_own_channels_only(
    live: Live, person: Person, login: Login, room: str
) -> None:
    john, mary = login(person("john", "chatters")), login(person("mary", "staff"))
    to = (
        {"users": ["john"]}, {"users": ["mary"]}, {"groups": ["chatters"]}, {"groups": ["staff"]},
        {"sessions": [cookie(john)]}, {"sessions": [cookie(mary)]},
    )  # fmt: skip
    assert heard(live, room, john, *to) == ["0", "2", "4"]
    assert heard(live, room, mary, *to) == ["1", "3", "5"]


def test_user_names_come_from_get_username(
    live: Live, person: Person, login: Login, room: str
) -> None:
    client = login(person("jane@example.com"))
    assert heard(live, room, client, {"users": ["jane@example.com"]}) == ["0"]


def test_a_user_publishes_to_their_own_channels(
    live: Live, redis: Any, person: Person, login: Login, room: str
) -> None:
    client = login(person("john", "chatters"))
    query = "publish-user&publish-group&publish-session&subscribe-user&echo"
    with live.open(f"/ws/{room}?{query}", client) as ws:
        ws.send("hello")
        assert hear(ws) == "hello"
    for channel in ("user:john", "group:chatters", f"session:{cookie(client)}"):
        assert redis.get(f"{channel}:{room}") == b"hello"


@pytest.mark.parametrize(
    "value", [None, "", "12345678", "x" * 32, "None", "../../etc/passwd", "a:b:c"]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_forged_cookie_names_no_channel(
    site: Site, live: Live, db: None, room: str, engine: str, value: str | None
) -> None:
    site(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}")
    client = Client()
    if value is not None:
        client.cookies[settings.SESSION_COOKIE_NAME] = value
    to = [{"sessions": [value or "None"]}, {"users": ["None"]}, {"users": ["AnonymousUser"]}]
    assert heard(live, room, client, *to) == []
    assert Session.objects.count() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_of_django_works(
    site: Site, live: Live, person: Person, login: Login, room: str, engine: str
) -> None:
    site(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}")
    user = person("john", "chatters")
    client = login(user)
    request = RequestFactory().get("/", HTTP_COOKIE=f"sessionid={cookie(client)}")
    request.session = client.session
    to = {"sessions": [SELF], "request": request}
    assert heard(live, room, client, {"users": ["john"]}, {"groups": ["chatters"]}, to) == [
        "0", "1", "2",
    ]  # fmt: skip
    user.groups.add(Group.objects.create(name="staff"))
    user.groups.remove(Group.objects.get(name="chatters"))
    assert heard(live, room, client, {"groups": ["staff"]}, {"groups": ["chatters"]}) == ["0"]


def test_an_empty_session_that_exists_has_its_channel(live: Live, db: None, room: str) -> None:
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    store.save()
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = store.session_key
    assert heard(live, room, client, {"sessions": [store.session_key]}) == ["0"]


def test_an_expired_session_is_nobody(live: Live, person: Person, login: Login, room: str) -> None:
    client = login(person("john"))
    Session.objects.update(expire_date="2001-01-01T00:00Z")
    assert heard(live, room, client, {"users": ["john"]}, {"sessions": [cookie(client)]}) == []


@pytest.mark.parametrize("how", ["deleted", "inactive", "another password"])
def test_the_cookie_of_somebody_who_has_gone_is_nobody(
    live: Live, person: Person, login: Login, room: str, how: str
) -> None:
    user = person("john", "chatters")
    client = login(user)
    if how == "deleted":
        user.delete()
    else:
        user.is_active = how != "inactive"
        user.set_password("another")
        user.save()
    to = ({"users": ["john"]}, {"groups": ["chatters"]}, {"sessions": [cookie(client)]})
    assert heard(live, room, client, *to) == []


def test_process_request_can_be_called_for_any_request(db: None) -> None:
    request: Any = RequestFactory().get("/ws/room")
    WebsocketWSGIServer().process_request(request)
    assert isinstance(request.user, type(request.user))
    assert request.user == AnonymousUser()
    assert dict(request.session.items()) == {}


def test_a_handshake_leaves_no_database_connection_open(
    live: Live,
    person: Person,
    login: Login,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Any,
) -> None:
    client = login(person("john"))
    seen = []

    def allowed(request: Any, channels: list[str]) -> list[str]:
        assert request.user.is_authenticated
        seen.append(connections["default"])
        return channels

    monkeypatch.setattr("ws4redis.settings.WS4REDIS_ALLOWED_CHANNELS", allowed, raising=False)
    heard(live, room, client)
    # The websocket is open before its request has ended.
    eventually(lambda: [connection.connection for connection in seen] == [None])
