"""Who gets user, group and session channels: sessions that load, users that are there."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client, RequestFactory
from ws4redis.groups import refresh_groups, store_groups_in_session
from ws4redis.models import store_groups_in_session as known_as
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import SELF
from ws4redis.wsgi_server import WebsocketWSGIServer

from .conftest import Live
from .talk import hear

Site = Callable[..., None]
Person = Callable[..., Any]
Login = Callable[[Any], Client]
ALL = "subscribe-broadcast&subscribe-user&subscribe-group&subscribe-session"
ENGINES = ("db", "cached_db", "cache", "file", "signed_cookies")


def publish(room: str, message: str, **audiences: Any) -> None:
    RedisPublisher(facility=room, **audiences).publish_message(message, 0)


def heard(live: Live, room: str, client: Client | None, *to: dict[str, Any]) -> list[Any]:
    """Return which of the messages to some audiences reach the websocket of a client."""
    with live.open(f"/ws/{room}?{ALL}", client) as ws:
        for number, audience in enumerate(to):
            publish(room, str(number), **audience)
        publish(room, "the end", broadcast=True)
        return list(iter(lambda: hear(ws), "the end"))


def cookie(client: Client) -> str:
    value: str = client.cookies[settings.SESSION_COOKIE_NAME].value
    return value


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
    live: Live, person: Person, login: Login, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = login(person("john"))
    seen = []

    def allowed(request: Any, channels: list[str]) -> list[str]:
        assert request.user.is_authenticated
        seen.append(connections["default"])
        return channels

    monkeypatch.setattr("ws4redis.settings.WS4REDIS_ALLOWED_CHANNELS", allowed, raising=False)
    heard(live, room, client)
    assert [connection.connection for connection in seen] == [None]


# The groups in the session


def test_the_receiver_has_the_name_it_had() -> None:
    assert known_as is store_groups_in_session


def test_a_login_stores_the_names_of_the_groups(person: Person, login: Login) -> None:
    client = login(person("john", "staff", "chatters"))
    assert client.session["ws4redis:memberof"] == ["chatters", "staff"]


def test_a_user_model_without_groups_stores_nothing() -> None:
    request: Any = RequestFactory().get("/")
    request.session = {}
    store_groups_in_session(None, object(), request)
    assert request.session == {}
    store_groups_in_session(None, object(), RequestFactory().get("/"))


CHANGES = {
    "add": (lambda user, staff: user.groups.add(staff), {"chatters", "staff"}),
    "add from the group": (lambda user, staff: staff.user_set.add(user), {"chatters", "staff"}),
    "remove": (lambda user, staff: user.groups.remove(*user.groups.all()), set()),
    "set": (lambda user, staff: user.groups.set([staff]), {"staff"}),
    "clear": (lambda user, staff: user.groups.clear(), set()),
    "clear the group": (
        lambda user, staff: user.groups.get(name="chatters").user_set.clear(),
        set(),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("engine", ["db", "cached_db"])
def test_a_session_follows_the_groups_of_its_user(
    site: Site, live: Live, person: Person, login: Login, room: str, engine: str, change: str
) -> None:
    site(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}")
    user, client = person("john", "chatters"), None
    client, bystander = login(user), login(person("mary", "chatters"))
    function, groups = CHANGES[change]
    function(user, Group.objects.get_or_create(name="staff")[0])
    assert set(client.session["ws4redis:memberof"]) == groups
    mine = {"clear the group": []}.get(change, ["chatters"])
    assert bystander.session["ws4redis:memberof"] == mine
    assert heard(live, room, client, {"groups": ["staff"]}) == ["0"] * ("staff" in groups)


def test_the_groups_of_people_without_a_session_cost_no_look_at_sessions(
    person: Person, django_assert_queries: Any
) -> None:
    user = person("john")
    with django_assert_queries() as queries:
        user.groups.add(Group.objects.create(name="staff"))
    assert not any("django_session" in query["sql"] for query in queries)


@pytest.fixture
def django_assert_queries() -> Any:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    return lambda: CaptureQueriesContext(connection)


def test_other_actions_change_nothing(person: Person, login: Login) -> None:
    user = person("john", "chatters")
    client = login(user)
    refresh_groups(User.groups.through, user, "pre_add", False, {1})
    assert client.session["ws4redis:memberof"] == ["chatters"]


def test_what_the_site_itself_has_written_stays(
    site: Site, live: Live, person: Person, login: Login, room: str
) -> None:
    site(SESSION_ENGINE="django.contrib.sessions.backends.file")
    user = person("john", "chatters")
    client = login(user)
    session = client.session
    session["ws4redis:memberof"] = ["of our own"]
    session.save()
    user.groups.clear()
    assert heard(live, room, client, {"groups": ["of our own"]}) == ["0"]
