"""Websockets that are closed however their session ends, with every session engine."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models.signals import post_delete
from django.test import AsyncClient, Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from wsredis.adapters.django import Publisher, revoke
from wsredis.adapters.django.sessions import CLEARED_AT_ONCE, site_engine, watch_sessions
from wsredis.exceptions import BrokerUnavailable

from .conftest import Live
from .support import (
    ASYNC,
    BACKENDS,
    ENGINES,
    WITH_STORE,
    WITH_TABLE,
    Login,
    Person,
    ended,
    engines,
    expired,
    stays,
    store,
)


@pytest.fixture
def bob(live: Live, person: Person, login: Login, path: str, engine: str) -> Iterator[Any]:
    """Give another user, whose websocket must stay open."""
    user = person("bob")
    with live.open(path, login(user)) as ws:
        yield user
        assert stays(ws)


# In a request


@engines(*ENGINES)
def test_a_login_as_another_user_closes_the_websockets_of_the_first(
    live: Live, alice: Any, bob: Any, login: Login, path: str, room: str
) -> None:
    browser = login(alice)
    with live.open(path, browser) as ws:
        assert browser.get("/enter?username=bob&password=secret").status_code == 200
        assert ended(ws) == 4401
    with live.open(path, browser) as ws:
        Publisher(room, users=["alice"]).publish("for alice")
        Publisher(room, users=["bob"]).publish("for bob")
        assert ws.recv(30) == "for bob"


@engines(*ENGINES)
@pytest.mark.parametrize(
    "change", ["flush", "delete", "cycle_key", "clear", "change_user", "forget_user"]
)
def test_a_change_of_the_session_in_a_view_closes_its_websockets(
    live: Live, alice: Any, bob: Any, login: Login, path: str, change: str
) -> None:
    here, there = login(alice), login(alice)
    with live.open(path, here) as ws, live.open(path, there) as other:
        assert here.get(f"/session/{change}", {"user": str(bob.pk)}).status_code == 200
        assert ended(ws) == 4401
        assert stays(other)


@engines(*ENGINES)
def test_a_login_over_an_anonymous_session_closes_its_websockets(
    live: Live, alice: Any, path: str, room: str, engine: str
) -> None:
    browser = Client()
    browser.get("/session/put")
    with live.open(path, browser) as ws:
        browser.get(f"/note?facility={room}&text=hello")
        assert ws.recv(30) == "hello"
        browser.get("/enter?username=alice&password=secret")
        assert ended(ws) == 4401
    with live.open(f"/ws/{room}?subscribe-session", browser) as ws:
        browser.get(f"/note?facility={room}&text=again")
        assert ws.recv(30) == "again"


@engines(*ENGINES)
@pytest.mark.parametrize("change", ["put", "look", "nothing"])
def test_other_changes_close_nothing(
    live: Live, alice: Any, login: Login, path: str, change: str, engine: str, revocations: Any
) -> None:
    known, visitor = login(alice), Client()
    visitor.get("/session/put")
    revocations.clear()  # a test client logs in over a session that it has just made
    with live.open(path, known) as ws, live.open(path, visitor) as other:
        for browser in (known, visitor):
            assert browser.get(f"/session/{change}").status_code == 200
        assert stays(ws)
        assert stays(other)
    assert revocations == []


@ASYNC
@engines(*ENGINES)
@pytest.mark.parametrize("change", ["flush", "cycle_key"])
def test_views_in_asyncio_do_so_too(
    live: Live, alice: Any, bob: Any, login: Login, path: str, change: str
) -> None:
    browser = AsyncClient()
    browser.cookies = login(alice).cookies
    with live.open(path, browser) as ws:
        answer = async_to_sync(browser.get)(f"/async-session/{change}")
        assert answer.status_code == 200
        assert ended(ws) == 4401


# Outside a request


@engines(*WITH_STORE)
@pytest.mark.parametrize("way", ["delete", "delete other", "flush", "cycle_key", "save"])
def test_the_end_of_a_session_in_the_store_closes_its_websockets(
    live: Live, alice: Any, bob: Any, login: Login, path: str, way: str
) -> None:
    browser = login(alice)
    with live.open(path, browser) as ws:
        session = store(browser)
        if way == "delete other":
            store().delete(session.session_key)
        elif way == "save":
            session["_auth_user_id"] = str(bob.pk)
            session.save()
        else:
            getattr(session, way)()
        assert ended(ws) == 4401


@ASYNC
@engines(*WITH_STORE)
@pytest.mark.parametrize("way", ["adelete", "aflush", "acycle_key", "asave"])
def test_jobs_in_asyncio_do_so_too(
    live: Live, alice: Any, bob: Any, login: Login, path: str, way: str
) -> None:
    browser = login(alice)

    async def end() -> None:
        session = store(browser)
        if way == "asave":
            await session.aset("_auth_user_id", str(bob.pk))
        await getattr(session, way)()

    with live.open(path, browser) as ws:
        asyncio.run(end())
        assert ended(ws) == 4401


@engines(*WITH_TABLE)
@pytest.mark.parametrize("way", ["one by one", "queryset"])
def test_the_deletion_of_rows_closes_their_websockets(
    live: Live, alice: Any, bob: Any, login: Login, path: str, way: str
) -> None:
    browsers = [login(alice) for _ in range(2)]
    keys = [browser.cookies["sessionid"].value for browser in browsers]
    rows = Session.objects.filter(pk__in=keys)
    with live.open(path, browsers[0]) as one, live.open(path, browsers[1]) as two:
        if way == "queryset":
            rows.delete()
        else:
            for row in rows:
                row.delete()
        assert (ended(one), ended(two)) == (4401, 4401)


@engines("db")
def test_a_deletion_of_rows_that_is_rolled_back_closes_nothing(
    live: Live, alice: Any, login: Login, path: str, engine: str
) -> None:
    browser = login(alice)
    with live.open(path, browser) as ws:
        with transaction.atomic():
            Session.objects.all().delete()
            transaction.set_rollback(True)
        assert stays(ws)
        with transaction.atomic():
            Session.objects.all().delete()
            assert stays(ws)
        assert ended(ws) == 4401


def clear_expired(way: str) -> None:
    """Delete the expired sessions with the command, or with the method for asyncio."""
    if way == "clearsessions":
        call_command("clearsessions")
    else:
        async_to_sync(store().aclear_expired)()


CLEARING = pytest.mark.parametrize(
    "way", ["clearsessions", pytest.param("aclear_expired", marks=ASYNC)]
)


@CLEARING
@engines(*WITH_TABLE)
def test_clearsessions_closes_nothing_and_loads_few_rows_at_once(
    alice: Any, login: Login, engine: str, revocations: Any, way: str
) -> None:
    key = login(alice).cookies["sessionid"].value
    revocations.clear()
    expired(2 * CLEARED_AT_ONCE + 1)
    with CaptureQueriesContext(connection) as queries:
        clear_expired(way)
    assert [row.pk for row in Session.objects.all()] == [key]
    assert revocations == []
    portions = [query for query in queries if f"LIMIT {CLEARED_AT_ONCE}" in query["sql"]]
    assert len(portions) == 4  # the last one is empty


@CLEARING
@engines("db")
def test_clearsessions_works_where_queries_have_few_variables(engine: str, way: str) -> None:
    expired(1100)
    connection.ensure_connection()
    connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    clear_expired(way)
    assert not Session.objects.exists()
    connection.close()  # the next one has the usual limit


@CLEARING
@engines("file")
def test_clearsessions_closes_nothing_with_files(
    alice: Any, login: Login, engine: str, revocations: Any, tmp_path: Path, way: str
) -> None:
    session = store(login(alice))
    session.set_expiry(timezone.now() - timedelta(seconds=1))
    session.save()
    assert list(tmp_path.iterdir())
    revocations.clear()
    clear_expired(way)
    assert not list(tmp_path.iterdir())
    assert revocations == []


@engines("db")
def test_the_rows_of_expired_sessions_close_nothing(engine: str, revocations: Any) -> None:
    expired(3)
    Session.objects.only("pk").get(pk="expired0").delete()
    revocations.clear()  # whether it had expired is not known
    Session.objects.all().delete()
    assert revocations == []


@engines("db")
def test_a_queryset_sends_a_revocation_for_each_session_that_has_not_expired(
    engine: str, revocations: list[dict[str, Any]]
) -> None:
    sessions = [store() for _ in range(3)]
    for session in sessions:
        session.create()
    expired(2)
    Session.objects.all().delete()
    keys = {session.session_key for session in sessions}
    assert len(revocations) == 3
    assert {revocation["session"] for revocation in revocations} == keys


# What it costs


@contextmanager
def fast_deletions() -> Iterator[None]:
    """Let Django delete sessions as without our receiver, which needs their rows."""
    uid = "wsredis.revoke_session_deleted"
    assert post_delete.disconnect(sender=Session, dispatch_uid=uid)
    try:
        yield
    finally:
        revoke._watch(Session)


def put(session: Any) -> None:
    session["basket"] = [7]
    session.save()


CHANGES = pytest.mark.parametrize(
    "change",
    [put, methodcaller("flush"), methodcaller("cycle_key")],
    ids=["put", "flush", "cycle_key"],
)


@CHANGES
@engines(*WITH_TABLE)
def test_watching_adds_only_a_transaction_and_only_to_deletions(
    alice: Any, login: Login, engine: str, change: Callable[[Any], None]
) -> None:
    plain = import_module(site_engine()).SessionStore
    watched = type(store())

    def statements(kind: Any) -> list[str]:
        """Return the statements that a view causes which reads and changes the session."""
        session = kind(login(alice).cookies["sessionid"].value)
        with CaptureQueriesContext(connection) as captured:
            session.get("basket")
            change(session)
        return [query["sql"].split()[0] for query in captured]

    with fast_deletions():
        usual = statements(plain)
        with transaction.atomic():
            usual_in_transaction = statements(plain)
    expected = []
    for statement in usual:
        expected += ["BEGIN", "DELETE", "COMMIT"] if statement == "DELETE" else [statement]
    assert usual.count("DELETE") == (0 if change is put else 1)
    assert statements(watched) == expected
    with transaction.atomic():
        assert statements(watched) == usual_in_transaction


@CHANGES
@engines("cache", "redis", "file")
def test_watching_adds_one_look_up_and_only_to_deletions(
    alice: Any,
    login: Login,
    engine: str,
    change: Callable[[Any], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = import_module(site_engine()).SessionStore
    exists, asked = plain.exists, []

    def counted(self: Any, session_key: str) -> Any:
        asked.append(session_key)
        return exists(self, session_key)

    monkeypatch.setattr(plain, "exists", counted)

    def look_ups(kind: Any) -> int:
        """Return how often a change asks the store for the session that it has had."""
        key = login(alice).cookies["sessionid"].value
        session = kind(key)
        asked.clear()
        session.get("basket")
        change(session)
        return asked.count(key)

    assert look_ups(plain) == 0
    assert look_ups(type(store())) == (0 if change is put else 1)


@engines(*ENGINES)
def test_a_watched_session_is_stored_as_the_sites_own(
    alice: Any, login: Login, engine: str
) -> None:
    key = login(alice).cookies["sessionid"].value
    plain = import_module(site_engine()).SessionStore
    assert isinstance(store(), plain)
    assert plain(key)["_auth_user_id"] == str(alice.pk)
    if engine in WITH_TABLE:
        assert Session.objects.get(pk=key).get_decoded()["_auth_user_id"] == str(alice.pk)


def test_the_engine_is_the_sites_with_all_that_it_has() -> None:
    with override_settings(SESSION_ENGINE=BACKENDS + "cache"):
        assert site_engine() == BACKENDS + "cache"
        engine = import_module(settings.SESSION_ENGINE)
        assert engine.KEY_PREFIX == "django.contrib.sessions.cache"
        assert engine.SessionStore is engine.SessionStore
        watch_sessions()
        assert site_engine() == BACKENDS + "cache"
    assert site_engine() == BACKENDS + "db"
    with pytest.raises(AttributeError):
        _ = engine.nothing_like_that


# Revocations


def test_the_strictest_revocation_of_a_request_is_sent_once(
    alice: Any, revocations: list[dict[str, Any]]
) -> None:
    revoke._begin()
    alice.groups.clear()
    alice.is_active = False
    alice.save()
    alice.username = "alison"
    alice.save()
    assert revocations == []
    revoke._finish()
    assert revocations == [
        {"user": "alice", "code": 4401, "reason": "identity-ended (the account was deactivated)"}
    ]


def test_the_revocations_of_a_request_that_was_not_finished_are_sent_at_the_next(
    alice: Any, revocations: list[dict[str, Any]]
) -> None:
    revoke._begin()
    alice.delete()
    revoke._begin()
    assert revocations == [
        {"user": "alice", "code": 4401, "reason": "identity-ended (the account was deleted)"}
    ]
    revoke._finish()
    assert len(revocations) == 1


@dataclass
class Redis:
    """A Redis that may be unavailable, and the clock by which it is asked again."""

    available: bool = False
    now: float = 0.0
    tries: int = 0

    def disconnect(self, config: Any, **revocation: Any) -> None:
        self.tries += 1
        if not self.available:
            raise BrokerUnavailable("Redis does not answer")


@pytest.fixture
def unavailable(monkeypatch: pytest.MonkeyPatch) -> Redis:
    """Let Redis be unavailable; each application has had no error so far."""
    given = Redis()
    senders = {config: revoke._Sender(config) for config in revoke._senders}
    monkeypatch.setattr(revoke, "_senders", senders)
    monkeypatch.setattr(revoke, "disconnect", given.disconnect)
    monkeypatch.setattr(revoke, "monotonic", lambda: given.now)
    return given


def test_redis_is_asked_once_in_a_request_while_it_is_unavailable(
    person: Person, unavailable: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    people = [person("alice"), person("bob"), person("carol")]
    revoke._begin()
    for user in people[:2]:
        user.delete()
    revoke._finish()
    assert unavailable.tries == 1
    assert "the websockets of a user (and 1 more) could not be closed: Redis" in caplog.text
    revoke._begin()
    people[2].delete()
    revoke._finish()
    assert unavailable.tries == 2, "each request asks it"


@engines("db")
@pytest.mark.parametrize("available", [True, False])
def test_redis_is_asked_once_in_a_second_outside_a_request_while_it_is_unavailable(
    person: Person,
    engine: str,
    unavailable: Redis,
    available: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    people = [person("alice"), person("bob"), person("carol")]
    for _ in range(3):
        store().create()
    Session.objects.all().delete()
    assert unavailable.tries == 1
    unavailable.now = revoke.PAUSE - 0.1
    people[0].delete()
    assert unavailable.tries == 1
    assert [record.message for record in caplog.records] == [
        "the websockets of a session could not be closed: Redis does not answer",
        "outside a request, no revocation is sent for 1 s after an error",
    ]
    caplog.clear()
    unavailable.now = revoke.PAUSE
    unavailable.available = available
    people[1].delete()
    assert unavailable.tries == 2
    assert [record.message for record in caplog.records] == [
        "3 revocations were left out after the last error",
        "the websockets of a user could not be closed: Redis does not answer",
    ][: 1 if available else 2]
    people[2].delete()
    assert unavailable.tries == (3 if available else 2)


def test_another_redis_is_asked_at_once(
    person: Person, site: Callable[..., None], unavailable: Redis
) -> None:
    people = [person("alice"), person("bob")]
    people[0].delete()
    site({"redis": "redis://127.0.0.1:1/0"})
    people[1].delete()
    assert unavailable.tries == 2


def test_after_a_request_that_reaches_redis_others_are_sent_too(
    person: Person, unavailable: Redis
) -> None:
    people = [person("alice"), person("bob"), person("carol")]
    people[0].delete()
    unavailable.available = True
    revoke._begin()
    people[1].delete()
    revoke._finish()
    people[2].delete()
    assert unavailable.tries == 3


@engines("db", "cache", "signed_cookies")
def test_without_redis_logins_and_logouts_work(
    alice: Any,
    person: Person,
    site: Callable[..., None],
    engine: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    person("bob")
    site({"redis": "redis://127.0.0.1:1/0"})
    browser = Client()
    for path in ("/enter?username=alice&password=secret", "/enter?username=bob&password=secret"):
        caplog.clear()
        assert browser.get(path).status_code == 200
    assert "websockets of a session could not be closed" in caplog.text
    caplog.clear()
    assert browser.get("/leave").status_code == 200
    assert "websockets of a session could not be closed" in caplog.text
