"""What a watched session store keeps of the site's own."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable, Iterator
from importlib import import_module
from io import StringIO
from types import SimpleNamespace
from typing import Any

import django
import pytest
from chatsite import own_engine
from chatsite.models import Visit
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client, override_settings

from wsredis.adapters.django import revoke, sessions
from wsredis.adapters.django.sessions import SITE_ENGINE, site_engine

from .test_session_ends import (
    BACKENDS,
    ENGINES,
    WITH_STORE,
    WITH_TABLE,
    Person,
    alice,
    engine,
    engines,
    path,
    revocations,
    store,
)

__all__ = ["alice", "engine", "path", "revocations"]

Site = Callable[..., None]
OURS = sessions.__name__
ASYNC = pytest.mark.skipif(django.VERSION < (5, 1), reason="asyncio is supported since 5.1")


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
