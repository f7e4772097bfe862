"""The identity of requests: all session engines, and all cases of anonymous users."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from wsredis import ANONYMOUS, Identity
from wsredis.adapters.django import identity_of
from wsredis.adapters.django.identity import limited
from wsredis.adapters.django.request import handshake_request

from .support import Login, Person, Site, engines


def handshake(client: Client | None = None, cookie: str | None = None) -> Any:
    """Return the request of a handshake with the session cookie of a client."""
    if client is not None:
        cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    headers = {} if cookie is None else {"HTTP_COOKIE": f"sessionid={cookie}"}
    return handshake_request(RequestFactory().get("/ws/news", **headers).environ)


def test_a_session_brings_user_groups_and_key(engine: str, person: Person, login: Login) -> None:
    client = login(person("alice", "editors", "authors"))
    request = handshake(client)
    identity = identity_of(request)
    assert identity.user == "alice"
    assert identity.groups == ("authors", "editors")
    assert request.user.username == "alice"
    cookie = client.cookies["sessionid"].value
    if engine == "signed_cookies":
        assert identity.session is not None
        assert re.fullmatch("[0-9a-f]{64}", identity.session)
        assert identity.session not in cookie
    else:
        assert identity.session == cookie


def test_an_anonymous_session_counts_as_a_session(engine: str) -> None:
    client = Client()
    session = client.session
    session["basket"] = [7]
    session.save()
    client.cookies["sessionid"] = session.session_key
    request = handshake(client)
    identity = identity_of(request)
    assert identity.user is None
    assert identity.groups == ()
    assert identity.session
    assert request.session["basket"] == [7]


def test_without_a_cookie_there_is_nobody(engine: str) -> None:
    request = handshake()
    assert identity_of(request) == ANONYMOUS
    assert request.user == AnonymousUser()
    assert request.session.is_empty()


@pytest.mark.parametrize(
    "cookie",
    ["a" * 32, "", "x", "../../etc/passwd", "e30:1abcde:forged", "%00%0d%0a", "session:alice", '"'],
)
def test_a_forged_cookie_is_nobody(engine: str, cookie: str, tmp_path: Path) -> None:
    request = handshake(cookie=cookie)
    assert identity_of(request) == ANONYMOUS
    assert not request.user.is_authenticated
    assert request.session.is_empty()
    assert not list(tmp_path.iterdir())


def test_the_cookie_of_another_key_is_nobody(engine: str, person: Person, login: Login) -> None:
    client = login(person("alice"))
    with override_settings(SECRET_KEY="another"):
        identity = identity_of(handshake(client))
    assert identity.user is None
    assert identity.groups == ()


def test_a_deleted_user_is_nobody(engine: str, person: Person, login: Login) -> None:
    alice = person("alice", "editors")
    client = login(alice)
    alice.delete()
    request = handshake(client)
    assert identity_of(request) == ANONYMOUS
    assert not request.user.is_authenticated


@pytest.mark.parametrize("backend", ["ModelBackend", "AllowAllUsersModelBackend"])
def test_an_inactive_user_is_nobody(
    engine: str, backend: str, person: Person, login: Login
) -> None:
    path = f"django.contrib.auth.backends.{backend}"
    with override_settings(AUTHENTICATION_BACKENDS=[path]):
        alice = person("alice", "editors")
        client = Client()
        client.force_login(alice, path)
        assert identity_of(handshake(client)).user == "alice"
        alice.is_active = False
        alice.save()
        request = handshake(client)
        assert identity_of(request) == ANONYMOUS
        assert not request.user.is_authenticated


def test_after_a_change_of_the_password_old_sessions_are_nobody(
    engine: str, person: Person, login: Login
) -> None:
    alice = person("alice", "editors")
    client = login(alice)
    alice.set_password("another")
    alice.save()
    assert identity_of(handshake(client)) == ANONYMOUS


def test_after_a_logout_only_a_signed_cookie_remains_valid(
    engine: str, person: Person, login: Login
) -> None:
    client = login(person("alice"))
    cookie = client.cookies["sessionid"].value
    client.logout()
    identity = identity_of(handshake(cookie=cookie))
    if engine == "signed_cookies":
        assert identity.user == "alice"  # see docs/django.md
    else:
        assert identity == ANONYMOUS


def test_an_expired_session_is_nobody(
    engine: str, person: Person, login: Login, tmp_path: Path
) -> None:
    client = Client()
    client.force_login(person("alice"))
    session = client.session
    session.set_expiry(timezone.now() + timedelta(seconds=-1))
    session.save()
    client.cookies["sessionid"] = session.session_key
    request = handshake(client)
    assert identity_of(request) == ANONYMOUS
    assert not request.user.is_authenticated
    assert not list(tmp_path.iterdir())


def test_a_new_secret_key_leaves_a_session_its_key(
    engine: str, person: Person, login: Login
) -> None:
    client = login(person("alice"))
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        cookie = client.cookies["sessionid"].value
        first, second = handshake(client), handshake(client)
        assert identity_of(first).user == identity_of(second).user == "alice"
        assert identity_of(first).session == identity_of(second).session is not None
        assert first.session.session_key == cookie


def test_groups_are_read_anew(engine: str, person: Person, login: Login) -> None:
    alice = person("alice", "editors")
    client = login(alice)
    assert identity_of(handshake(client)).groups == ("editors",)
    alice.groups.set([Group.objects.create(name="authors")])
    assert identity_of(handshake(client)).groups == ("authors",)
    Group.objects.filter(name="authors").update(name="writers")
    assert identity_of(handshake(client)).groups == ("writers",)


def test_the_session_key_outlives_changes_of_the_session(
    engine: str, person: Person, login: Login
) -> None:
    client = login(person("alice"))
    before = identity_of(handshake(client)).session
    session = client.session
    session["basket"] = [1]
    session.save()
    client.cookies["sessionid"] = session.session_key
    assert identity_of(handshake(client)).session == before


def test_two_logins_of_one_user_are_two_sessions(engine: str, person: Person, login: Login) -> None:
    alice = person("alice")
    assert len({identity_of(handshake(login(alice))).session for _ in range(3)}) == 3


def test_a_page_and_a_handshake_agree(engine: str, person: Person) -> None:
    person("alice", "editors")
    client = Client()
    client.get("/enter", {"username": "alice", "password": "secret"})
    channels = client.get("/note", {"facility": "x", "text": "hello"}).json()["channels"]
    identity = identity_of(handshake(client))
    assert channels == [
        "ws:user:alice:x",
        "ws:group:editors:x",
        f"ws:session:{identity.session}:x",
    ]


def test_a_user_model_of_ones_own(db: None) -> None:
    from chatsite.models import Member

    with override_settings(AUTH_USER_MODEL="chatsite.Member"):
        member = Member.objects.create(email="alice@chat.example")
        client = Client()
        client.force_login(member, "django.contrib.auth.backends.ModelBackend")
        identity = identity_of(handshake(client))
    assert identity == Identity("alice@chat.example", (), client.cookies["sessionid"].value)


@pytest.mark.parametrize(
    ("fields", "identity"),
    [
        ({"get_username": lambda: 7, "groups": ["a", "", "b"]}, Identity("7", ("a", "b"))),
        ({"get_username": lambda: ""}, ANONYMOUS),
        ({"get_username": lambda: None, "groups": ["a"]}, ANONYMOUS),
        ({"get_username": lambda: "alice", "is_active": False}, ANONYMOUS),
        ({"get_username": lambda: "alice"}, Identity("alice")),
    ],
)
def test_users_of_other_backends(fields: dict[str, Any], identity: Identity) -> None:
    user = SimpleNamespace(is_authenticated=True, **fields)
    assert identity_of(SimpleNamespace(user=user, session=None)) == identity


def test_without_the_applications_everybody_is_nobody() -> None:
    with override_settings(INSTALLED_APPS=["wsredis.adapters.django"]):
        request = handshake(cookie="a" * 32)
        assert identity_of(request) == ANONYMOUS
        assert (request.user.is_authenticated, request.user.is_anonymous) == (False, True)
        assert request.user.get_username() == ""
        assert request.session.is_empty()


def test_a_store_that_fails_is_no_answer(person: Person, login: Login) -> None:
    client = login(person("alice"))
    store = import_module(settings.SESSION_ENGINE).SessionStore
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "load", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            handshake(client)


@engines("db")
@pytest.mark.parametrize(("watched", "queries"), [(True, 0), (False, 1)])
def test_the_end_of_a_session_is_loaded_with_it(
    site: Site, engine: str, person: Person, login: Login, watched: bool, queries: int
) -> None:
    client = login(person("alice"))
    site({"watch_sessions": watched})
    request = handshake(client)
    identity = identity_of(request)
    with CaptureQueriesContext(connection) as captured:
        found = limited(identity, request.session)
    assert len(captured) == queries
    assert found.expires == Session.objects.get().expire_date.timestamp()


@engines("db")
def test_the_end_of_a_session_is_that_of_its_last_save(
    engine: str, person: Person, login: Login
) -> None:
    request = handshake(login(person("alice")))
    identity = identity_of(request)
    request.session.set_expiry(60)
    request.session.save()  # by a resolver of the site
    found = limited(identity, request.session)
    assert found.expires == Session.objects.get().expire_date.timestamp()
