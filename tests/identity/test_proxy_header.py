from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsredis.exceptions import ConfigurationError, PermissionDenied
from wsredis.identity import ANONYMOUS, Identity, ProxyHeaderResolver

from .support import request

USER, GROUPS = "HTTP_X_FORWARDED_USER", "HTTP_X_FORWARDED_GROUPS"
DROPS = {"SERVER_SOFTWARE": "gunicorn/27.0.1", "REMOTE_ADDR": "192.0.2.1"}

resolve = ProxyHeaderResolver(groups_header="X-Forwarded-Groups", proxies=["192.0.2.1", "unix"])


def said(**environ: Any) -> Any:
    """Return a request that a listed proxy has sent to a server without twins."""
    return request(**{**DROPS, **environ})


def test_the_user_is_whom_a_listed_proxy_names() -> None:
    assert resolve(said(**{USER: "alice"})) == Identity("alice")
    assert resolve(said(**{USER: " alice "})) == Identity("alice")
    assert resolve(said(**{USER: "alice", "REMOTE_ADDR": ""})) == Identity("alice")


def test_groups_are_separated_by_commas() -> None:
    asked = said(**{USER: "alice", GROUPS: "editors, admins,,"})
    assert resolve(asked) == Identity("alice", ("editors", "admins"))
    only_users = ProxyHeaderResolver(proxies=["192.0.2.1"])
    assert only_users(asked) == Identity("alice")


def test_a_name_is_utf_8() -> None:
    assert resolve(said(**{USER: "Zo\xc3\xab"})) == Identity("Zoë")
    with pytest.raises(UnicodeDecodeError):
        resolve(said(**{USER: "Zo\xeb"}))


@pytest.mark.parametrize("environ", [{}, {USER: ""}, {USER: "  "}, {GROUPS: "editors"}])
def test_without_a_name_there_is_nobody(environ: dict[str, str]) -> None:
    assert resolve(said(**environ)) is ANONYMOUS


@pytest.mark.parametrize("peer", ["192.0.2.2", "127.0.0.1", "::1", "localhost", "192.0.2.1.evil"])
def test_what_anybody_else_says_is_ignored(peer: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert resolve(said(**{USER: "mallory", "REMOTE_ADDR": peer})) is ANONYMOUS
    assert "not sent by a listed proxy" in caplog.text
    assert "mallory" not in caplog.text


@pytest.mark.parametrize("value", ["alice,mallory", "alice, mallory", ", mallory", "alice,"])
def test_several_values_are_refused(value: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PermissionDenied, match="could not be identified"):
        resolve(said(**{USER: value}))
    assert "several values" in caplog.text
    assert "mallory" not in caplog.text


FOLDING = [
    {"uwsgi.version": b"2.0.31"},
    {"uwsgi.version": b"2.0.31", "SERVER_SOFTWARE": "gunicorn/27.0.1"},
    {"SERVER_SOFTWARE": "WSGIServer/0.2 CPython/3.11.7"},
    {"SERVER_SOFTWARE": "gunicorn/21.2.0"},
    {"SERVER_SOFTWARE": "another/99"},
    {"SERVER_SOFTWARE": "not gunicorn/27.0.1"},
    {"SERVER_SOFTWARE": ""},
]


@pytest.mark.parametrize("server", FOLDING)
def test_where_a_twin_cannot_be_told_apart_nobody_is_believed(
    server: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PermissionDenied, match="could not be identified"):
        resolve(said(**{USER: "alice", **server}))
    assert "X_Forwarded_User, X_Forwarded_Groups" in caplog.text
    assert "twins_dropped=True" in caplog.text


@pytest.mark.parametrize("server", FOLDING)
def test_a_name_without_dashes_has_no_twin(server: dict[str, Any]) -> None:
    plain = ProxyHeaderResolver("Remoteuser", proxies=["192.0.2.1"])
    assert plain(said(HTTP_REMOTEUSER="alice", **server)) == Identity("alice")


@pytest.mark.parametrize("server", FOLDING)
def test_a_proxy_that_drops_twins_is_believed(server: dict[str, Any]) -> None:
    behind_nginx = ProxyHeaderResolver(proxies=["192.0.2.1"], twins_dropped=True)
    assert behind_nginx(said(**{USER: "alice", **server})) == Identity("alice")
    with pytest.raises(PermissionDenied):
        behind_nginx(said(**{USER: "alice, mallory", **server}))


@pytest.mark.parametrize("software", ["gevent/26.9 Python/3.11", "Werkzeug/3.1.9", "gunicorn/22.0"])
def test_some_servers_are_known_to_drop_twins(software: str) -> None:
    assert resolve(said(**{USER: "alice", "SERVER_SOFTWARE": software})) == Identity("alice")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"proxies": []}, "write proxies="),
        ({"proxies": "127.0.0.1"}, "write proxies="),
        ({"proxies": ["*"]}, "is not valid"),
        ({"proxies": ["0.0.0.0/0"]}, "but not all addresses"),
        ({"proxies": ["unix"], "user_header": ""}, "is not a header name"),
        ({"proxies": ["unix"], "user_header": "X-User:"}, "is not a header name"),
        ({"proxies": ["unix"], "user_header": "X_User"}, "is not a header name"),
        ({"proxies": ["unix"], "groups_header": "X Groups"}, "is not a header name"),
    ],
)
def test_bad_arguments_are_refused_at_the_start(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        ProxyHeaderResolver(**arguments)


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_whatever_stands_there_is_one_name_or_nobody(user: str, groups: str) -> None:
    try:
        identity = resolve(said(**{USER: user, GROUPS: groups}))
    except (PermissionDenied, UnicodeDecodeError):
        return
    if identity:
        assert identity.user == user.encode("latin-1").decode().strip()
        assert "," not in identity.user
        assert all(group == group.strip() for group in identity.groups)
