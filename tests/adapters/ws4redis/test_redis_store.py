"""Messages, and the names of the channels they go to."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st
from ws4redis import names
from ws4redis.publisher import RedisPublisher
from ws4redis.redis_store import SELF, RedisMessage, RedisStore

HEARTBEAT = "--heartbeat--"


def who(name: str = "", groups: Any = (), key: str | None = None, **fields: Any) -> Any:
    known = bool(name)
    fields = {"is_authenticated": known, "get_username": lambda: name, **fields}
    session = type("Session", (dict,), {"session_key": key})({"ws4redis:memberof": list(groups)})
    return SimpleNamespace(user=SimpleNamespace(**fields), session=session)


def channels(**audiences: Any) -> set[str]:
    return RedisPublisher(facility="room", **audiences)._publishers


# RedisMessage


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("héllo", "héllo".encode()),
        (b"\xff\x00", b"\xff\x00"),
        (bytearray(b"abc"), b"abc"),
        ("", b""),
        ([b"message", b"broadcast:room", b"data"], b"data"),
        ([b"subscribe", b"broadcast:room", 1], None),
        ([b"message"], None),
        (None, None),
        (7, None),
        ({"a": 1}, None),
    ],
)
def test_a_message_is_bytes_or_nothing(value: Any, message: bytes | None) -> None:
    made: Any = RedisMessage(value)
    assert made == message
    if message is not None:
        assert isinstance(made, RedisMessage)
        assert isinstance(made, bytes)


@pytest.mark.parametrize("value", [HEARTBEAT, HEARTBEAT.encode(), bytearray(HEARTBEAT.encode())])
def test_a_heartbeat_is_no_message(site: Any, value: Any) -> None:
    assert RedisMessage(value) is not None
    site(WS4REDIS_HEARTBEAT=HEARTBEAT)
    assert RedisMessage(value) is None


# Channels


def test_each_audience_has_its_channel() -> None:
    assert channels(broadcast=True) == {"broadcast:room"}
    assert channels(users=["john", "mary"]) == {"user:john:room", "user:mary:room"}
    assert channels(groups=("staff",)) == {"group:staff:room"}
    assert channels(sessions=["k1"]) == {"session:k1:room"}
    assert channels(broadcast=True, users=("john",), groups=["a", "b"], sessions=["k"]) == {
        "broadcast:room", "user:john:room", "group:a:room", "group:b:room", "session:k:room",
    }  # fmt: skip


def test_the_prefix_stands_first(site: Any) -> None:
    site(WS4REDIS_PREFIX="demo")
    assert channels(users=["john"]) == {"demo:user:john:room"}
    assert RedisStore.get_prefix() == "demo:"
    site(WS4REDIS_PREFIX="my:site")
    assert channels(broadcast=True) == {"my:site:broadcast:room"}


def test_names_of_people_stand_as_they_are() -> None:
    assert channels(users=["jane@example.com"], groups=["Site Admins", "a*[b]?", "ünï"]) == {
        "user:jane@example.com:room",
        "group:Site Admins:room",
        "group:a*[b]?:room",
        "group:ünï:room",
    }


def test_names_may_be_anything_that_has_a_text() -> None:
    assert channels(groups=[Group(name="staff")], users=[mark_safe("john"), 7]) == {
        "group:staff:room",
        "user:john:room",
        "user:7:room",
    }


def test_lists_may_be_any_iterable() -> None:
    assert channels(users={"john"}) == channels(users=iter(["john"])) == {"user:john:room"}


def test_a_colon_is_encoded_so_that_no_two_pairs_meet() -> None:
    first = RedisPublisher(facility="eu:x", groups=["staff"])._publishers
    second = RedisPublisher(facility="x", groups=["staff:eu"])._publishers
    assert first == {"group:staff:eu%3Ax"}
    assert second == {"group:staff%3Aeu:x"}


PARTS = st.text(alphabet="a:%3A \n\u2028é", max_size=6)


@given(st.tuples(PARTS, PARTS), st.tuples(PARTS, PARTS))
def test_no_two_pairs_share_a_channel(one: tuple[str, str], two: tuple[str, str]) -> None:
    made = [names.channel("", "group", facility, name) for name, facility in (one, two)]
    assert (made[0] == made[1]) == (one == two)
    assert "\n" not in made[0]


def test_a_facility_may_be_empty_or_contain_slashes() -> None:
    assert RedisPublisher(facility="", broadcast=True)._publishers == {"broadcast:"}
    assert RedisPublisher(facility="a/b", broadcast=True)._publishers == {"broadcast:a/b"}
    assert RedisPublisher(facility=7, broadcast=True)._publishers == {"broadcast:7"}


def test_two_publishers_have_nothing_in_common() -> None:
    one, two = (
        RedisPublisher(facility="a", broadcast=True),
        RedisPublisher(facility="b", users=["x"]),
    )
    assert (one._publishers, two._publishers) == ({"broadcast:a"}, {"user:x:b"})


def test_a_publisher_without_arguments_publishes_to_nobody() -> None:
    assert RedisPublisher()._publishers == set()


# SELF


def test_self_is_whoever_sends_the_request() -> None:
    request = who("john", ["chatters", "staff"], "k1")
    assert channels(request=request, users=[SELF, "mary"]) == {"user:john:room", "user:mary:room"}
    assert channels(request=request, groups=[SELF]) == {"group:chatters:room", "group:staff:room"}
    assert channels(request=request, sessions=(SELF,)) == {"session:k1:room"}


@pytest.mark.parametrize(
    "nobody",
    [
        who(),
        who("john", ["staff"], is_active=False),
        who("", ["staff"], is_authenticated=lambda: False),
        SimpleNamespace(),
        SimpleNamespace(user=AnonymousUser(), session={}),
        SimpleNamespace(user=None, session=None),
        who(None, ["staff"], is_authenticated=True),
    ],
)
def test_nobody_has_no_channel(nobody: Any) -> None:
    assert channels(request=nobody, users=[SELF], groups=[SELF], sessions=[SELF]) == set()


def test_a_user_whose_is_authenticated_is_a_method_is_known() -> None:
    assert channels(request=who("john", is_authenticated=lambda: True), users=[SELF]) == {
        "user:john:room"
    }


@pytest.mark.parametrize("argument", ["users", "groups", "sessions"])
def test_self_without_a_request_is_a_clear_error(argument: str) -> None:
    with pytest.raises(TypeError, match=rf"SELF in {argument} needs a request: write"):
        channels(**{argument: [SELF]})


# The forms before there were lists


@pytest.mark.parametrize(
    ("argument", "value", "found"),
    [
        ("users", True, {"user:john:room"}),
        ("users", "mary", {"user:mary:room"}),
        ("groups", True, {"group:staff:room"}),
        ("groups", "editors", {"group:editors:room"}),
        ("sessions", True, {"session:k1:room"}),
        ("sessions", "k2", {"session:k2:room"}),
    ],
)
def test_the_old_forms_work_and_warn(argument: str, value: Any, found: set[str]) -> None:
    with pytest.warns(DeprecationWarning, match=f"write {argument}=") as warned:
        assert channels(request=who("john", ["staff"], "k1"), **{argument: value}) == found
    assert warned[0].filename == __file__


@pytest.mark.parametrize("argument", ["users", "groups", "sessions"])
def test_false_is_nobody(argument: str) -> None:
    assert channels(**{argument: False}) == set()


# Nonsense


@pytest.mark.parametrize(
    ("audiences", "text"),
    [
        *(
            ({argument: value}, rf"{argument} must be a list of names")
            for argument, value in itertools.product(
                ("users", "groups", "sessions"),
                (None, 7, SELF, b"john", [None], [""], [b"john"], [True]),
            )
        ),
        ({"broadcast": "yes"}, "broadcast must be True or False"),
        ({"broadcast": None}, "broadcast must be True or False"),
        ({"user": ["john"]}, "user"),
    ],
)
def test_nonsense_is_a_clear_type_error(audiences: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        channels(**audiences)


def test_a_broadcast_of_one_is_true() -> None:
    assert channels(broadcast=1) == {"broadcast:room"}
    assert channels(broadcast=0) == set()


@pytest.mark.parametrize("facility", [None, b"room", True])
def test_a_facility_is_a_string(facility: Any) -> None:
    with pytest.raises(TypeError, match="facility must be a string"):
        RedisPublisher(facility=facility, broadcast=True)


def test_an_audience_without_facility_is_a_clear_error() -> None:
    with pytest.raises(TypeError, match="facility="):
        RedisPublisher(broadcast=True)


def test_a_subclass_may_have_audiences_of_its_own() -> None:
    class Publisher(RedisPublisher):
        def _get_message_channels(self, team: str = "", **audiences: Any) -> list[str]:
            return [*super()._get_message_channels(**audiences), f"team:{team}"]

    assert Publisher(facility="room", team="red", broadcast=True)._publishers == {
        "broadcast:room",
        "team:red",
    }
