"""The groups in the session: written at login, updated when they change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from ws4redis import groups as ours
from ws4redis.groups import refresh_groups, store_groups_in_session
from ws4redis.models import store_groups_in_session as known_as

from .conftest import Live
from .talk import heard

Site = Callable[..., None]
Person = Callable[..., Any]
Login = Callable[[Any], Client]
MEMBEROF = "ws4redis:memberof"


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


def test_the_groups_of_people_without_a_session_cost_no_look_at_sessions(person: Person) -> None:
    user = person("john")
    with CaptureQueriesContext(connection) as queries:
        user.groups.add(Group.objects.create(name="staff"))
    assert not any("django_session" in query["sql"] for query in queries)


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


# What must not go wrong


def table(client: Client) -> Any:
    """Return the row of a client's session."""
    return Session.objects.get(pk=client.session.session_key)


@pytest.mark.parametrize("engine", ["db", "cached_db"])
def test_a_renewed_session_expires_when_it_would_have(
    site: Site, person: Person, login: Login, engine: str
) -> None:
    site(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}")
    user = person("john")
    client = login(user)
    soon = timezone.now() + timedelta(minutes=5)
    Session.objects.update(expire_date=soon)
    user.groups.add(Group.objects.create(name="staff"))
    assert client.session[MEMBEROF] == ["staff"]
    assert table(client).expire_date == soon


def test_a_session_that_ends_meanwhile_stays_ended(
    person: Person, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = person("john")
    here, there = login(user), login(user)

    def names(user: Any) -> list[str]:
        here.logout()
        return ["staff"]

    monkeypatch.setattr(ours, "group_names", names)
    user.groups.add(Group.objects.create(name="staff"))
    assert Session.objects.count() == 1
    assert there.session[MEMBEROF] == ["staff"]


@pytest.mark.parametrize("engine", ["db", "cached_db"])
def test_a_handshake_looks_again_where_a_session_was_written_over(
    site: Site, live: Live, person: Person, login: Login, room: str, engine: str
) -> None:
    """A request that began before the change saves the groups of before when it ends."""
    site(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}")
    user = person("john", "chatters")
    client = login(user)
    session = client.session
    session["basket"] = [7]
    user.groups.set([Group.objects.create(name="staff")])
    session.save()
    to = ({"groups": ["staff"]}, {"groups": ["chatters"]})
    assert heard(live, room, client, *to) == ["0"]


@pytest.mark.parametrize("engine", ["db", "cached_db", "file"])
def test_a_group_that_is_gone_or_renamed_has_no_channel(
    site: Site, live: Live, person: Person, login: Login, room: str, engine: str
) -> None:
    site(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}")
    client = login(person("john", "gone", "before"))
    Group.objects.get(name="gone").delete()
    Group.objects.filter(name="before").update(name="after")
    to = [{"groups": [name]} for name in ("gone", "before", "after")]
    assert heard(live, room, client, *to) == ["2"]


def test_a_change_that_is_rolled_back_has_no_effect(
    site: Site, live: Live, person: Person, login: Login, room: str
) -> None:
    site(SESSION_ENGINE="django.contrib.sessions.backends.cached_db")
    user = person("john", "chatters")
    client = login(user)
    with transaction.atomic():
        user.groups.set([Group.objects.create(name="staff")])
        transaction.set_rollback(True)
    to = ({"groups": ["staff"]}, {"groups": ["chatters"]})
    assert heard(live, room, client, *to) == ["1"]


@pytest.mark.parametrize("kept", [MEMBEROF, "nothing"])
def test_a_session_from_before_the_move_is_renewed(person: Person, login: Login, kept: str) -> None:
    """What django-websocket-redis wrote at the login lacks what tells who has written it."""
    user = person("john", "chatters")
    client = login(user)
    session = client.session
    for key in {MEMBEROF, ours.GIVEN} - {kept}:
        del session[key]
    session.save()
    user.groups.set([Group.objects.create(name="staff")])
    assert client.session[MEMBEROF] == ["staff"]


MODELS = """
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import Group
from django.db import models


class Traveller(AbstractBaseUser):
    email = models.EmailField(unique=True)
    last_login = None
    groups = models.ManyToManyField(Group, related_name="travellers")
    USERNAME_FIELD = "email"
    objects = BaseUserManager()
"""

PROGRAM = """
import django
from django.conf import settings

apps = ["contenttypes", "auth", "sessions"]
settings.configure(
    INSTALLED_APPS=[*(f"django.contrib.{name}" for name in apps), "travel", "ws4redis"],
    AUTH_USER_MODEL="travel.Traveller",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    SECRET_KEY="a key that only the tests know",
)
django.setup()
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client
from travel.models import Traveller

call_command("migrate", run_syncdb=True, verbosity=0)
john, client = Traveller.objects.create(email="john@chat.example"), Client()
client.force_login(john, "django.contrib.auth.backends.ModelBackend")
staff = Group.objects.create(name="staff")
for change in (
    lambda: john.groups.add(staff),
    lambda: staff.travellers.clear(),
    lambda: staff.travellers.add(john),
):
    change()
    print(client.session["ws4redis:memberof"])
"""


def test_a_user_model_of_ones_own_is_followed(tmp_path: Path) -> None:
    """Its relation to groups has another name, and it does not keep the last login."""
    (tmp_path / "travel").mkdir()
    (tmp_path / "travel" / "__init__.py").touch()
    (tmp_path / "travel" / "models.py").write_text(MODELS)
    paths = filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])
    ran = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "['staff']\n[]\n['staff']\n", ran.stderr


def test_only_the_newest_sessions_are_looked_through(
    person: Person, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "MOST", 1)
    user = person("john")
    old = login(user)
    Session.objects.update(expire_date=timezone.now() + timedelta(minutes=5))
    new = login(user)
    user.groups.add(Group.objects.create(name="staff"))
    assert (old.session[MEMBEROF], new.session[MEMBEROF]) == ([], ["staff"])
