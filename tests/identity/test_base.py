from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from wsredis.identity import ANONYMOUS, Identity, anonymous, chain

from .support import request


def test_an_identity_knows_user_groups_and_session() -> None:
    alice = Identity("alice", ("editors", "admins"), "key-1")
    assert (alice.user, alice.groups, alice.session) == ("alice", ("editors", "admins"), "key-1")


def test_groups_come_from_any_iterable_in_order_and_each_once() -> None:
    groups: Any = iter(["editors", "admins", "editors"])
    assert Identity(groups=groups).groups == ("editors", "admins")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"groups": "editors"}, r"groups=\('editors',\)"),
        ({"groups": None}, "iterable"),
        ({"groups": ("editors", "")}, "non-empty strings"),
        ({"groups": (b"editors",)}, "non-empty strings"),
        ({"user": ""}, "non-empty strings, not ''"),
        ({"user": 5}, "non-empty strings, not 5"),
        ({"user": b"alice"}, "non-empty strings"),
        ({"session": ""}, "non-empty strings"),
        ({"expires": "2030-01-01"}, "Unix time in seconds"),
        ({"expires": float("nan")}, "Unix time in seconds"),
        ({"expires": float("inf")}, "Unix time in seconds"),
    ],
)
def test_a_name_that_is_none_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Identity(**arguments)


def test_an_identity_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ANONYMOUS.user = "mallory"  # type: ignore[misc]


@pytest.mark.parametrize(
    "somebody", [Identity("alice"), Identity(groups=("editors",)), Identity(session="key-1")]
)
def test_an_identity_is_true_as_soon_as_anything_is_known(somebody: Identity) -> None:
    assert somebody


def test_nobody_is_false() -> None:
    assert not ANONYMOUS
    assert Identity() == ANONYMOUS
    assert anonymous(request(REMOTE_USER="alice")) is ANONYMOUS


def test_in_a_chain_the_first_who_knows_somebody_decides() -> None:
    asked = []

    def knows(name: str, answer: Identity | None) -> Any:
        def resolve(request: Any) -> Identity | None:
            asked.append(name)
            return answer

        return resolve

    resolve = chain(
        knows("none", None),
        knows("nobody", ANONYMOUS),
        knows("alice", Identity("alice")),
        knows("bob", Identity("bob")),
    )
    assert resolve(request()) == Identity("alice")
    assert asked == ["none", "nobody", "alice"]


def test_a_chain_in_which_nobody_is_known_knows_nobody() -> None:
    assert chain()(request()) is ANONYMOUS
    assert chain(anonymous, lambda request: None)(request()) is ANONYMOUS


def test_an_error_ends_a_chain_and_later_resolvers_are_not_asked() -> None:
    def fail(request: Any) -> Identity:
        raise LookupError("the session store is unavailable")

    with pytest.raises(LookupError, match="session store"):
        chain(fail, lambda request: Identity("alice"))(request())


def test_no_resolver_loads_what_only_some_sites_have() -> None:
    program = (
        "import sys, wsredis.identity; print([m for m in ('jwt', 'redis') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
