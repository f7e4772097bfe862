"""Publishing from views: `SELF`, transactions, asyncio."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.http import JsonResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy

import wsredis
from wsredis import BrokerUnavailable, Identity
from wsredis.adapters.django import SELF, Publisher

Site = Callable[..., None]
Person = Callable[..., Any]


@pytest.fixture
def request_of_alice(person: Person) -> Any:
    """Give a request as the middleware of Django hands it to a view."""
    request = RequestFactory().get("/")
    request.user = person("alice", "editors", "authors")
    request.session = SessionStore()
    request.session["basket"] = [1]
    request.session.save()
    return request


def test_self_is_who_sends_the_request(request_of_alice: Any) -> None:
    publisher = Publisher(
        "x", users=[SELF, "bob"], groups=[SELF], sessions=[SELF], request=request_of_alice
    )
    assert publisher.channels == (
        "ws:user:alice:x",
        "ws:user:bob:x",
        "ws:group:authors:x",
        "ws:group:editors:x",
        f"ws:session:{request_of_alice.session.session_key}:x",
    )


def test_groups_of_self_are_read_now(request_of_alice: Any) -> None:
    alice = request_of_alice.user
    assert len(Publisher("x", groups=[SELF], request=request_of_alice).channels) == 2
    alice.groups.add(Group.objects.create(name="readers"))
    assert len(Publisher("x", groups=[SELF], request=request_of_alice).channels) == 3


def test_self_of_a_visitor_is_nobody(db: None) -> None:
    request = RequestFactory().get("/")
    request.user, request.session = AnonymousUser(), SessionStore()
    publisher = Publisher("x", users=[SELF], sessions=[SELF], groups=[SELF], request=request)
    assert publisher.channels == ()
    assert publisher.publish("to nobody") == 0


def test_a_session_that_is_not_saved_has_no_channel(request_of_alice: Any) -> None:
    request_of_alice.session = SessionStore("forged" * 6)
    assert Publisher("x", sessions=[SELF], request=request_of_alice).channels == ()


def test_without_self_the_request_is_not_looked_at() -> None:
    class Untouchable:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    publisher = Publisher("x", users=["alice"], request=Untouchable())
    assert publisher.channels == ("ws:user:alice:x",)


@pytest.mark.parametrize("names", [(SELF,), {SELF}, iter([SELF])])
def test_names_are_any_iterable(names: Any, request_of_alice: Any) -> None:
    assert Publisher("x", users=names, request=request_of_alice).channels == ("ws:user:alice:x",)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"users": "john"}, r"write users=\['john'\]"),
        ({"users": True}, "users must be a list of names"),
        ({"users": SELF}, r"write users=\[SELF\]"),
        ({"groups": b"editors"}, "groups must be a list of names"),
        ({"sessions": [None]}, "sessions must contain non-empty strings or SELF, not None"),
        ({"users": [AnonymousUser()]}, "users must contain non-empty strings or SELF"),
        ({"users": [SELF]}, "SELF in users needs request= or identity="),
        ({"users": [SELF], "request": RequestFactory().get("/")}, "AuthenticationMiddleware"),
        ({"broadcast": 1}, "broadcast must be True or False"),
    ],
)
def test_what_names_nobody_is_a_type_error(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        Publisher("x", **arguments)


def test_a_facility_with_a_colon_is_encoded() -> None:
    assert Publisher("eu:x", groups=["staff"]).channels == ("ws:group:staff:eu%3Ax",)
    assert Publisher("x", groups=["staff:eu"]).channels == ("ws:group:staff%3Aeu:x",)


def test_the_identity_of_a_handshake_serves_as_well() -> None:
    request = SimpleNamespace(identity=Identity("alice"))
    assert Publisher("x", users=[SELF], request=request).channels == ("ws:user:alice:x",)
    given = Publisher("x", users=[SELF], request=request, identity=Identity("bob"))
    assert given.channels == ("ws:user:bob:x",)


def test_self_is_who_the_site_says_it_is(site: Site, request_of_alice: Any) -> None:
    """A websocket knows its visitor by the same callback."""
    site({"identity": "chatsite.channels.token"})
    known = RequestFactory().get("/?token=7")
    known.user, known.session = request_of_alice.user, request_of_alice.session
    assert Publisher("x", users=[SELF], request=known).channels == ("ws:user:token-7:x",)
    bare = RequestFactory().get("/?token=8")
    assert Publisher("x", users=[SELF], request=bare).channels == ("ws:user:token-8:x",)
    assert Publisher("x", users=[SELF], request=request_of_alice).channels == ()


@pytest.fixture
def retained(room: str, site: Site) -> Callable[[], Any]:
    """Give what a publication has left in Redis."""
    return wsredis.Publisher(room, broadcast=True).fetch


def test_on_commit_publishes_after_the_commit(db: None, room: str, retained: Any) -> None:
    message = {"state": "new"}
    with transaction.atomic():
        Publisher(room, broadcast=True).publish_on_commit(message, expire=60)
        message["state"] = "changed later"
        assert retained() is None
    assert retained() == '{"state":"new"}'


def test_on_commit_publishes_nothing_after_a_rollback(db: None, room: str, retained: Any) -> None:
    with transaction.atomic():
        Publisher(room, broadcast=True).publish_on_commit("never", expire=60)
        transaction.set_rollback(True)
    with transaction.atomic():
        pass
    assert retained() is None


def test_a_rollback_of_a_part_takes_only_its_own(db: None, room: str, retained: Any) -> None:
    with transaction.atomic():
        Publisher(room, broadcast=True).publish_on_commit("retained", expire=60)
        with transaction.atomic():
            Publisher(room, broadcast=True).publish_on_commit("never", expire=60)
            transaction.set_rollback(True)
    assert retained() == "retained"


def test_without_a_transaction_it_is_published_at_once(db: None, room: str, retained: Any) -> None:
    Publisher(room, broadcast=True).publish_on_commit(b"\x00\xff", expire=60, using="default")
    assert retained() == b"\x00\xff"


def test_the_setting_says_for_how_long(db: None, room: str, site: Site, retained: Any) -> None:
    site({"expire": 60})
    Publisher(room, broadcast=True).publish_on_commit("retained")
    assert retained() == "retained"


@pytest.mark.parametrize(
    ("message", "expire", "error"), [({1, 2}, None, TypeError), ("x", -1, ValueError)]
)
def test_what_cannot_be_published_is_said_before_the_commit(
    db: None, message: Any, expire: Any, error: type[Exception]
) -> None:
    with transaction.atomic(), pytest.raises(error):
        Publisher("x", broadcast=True).publish_on_commit(message, expire)


def test_an_unavailable_redis_after_a_commit_is_logged(
    db: None, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site({"redis": "redis://127.0.0.1:1"})
    with caplog.at_level(logging.ERROR), transaction.atomic():
        Publisher("x", broadcast=True).publish_on_commit("lost")
    assert any("on_commit" in record.message for record in caplog.records)
    with pytest.raises(BrokerUnavailable):
        Publisher("x", broadcast=True).publish("lost")


def test_asyncio_publishes_too(room: str, retained: Any, request_of_alice: Any) -> None:
    async def view() -> tuple[str, ...]:
        await Publisher(room, broadcast=True).apublish("hello", expire=60)
        own = await sync_to_async(Publisher)(room, users=[SELF], request=request_of_alice)
        await own.apublish("for alice", expire=60)
        return own.channels

    assert asyncio.run(view()) == (f"ws:user:alice:{room}",)
    assert retained() == "hello"


# What it publishes

VALUES = {
    "date": date(2026, 1, 31),
    "time": datetime(2026, 1, 31, 12, 30, tzinfo=UTC),
    "lasts": timedelta(hours=1),
    "price": Decimal("9.90"),
    "id": UUID("8f2c5b8e-6b0e-4d8c-9a53-0d0f3c1f7a11"),
    "title": gettext_lazy("Yes"),
    "name": "Zoë",
}


@pytest.mark.parametrize("way", ["publish", "apublish", "publish_on_commit"])
def test_values_are_those_of_the_json_of_django(
    way: str, db: None, room: str, retained: Any
) -> None:
    publisher = Publisher(room, broadcast=True)
    if way == "publish":
        publisher.publish(VALUES, 60)
    elif way == "apublish":
        asyncio.run(publisher.apublish(VALUES, 60))
    else:
        publisher.publish_on_commit(VALUES, 60)
    assert json.loads(retained()) == json.loads(JsonResponse(VALUES).content)
    assert '"name":"Zoë"' in retained()


def test_lazy_text_is_text(room: str, retained: Any) -> None:
    lazy: Any = SimpleLazyObject(lambda: "hello")
    for text, sent in (
        (gettext_lazy("Yes"), "Yes"),
        (format_lazy("{}!", "a"), "a!"),
        (lazy, "hello"),
    ):
        Publisher(room, broadcast=True).publish(text, 60)
        assert retained() == sent


def test_lazy_objects_in_a_message_are_their_values(
    room: str, retained: Any, request_of_alice: Any
) -> None:
    message = SimpleLazyObject(
        lambda: {"user": SimpleLazyObject(request_of_alice.user.get_username)}
    )
    Publisher(room, broadcast=True).publish(message, 60)
    assert retained() == '{"user":"alice"}'


def test_facilities_and_names_may_be_lazy_or_a_uuid(request_of_alice: Any) -> None:
    name: Any = SimpleLazyObject(request_of_alice.user.get_username)
    publisher = Publisher(VALUES["id"], users=[name, gettext_lazy("Yes")], groups=[VALUES["id"]])
    assert publisher.channels == (
        f"ws:user:alice:{VALUES['id']}",
        f"ws:user:Yes:{VALUES['id']}",
        f"ws:group:{VALUES['id']}:{VALUES['id']}",
    )
    assert all(type(channel) is str for channel in publisher.channels)
    topic: Any = gettext_lazy("Yes")
    assert Publisher(topic, True).channels == ("ws:broadcast:Yes",)


def test_a_value_without_a_json_form_is_named() -> None:
    with pytest.raises(TypeError, match="a value in it of type object is not JSON-serializable"):
        Publisher("x", broadcast=True).publish({"a": object()})
    with pytest.raises(TypeError, match="cannot publish this list, as it is not JSON"):
        Publisher("x", broadcast=True).publish([float("nan")])
