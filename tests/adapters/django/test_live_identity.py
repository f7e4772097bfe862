"""Websockets that are closed when the login, the session, the account or the groups change."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from chatsite import models
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.utils import timezone
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection

from wsredis.adapters.django import Publisher

from ..support import SECONDS, environment
from .conftest import PROJECT, Live
from .support import Login, Person, ended, stays

CHANGED = "the groups of the user have changed"


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
            assert ws.close_reason == "identity-ended (the user logged out)"
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
            assert ws.close_reason == "identity-changed (the account has changed)"
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
            assert ws.close_reason == "identity-ended (the account was deactivated)"

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
            assert ws.close_reason == "identity-ended (the account was deleted)"

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda user, group: user.groups.add(Group.objects.get(name="writers")), CHANGED),
            (lambda user, group: user.groups.remove(group), CHANGED),
            (lambda user, group: user.groups.clear(), CHANGED),
            (lambda user, group: group.user_set.remove(user), CHANGED),
            (lambda user, group: group.user_set.clear(), CHANGED),
            (lambda user, group: group.delete(), "the group was deleted"),
        ],
        ids=["add", "remove", "clear", "remove member", "clear members", "delete"],
    )
    def test_new_groups_close_the_websockets_of_the_user(
        self,
        live: Live,
        alice: Any,
        login: Login,
        path: str,
        change: Callable[..., None],
        text: str,
    ) -> None:
        with live.open(path, login(alice)) as ws:
            change(alice, Group.objects.get(name="editors"))
            assert ended(ws) == 1012
            assert ws.close_reason == f"identity-changed ({text})"


OTHER_CLASSES = ["Colleague", "Employee", "Manager"]


def as_other(name: str, user: Any) -> Any:
    """Return a user as an instance of another class that has its row."""
    kind = getattr(models, name)
    if name == "Colleague":
        return kind.objects.get(pk=user.pk)
    employee = models.Employee(user_ptr=user, desk="7")
    employee.save_base(raw=True)  # only the row of the child
    return kind.objects.get(pk=user.pk)


@pytest.mark.parametrize("name", OTHER_CLASSES)
@pytest.mark.parametrize("change", ["lock", "password", "rename", "delete", "group"])
def test_proxies_and_children_of_the_user_model_are_users_too(
    live: Live, person: Person, alice: Any, login: Login, path: str, name: str, change: str
) -> None:
    user = as_other(name, alice)
    there = login(person("bob"))
    with live.open(path, login(alice)) as ws, live.open(path, there) as other:
        if change == "lock":
            user.is_active = False
            user.save(update_fields=["is_active"])
        elif change == "password":
            user.set_password("another")
            user.save()
        elif change == "rename":
            user.username = "alison"
            user.save()
        elif change == "delete":
            user.delete()
        else:
            user.groups.clear()
        assert ended(ws) == (4401 if change in ("lock", "delete") else 1012)
        assert stays(other)


def test_a_child_that_goes_alone_leaves_the_user(
    live: Live, alice: Any, login: Login, path: str
) -> None:
    employee = as_other("Employee", alice)
    with live.open(path, login(alice)) as ws:
        employee.delete(keep_parents=True)
        assert stays(ws)


def test_a_class_that_is_made_later_counts_too(
    live: Live, alice: Any, login: Login, path: str
) -> None:
    options = type("Meta", (), {"proxy": True, "app_label": "chatsite"})
    late = type("Late", (User,), {"__module__": "chatsite.models", "Meta": options})
    with live.open(path, login(alice)) as ws:
        late.objects.get(pk=alice.pk).delete()  # type: ignore[attr-defined]
        assert ended(ws) == 4401


@pytest.mark.parametrize("name", ["Group", "Team", "Department"])
@pytest.mark.parametrize("change", ["rename", "delete", "remove"])
def test_a_group_that_changes_closes_the_websockets_of_its_members(
    live: Live, person: Person, alice: Any, login: Login, path: str, name: str, change: str
) -> None:
    group = Group.objects.get(name="editors")
    if name == "Team":
        group = models.Team.objects.get(name="editors")
    elif name == "Department":
        models.Department(group_ptr=group, floor="3").save_base(raw=True)
        group = models.Department.objects.get(name="editors")
    there = login(person("bob", "writers"))
    with live.open(path, login(alice)) as ws, live.open(path, there) as other:
        if change == "rename":
            group.name = "authors"
            group.save()
        elif change == "delete":
            group.delete()
        else:
            group.user_set.remove(alice)
        assert ended(ws) == 1012
        assert stays(other)


def test_who_reuses_the_name_of_a_group_does_not_reach_its_former_members(
    live: Live, person: Person, alice: Any, login: Login, room: str
) -> None:
    client = login(alice)
    with live.open(f"/ws/{room}?subscribe-group", client) as ws:
        Group.objects.filter(name="editors").get().save()
        assert stays(ws)
        group = Group.objects.get(name="editors")
        group.name = "authors"
        group.save(update_fields=["name"])
        assert ended(ws) == 1012
    person("bob", "editors")
    with live.open(f"/ws/{room}?subscribe-group", client) as ws:
        Publisher(room, groups=["editors"]).publish("for the new editors")
        Publisher(room, groups=["authors"]).publish("for the authors")
        assert ws.recv(SECONDS) == "for the authors"


CUSTOM_USERS = """if True:
    import json
    import django

    django.setup()
    from django.contrib.auth.models import Group
    from django.core.management import call_command
    from wsredis.adapters.django import revoke
    from customers.models import Account, Customer, Membership

    call_command("migrate", run_syncdb=True, verbosity=0)
    revocations = []
    revoke.disconnect = lambda config, **revocation: revocations.append(revocation)


    def change(what, *arguments, **fields):
        for name, value in fields.items():
            setattr(what.__self__, name, value)
        what(*arguments)
        print(json.dumps(revocations))
        revocations.clear()


    for name in ("alice", "bob"):
        customer = Customer.objects.create(name=name)
    parent = Account.objects.get(name="alice")
    alice = Customer.objects.get(name="alice")
    group = Group.objects.create(name="editors")
    change(parent.save, password="another")
    change(parent.save, last_login=None)
    change(alice.groups.add, group)
    member = Membership(customer=alice, group=group)
    change(member.save)
    change(member.delete)
    change(group.save, name="authors")
    change(parent.save, is_active=False)
    change(parent.delete)
