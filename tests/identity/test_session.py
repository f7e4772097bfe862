from __future__ import annotations

from typing import Any

import pytest
from beaker.middleware import SessionMiddleware

from wsredis.exceptions import ConfigurationError
from wsredis.identity import ANONYMOUS, Identity, SessionResolver

from .support import request


def of(session: Any, **options: Any) -> Identity:
    """Ask about a request with this session."""
    resolve = SessionResolver(lambda request: request.environ["session"], **options)
    return resolve(request(session=session))


def test_user_and_groups_are_what_the_session_says() -> None:
    assert of({"user": "alice", "groups": ["editors"]}) == Identity("alice", ("editors",))
    names = {"user": "login", "groups": "roles"}
    session = {"login": "alice", "roles": ("editors",), "user": "mallory"}
    assert of(session, **names) == Identity("alice", ("editors",))


def test_a_user_may_be_a_number() -> None:
    assert of({"user": 7}) == Identity("7")
    assert of({"user": 0}) == Identity("0")


@pytest.mark.parametrize("session", [None, {}, {"user": None}, {"user": ""}, {"cart": [1]}])
def test_a_session_without_a_user_is_nobodys(session: Any) -> None:
    assert of(session) == ANONYMOUS


def test_groups_without_a_user_do_not_count() -> None:
    assert of({"groups": ["editors"]}) == ANONYMOUS


def test_groups_can_be_left_out() -> None:
    assert of({"user": "alice", "groups": ["editors"]}, groups=None) == Identity("alice")
    assert of({"user": "alice", "groups": None}) == Identity("alice")


def test_the_session_has_a_channel_if_something_names_it() -> None:
    session = {"user": "alice", "id": "key-1"}
    assert of(session, key=lambda session: session["id"]) == Identity("alice", (), "key-1")
    assert of({"id": "key-1"}, key=lambda session: session["id"]) == Identity(session="key-1")
    assert of(session, key=lambda session: None) == Identity("alice")


@pytest.mark.parametrize(
    "session",
    [{"user": True}, {"user": b"alice"}, {"user": {"name": "alice"}},
     {"user": "alice", "groups": "editors"}, {"user": "alice", "groups": [1]}],
)  # fmt: skip
def test_what_is_no_name_is_an_error(session: Any) -> None:
    with pytest.raises(TypeError):
        of(session)


def test_an_error_of_the_store_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        SessionResolver(lambda request: request.environ["session"])(request())


def test_a_session_of_beaker(tmp_path: Any) -> None:
    resolve = SessionResolver(
        lambda request: request.environ["beaker.session"],
        key=lambda session: None if session.is_new else session.id,
    )
    seen: list[Identity] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(resolve(request(**environ)))
        if environ["PATH_INFO"] == "/login":
            environ["beaker.session"].update(user="alice", groups=["editors"])
            environ["beaker.session"].save()
        start_response("200 OK", [])
        return []

    options = {
        "session.type": "file",
        "session.data_dir": tmp_path,
        "session.save_accessed_time": 0,
    }
    site = SessionMiddleware(app, options)
    headers: list[Any] = []
    site({"PATH_INFO": "/login"}, lambda status, sent, *_: headers.extend(sent))
    ((_, cookie),) = headers
    site({"PATH_INFO": "/", "HTTP_COOKIE": cookie.partition(";")[0]}, lambda *_: None)
    before, after = seen
    assert before == ANONYMOUS
    assert after == Identity("alice", ("editors",), after.session)
    assert after.session
    assert after.session in cookie


@pytest.mark.parametrize("arguments", [{"load": "beaker.session"}, {"load": dict, "key": "id"}])
def test_what_cannot_be_called_is_refused_at_the_start(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="is not callable: write SessionResolver"):
        SessionResolver(**arguments)
