"""What a watched session store keeps of the site's own, and sites that do not have it watched."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django
import pytest
from asgiref.sync import sync_to_async
from chatsite import own_engine
from chatsite.models import Visit
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.cache import SessionStore as CacheSession
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client, override_settings

from wsredis.adapters.django import revoke, sessions
from wsredis.adapters.django.sessions import SITE_ENGINE, site_engine

from ..support import environment
from .conftest import PROJECT, Live
from .support import (
    ASYNC,
    BACKENDS,
    ENGINES,
    WITH_STORE,
    WITH_TABLE,
    Login,
    Person,
    Site,
    ended,
    engines,
    expired,
    only,
    stays,
    store,
)

OURS = sessions.__name__


# The store of the site


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
@engines("db", "file", "signed_cookies")
def test_a_store_can_be_copied_and_pickled(
    person: Person, engine: str, revocations: list[Any], duplicate: Callable[[Any], Any]
) -> None:
    session = store()
    session.create()
    session["basket"] = [7]
    again = duplicate(session)
    assert type(again) is type(session)
    assert again.session_key == session.session_key
    assert again["basket"] == [7]
    again["_auth_user_id"] = "1"
    again.save()
    again.save()
    assert revocations == [], "no websocket can have a session that was just made"
    again["_auth_user_id"] = "2"
    again.save()
    assert len(revocations) == 1


def test_a_store_that_its_module_calls_otherwise_can_be_pickled(
    monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    class Named(own_engine.SessionStore):
        __qualname__ = "Named"

    monkeypatch.setattr(own_engine, "SessionStore", Named)
    monkeypatch.setattr(own_engine, "Named", Named, raising=False)
    with override_settings(SESSION_ENGINE="chatsite.own_engine"):
        assert type(pickle.loads(pickle.dumps(store()))) is type(store())


@engines(*ENGINES)
def test_a_store_is_one_of_the_site(engine: str) -> None:
    module = import_module(site_engine())
    assert isinstance(store(), module.SessionStore)
    assert store().key_salt == module.SessionStore().key_salt
    assert hasattr(store(), "get_model_class") == (engine in WITH_TABLE)
    if engine in WITH_TABLE:
        assert type(store()).get_model_class() is store().model is Session
        assert isinstance(store().create_model_instance({}), Session)


@pytest.fixture
def own(db: None) -> Iterator[list[str]]:
    with override_settings(SESSION_ENGINE="chatsite.own_engine"):
        own_engine.calls.clear()
        yield own_engine.calls


def test_an_engine_may_have_columns_of_its_own(own: list[str], revocations: list[Any]) -> None:
    session = store()
    session["address"] = "here"
    session.save()
    assert Visit.objects.get().address == "here"
    assert type(session).get_model_class() is Visit
    session.delete()
    assert not Visit.objects.exists()
    assert [revocation["session"] for revocation in revocations] == [session.session_key]


@ASYNC
def test_the_methods_of_an_engine_for_asyncio_are_called(
    own: list[str], revocations: list[Any]
) -> None:
    async def change() -> None:
        session = store()
        await session.aset("_auth_user_id", "1")
        await session.asave()
        again = store()
        again._session_key = session.session_key
        await again.aset("_auth_user_id", "2")
        await again.asave()
        await again.adelete()

    asyncio.run(change())
    assert own == ["asave", "asave", "asave", "adelete"]
    assert len(revocations) == 2


@ASYNC
@engines(*WITH_STORE)
def test_a_deletion_in_asyncio_is_revoked_once(engine: str, revocations: list[Any]) -> None:
    session = store()
    session.create()
    asyncio.run(session.adelete())
    assert not store().exists(session.session_key)
    assert [revocation["session"] for revocation in revocations] == [session.session_key]
    asyncio.run(store().adelete("nosuchsession"))
    asyncio.run(store().adelete())
    assert len(revocations) == 1


@ASYNC
@engines("db", "cache")
def test_saving_in_asyncio_waits_for_a_thread_only_where_a_session_has_ended(
    engine: str, monkeypatch: pytest.MonkeyPatch, revocations: list[Any]
) -> None:
    called: list[str] = []

    def sync_to_async_noted(function: Callable[..., Any]) -> Any:
        called.append(function.__name__)
        return sync_to_async(function)

    monkeypatch.setattr(sessions, "sync_to_async", sync_to_async_noted)

    async def change() -> None:
        session = store()
        await session.acreate()
        for user in ("1", "1", "2"):
            await session.aset("_auth_user_id", user)
            await session.asave()

    asyncio.run(change())
    assert len(revocations) == 1
    assert called == ["session_ended"]


def test_clearsessions_calls_the_method_of_an_engine(
    own: list[str], revocations: list[Any]
) -> None:
    store().create()
    old = store()
    old.set_expiry(-1)
    old.create()
    call_command("clearsessions")
    assert own == ["clear_expired"]
    assert Visit.objects.count() == 1
    assert revocations == []


@ASYNC
def test_the_method_of_an_engine_for_asyncio_clears_its_sessions(
    monkeypatch: pytest.MonkeyPatch, own: list[str], revocations: list[Any]
) -> None:
    async def aclear_expired(cls: Any) -> None:
        own.append("aclear_expired")

    method = classmethod(aclear_expired)
    monkeypatch.setattr(own_engine.SessionStore, "aclear_expired", method, raising=False)
    asyncio.run(store().aclear_expired())
    assert own == ["aclear_expired"]
    assert revocations == []


@ASYNC
@engines("cache")
def test_an_engine_that_clears_its_sessions_one_by_one_closes_nothing(
    engine: str, monkeypatch: pytest.MonkeyPatch, revocations: list[Any]
) -> None:
    session = store()
    session.create()

    async def aclear_expired(cls: Any) -> None:
        await cls().adelete(session.session_key)

    monkeypatch.setattr(CacheSession, "aclear_expired", classmethod(aclear_expired))
    asyncio.run(store().aclear_expired())
    assert not store().exists(session.session_key)
    assert revocations == []


def test_the_key_of_a_session_may_be_no_primary_key(revocations: list[Any], db: None) -> None:
    row = SimpleNamespace(pk=7, session_key="a key")
    revoke._session_deleted(row, using="default")
    assert [revocation["session"] for revocation in revocations] == ["a key"]


# The setting


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("no_such_engine", "No module named 'no_such_engine'"),
        ("json", "module 'json' has no attribute 'SessionStore'"),
    ],
)
def test_an_engine_that_cannot_be_loaded_is_named_in_the_error(name: str, error: str) -> None:
    with override_settings(SESSION_ENGINE=name):
        with pytest.raises((ImportError, AttributeError), match=error):
            Client().get("/")
        with pytest.raises((ImportError, AttributeError), match=error):
            call_command("clearsessions")


def test_both_settings_are_shown() -> None:
    out = StringIO()
    call_command("diffsettings", stdout=out)
    assert f"\nSESSION_ENGINE = '{OURS}'" in out.getvalue()
    assert f"\n{SITE_ENGINE} = '{BACKENDS}db'" in out.getvalue()


def test_our_module_in_the_setting_stands_for_the_default() -> None:
    with override_settings(SESSION_ENGINE=OURS):
        delattr(settings, SITE_ENGINE)
        assert site_engine() == BACKENDS + "db"
    assert getattr(settings, SITE_ENGINE) == BACKENDS + "db"


@pytest.mark.parametrize("name", ["watch_sessions", "WATCH_SESSIONS"])
def test_a_site_can_keep_its_engine(site: Site, name: str) -> None:
    assert settings.SESSION_ENGINE == OURS
    with override_settings(WSREDIS={name: False}):
        assert settings.SESSION_ENGINE == BACKENDS + "db"
        with override_settings(SESSION_ENGINE=BACKENDS + "cache"):
            assert settings.SESSION_ENGINE == site_engine() == BACKENDS + "cache"
            assert type(store()) is CacheSession
            with override_settings(WSREDIS={name: True}):
                assert settings.SESSION_ENGINE == OURS
                assert site_engine() == BACKENDS + "cache"
            assert settings.SESSION_ENGINE == BACKENDS + "cache"
        assert settings.SESSION_ENGINE == BACKENDS + "db"
    assert settings.SESSION_ENGINE == OURS


@pytest.mark.parametrize("value", ["no", 0, None])
def test_an_invalid_value_is_reported_by_a_check(site: Site, value: Any) -> None:
    site({"watch_sessions": value})
    assert settings.SESSION_ENGINE == OURS
    error = only("wsredis.E001")
    assert error.msg == f"WSREDIS['watch_sessions'] = {value!r} is not valid."
    assert error.hint == "Write True or False."


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({"watch_sessions": False}, 0, BACKENDS + "db"),
        ({}, 0, OURS),
        ({"watch_sessions": "no"}, 1, "(wsredis.E001) WSREDIS['watch_sessions'] = 'no' is not"),
        (["redis"], 1, "(wsredis.E001) WSREDIS must be a dict of options, not list."),
        ({"Watch_Sessions": False}, 1, "(wsredis.E001) WSREDIS has no option 'Watch_Sessions'."),
    ],
)
def test_the_option_is_read_when_the_application_is_loaded(
    tmp_path: Path, given: Any, status: int, says: str
) -> None:
    code = (
        "from django.conf import settings; from django.core.management import call_command;"
        " import django; django.setup(); print(settings.SESSION_ENGINE); call_command('check')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=environment(
            PROJECT,
            tmp_path,
            DJANGO_SETTINGS_MODULE="chatsite.settings",
            CHATSITE_SETTINGS=json.dumps({"WSREDIS": given}),
        ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == status, ran.stderr
    assert says in ran.stdout + ran.stderr


@engines("db", "cache", "signed_cookies")
def test_a_login_with_the_cookie_of_no_session_sends_nothing(
    alice: Any, engine: str, revocations: list[Any]
) -> None:
    browser = Client()
    browser.cookies[settings.SESSION_COOKIE_NAME] = "nosuchsession1"
    assert browser.get("/enter?username=alice&password=secret").status_code == 200
    assert revocations == []


# Sites whose sessions are not watched


@pytest.fixture
def unwatched(site: Site, engine: str) -> None:
    site({"allowed_channels": "chatsite.channels.members", "watch_sessions": False})
    assert settings.SESSION_ENGINE != OURS


@pytest.mark.usefixtures("unwatched")
@engines(*ENGINES)
class TestUnwatched:
    """Logins, logouts and, if there is a table, its rows close websockets."""

    def test_a_login_as_another_user_closes_the_websockets_of_the_first(
        self, live: Live, alice: Any, person: Person, login: Login, path: str
    ) -> None:
        person("bob")
        here, there = login(alice), login(alice)
        # Cookies that are made in the same second may be equal.
        there.get("/session/put")
        with live.open(path, here) as ws, live.open(path, there) as other:
            assert here.get("/enter?username=bob&password=secret").status_code == 200
            assert ended(ws) == 4401
            assert stays(other)

    def test_a_login_over_an_anonymous_session_closes_its_websockets(
        self, live: Live, alice: Any, path: str
    ) -> None:
        browser = Client()
        browser.get("/session/put")
        with live.open(path, browser) as ws:
            browser.get("/enter?username=alice&password=secret")
            assert ended(ws) == 4401

    def test_a_login_as_the_same_user_closes_nothing(
        self, alice: Any, revocations: list[Any]
    ) -> None:
        browser = Client()
        browser.get("/enter?username=alice&password=secret")
        browser.get("/enter?username=alice&password=secret")
        assert revocations == []

    def test_a_logout_closes_the_websockets(
        self, live: Live, alice: Any, login: Login, path: str
    ) -> None:
        browser = login(alice)
        with live.open(path, browser) as ws:
            browser.get("/session/put")  # signed_cookies stores it in another cookie
            browser.get("/leave")
            assert ended(ws) == 4401

    @pytest.mark.parametrize("way", ["flush", "delete", "cycle_key", "delete row"])
    def test_the_deletion_of_a_row_closes_the_websockets(
        self, live: Live, alice: Any, login: Login, path: str, way: str, engine: str
    ) -> None:
        browser = login(alice)
        session = store(browser)
        with live.open(path, browser) as ws:
            if way == "delete row":
                Session.objects.filter(pk=session.session_key).delete()
            else:
                getattr(session, way)()
            if engine in WITH_TABLE:
                assert ended(ws) == 4401
            else:
                assert stays(ws)  # see docs/django.md

    def test_clearsessions_closes_nothing(
        self, engine: str, alice: Any, login: Login, revocations: list[Any]
    ) -> None:
        expired(3)
        key = login(alice).cookies["sessionid"].value
        revocations.clear()
        call_command("clearsessions")
        assert revocations == []
        assert Session.objects.count() == {True: 1, False: 3}[engine in WITH_TABLE]
        assert store().exists(key) or engine == "signed_cookies"


def test_a_login_without_a_session_or_a_cookie_sends_nothing(revocations: list[Any]) -> None:
    user = User(username="alice")
    for request in (django.http.HttpRequest(), django.http.HttpRequest()):
        sessions._logged_in(request, user=user)
        request.session = CacheSession()
        sessions._logged_in(request, user=user)
    assert revocations == []