"""


def test_the_user_model_may_be_a_child_with_a_model_of_its_own_for_groups(tmp_path: Path) -> None:
    installed = ["auth", "contenttypes", "sessions"]
    installed = [*(f"django.contrib.{name}" for name in installed), "customers"]
    settings = json.dumps(
        {
            "AUTH_USER_MODEL": "customers.Customer",
            "INSTALLED_APPS": ["wsredis.adapters.django", *installed],
        }
    )
    environ = environment(
        PROJECT, tmp_path, CHATSITE_SETTINGS=settings, CHATSITE_DB=str(tmp_path / "db")
    )
    command = [sys.executable, "-c", CUSTOM_USERS]
    # Not in the folder of the sources, where -c would import the core without the adapters.
    run = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    found = [json.loads(line) for line in run.stdout.splitlines()]
    change = {"user": "alice", "code": 1012, "reason": "identity-changed (the account has changed)"}
    groups = {
        "user": "alice",
        "code": 1012,
        "reason": "identity-changed (the groups of the user have changed)",
    }
    assert found == [
        [change],
        [],
        [groups],
        [groups],
        [groups],
        [{"group": "editors", "code": 1012, "reason": "identity-changed (the group was renamed)"}],
        [{"user": "alice", "code": 4401, "reason": "identity-ended (the account was deactivated)"}],
        [
            groups,
            {"user": "alice", "code": 4401, "reason": "identity-ended (the account was deleted)"},
        ],
    ]


def test_what_says_nothing_about_rights_ends_nothing(
    live: Live, alice: Any, login: Login, path: str
) -> None:
    client = login(alice)
    with live.open(path, client) as ws:
        alice.first_name = "A."
        alice.save()
        alice.is_active = False
        alice.save(update_fields=["last_login", "password"])
        alice.groups.add(Group.objects.get(name="editors"))  # as before
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
