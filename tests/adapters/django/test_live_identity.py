"""Websockets that are closed when the login, the session, the account or the groups change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client
from django.utils import timezone
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from .conftest import Live

Person = Callable[..., Any]
Login = Callable[[Any], Client]

SECONDS = 30


def ended(ws: ClientConnection) -> int:
    """Wait for the end and return its close code."""
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(SECONDS)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def stays(ws: ClientConnection) -> bool:
    """Tell whether a websocket answers, and so has got no close frame before."""
    assert ws.ping().wait(SECONDS)
    return ws.close_code is None


@pytest.fixture
def path(room: str) -> str:
    return f"/ws/{room}?subscribe-user&subscribe-group&subscribe-session"


@pytest.fixture
def alice(person: Person) -> Any:
    return person("alice", "editors")


@pytest.fixture
def bob(live: Live, person: Person, login: Login, path: str) -> Iterator[ClientConnection]:
    """Give a websocket of somebody whom nothing of this concerns."""
    with live.open(path, login(person("bob", "writers"))) as ws:
        yield ws
        assert stays(ws)


@pytest.mark.usefixtures("bob")
class TestChangesOfAnAccount:
    """Tests that also have another user, whose websocket stays open."""

    def test_a_logout_closes_the_websockets_of_the_session(
        self, live: Live, alice: Any, login: Login, path: str
    ) -> None:
        here, there = login(alice), login(alice)
        with live.open(path, here) as ws, live.open(path, there) as other:
            assert here.get("/leave").status_code == 200
            assert ended(ws) == 4401
            assert stays(other)

    def test_an_expired_session_closes_its_websockets(
        self, live: Live, alice: Any, login: Login, path: str
    ) -> None:
        client = login(alice)
        session = client.session
        session.set_expiry(timezone.now() + timedelta(seconds=6))
        session.save()
        with live.open(path, client) as ws:
            assert ended(ws) == 4401
        with pytest.raises(InvalidStatus) as refused:
            live.open(path, client)
        assert refused.value.response.status_code == 403

    def test_a_new_password_closes_the_websockets_of_the_user(
        self, live: Live, alice: Any, login: Login, path: str
    ) -> None:
        here, there = login(alice), login(alice)
        with live.open(path, here) as ws, live.open(path, there) as other:
            assert here.get("/new-password").status_code == 200
            assert ended(ws) == ended(other) == 1012
        with live.open(path, here) as again:
            assert stays(again)
        with pytest.raises(InvalidStatus):
            live.open(path, there)

    def test_a_deactivated_account_closes_its_websockets(
        self, live: Live, alice: Any, login: Login, path: str
    ) -> None:
        with live.open(path, login(alice)) as ws:
            alice.is_active = False
            alice.save()
            assert ended(ws) == 4401

    def test_a_new_name_closes_the_websockets_of_the_user(
        self, live: Live, alice: Any, login: Login, path: str
    ) -> None:
        with live.open(path, login(alice)) as ws:
            alice.username = "alison"
            alice.save(update_fields=["username"])
            assert ended(ws) == 1012

    def test_a_deleted_account_closes_its_websockets(
        self, live: Live, alice: Any, login: Login, path: str
    ) -> None:
        with live.open(path, login(alice)) as ws:
            alice.delete()
            assert ended(ws) == 4401

    @pytest.mark.parametrize(
        "change",
        [
            lambda user, group: user.groups.add(Group.objects.get(name="writers")),
            lambda user, group: user.groups.remove(group),
            lambda user, group: user.groups.clear(),
            lambda user, group: group.user_set.remove(user),
            lambda user, group: group.user_set.clear(),
            lambda user, group: group.delete(),
        ],
        ids=["add", "remove", "clear", "remove member", "clear members", "delete"],
    )
    def test_new_groups_close_the_websockets_of_the_user(
        self, live: Live, alice: Any, login: Login, path: str, change: Callable[..., None]
    ) -> None:
        with live.open(path, login(alice)) as ws:
            change(alice, Group.objects.get(name="editors"))
            assert ended(ws) == 1012


def test_what_says_nothing_about_rights_ends_nothing(
    live: Live, alice: Any, login: Login, path: str
) -> None:
    client = login(alice)
    with live.open(path, client) as ws:
        alice.first_name = "A."
        alice.save()
        alice.save(update_fields=["last_login"])
        assert client.get("/").status_code == 200
        assert stays(ws)


def test_a_change_that_is_rolled_back_ends_nothing(
    live: Live, alice: Any, login: Login, path: str
) -> None:
    with live.open(path, login(alice)) as ws:
        with suppress(LookupError), transaction.atomic():
            alice.is_active = False
            alice.save()
            raise LookupError
        assert stays(ws)
        with transaction.atomic():
            alice.save()
            assert stays(ws)
        assert ended(ws) == 4401


def test_without_redis_a_change_is_stored_all_the_same(
    alice: Any, site: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    site({"redis": "redis://127.0.0.1:1/0"})
    alice.is_active = False
    alice.save()
    alice.refresh_from_db()
    assert not alice.is_active
    assert "the websockets of a user could not be closed: Redis at 127.0.0.1:1: " in caplog.text
