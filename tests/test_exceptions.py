from __future__ import annotations

import inspect
import re

import pytest

from wsredis import exceptions
from wsredis.exceptions import HandshakeError, PermissionDenied, WSRedisError


def drawn_tree() -> dict[str, set[str]]:
    """Read the tree in the docstring: each class with its parents."""
    parents: dict[str, set[str]] = {}
    above: dict[int, str] = {}
    for line in (exceptions.__doc__ or "").splitlines():
        if drawn := re.match(r"([\s│├└─]+)([A-Z]\w+)(?: \((\w+)\))?(?:   |$)", line):
            depth = len(drawn[1])
            above[depth] = drawn[2]
            nearest = max((d for d in above if d < depth), default=None)
            parents[drawn[2]] = {
                name for name in (nearest and above[nearest], drawn[3]) if name is not None
            }
    return parents


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    real = {
        name: {base.__name__ for base in thing.__bases__}
        for name, thing in vars(exceptions).items()
        if inspect.isclass(thing) and issubclass(thing, BaseException)
    }
    assert {**drawn_tree(), "WSRedisError": {"Exception"}} == real
    assert set(real) == set(exceptions.__all__)


@pytest.mark.parametrize("name", exceptions.__all__)
def test_one_except_clause_catches_everything(name: str) -> None:
    assert issubclass(getattr(exceptions, name), WSRedisError)


def test_a_refusal_carries_its_http_answer() -> None:
    refused = HandshakeError(426, "Another version.", [("Sec-WebSocket-Version", "13")])
    assert (refused.status, refused.text) == (426, "Another version.")
    assert refused.headers == (("Sec-WebSocket-Version", "13"),)
    assert str(refused) == "Another version."


def test_a_denied_permission_is_403() -> None:
    assert (PermissionDenied().status, PermissionDenied().headers) == (403, ())
    assert PermissionDenied("Log in first.").text == "Log in first."
