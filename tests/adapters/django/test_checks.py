"""The messages of ``manage.py check``, and that a valid site has none."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import override_settings

from wsredis.adapters.django import DjangoWebSocketMiddleware
from wsredis.adapters.django import checks as ours

from .support import Site, found, only


def test_a_good_site_gets_no_word(site: Site) -> None:
    assert found(deploy=True) == {}


def test_checks_are_registered_once() -> None:
    with override_settings(INSTALLED_APPS=["wsredis.adapters.django", "django.contrib.sessions"]):
        assert set(found()) == {"wsredis.W004"}


@pytest.mark.parametrize(
    ("options", "problem", "hint"),
    [
        (
            {"prefix": "ws"},
            "WSREDIS['prefix'] = 'ws' is not valid",
            "Write an ASCII path that begins and",
        ),
        ({"prefixx": "/ws/"}, "has no option 'prefixx'", "Did you mean 'prefix'?"),
        (
            {"origins": ["example.com"]},
            "WSREDIS['origins'] = ",
            "Write origins in full, without wildcards, like ['https://example.com'",
        ),
        ({"redis": "localhost"}, "WSREDIS['redis'] = 'localhost' is not valid", "Write a URL like"),
        ({"expire": None}, "WSREDIS['expire'] = None is not valid", "Write whole seconds"),
    ],
)
def test_e001_an_option_that_makes_no_sense(
    site: Site, options: dict[str, Any], problem: str, hint: str
) -> None:
    site(options)
    error = only("wsredis.E001")
    assert error.is_serious()
    assert problem in error.msg
    assert error.hint.startswith(hint)


def test_e001_a_setting_that_is_no_dict() -> None:
    with override_settings(WSREDIS=["redis"]):
        assert "must be a dict of options" in only("wsredis.E001").msg


@pytest.mark.parametrize("name", ["identity", "allowed_channels", "endpoint"])
@pytest.mark.parametrize("value", ["chatsite.channels.membres", "nowhere.x", "x", 5])
def test_e002_a_callback_that_cannot_be_imported(site: Site, name: str, value: Any) -> None:
    site({name: value})
    error = only("wsredis.E002")
    assert name in error.msg
    assert error.hint.startswith("Write")


@pytest.mark.parametrize("name", ["DjangoWebSocketMiddleware", "get_websocket_application"])
def test_e003_the_wrapper_in_middleware(name: str) -> None:
    name = f"wsredis.adapters.django.{name}"
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, name]):
        assert "wsgi.py" in only("wsredis.E003").hint


def test_e004_redis_unavailable(site: Site) -> None:
    site({"redis": "redis://127.0.0.1:1"})
    assert found() == {}
    msg = found(deploy=True)["wsredis.E004"].msg
    assert msg.startswith("Redis at 127.0.0.1:1: Error ")
    assert msg.endswith("refused.")


def test_w001_every_origin(site: Site) -> None:
    site({"origins": ["*"]})
    only("wsredis.W001")


def test_w002_anonymous_publishing(site: Site) -> None:
    site({"allowed_channels": "chatsite.channels.publish_to_all"})
    assert "(publish-broadcast)" in only("wsredis.W002").msg


def test_w003_all_channels_open(site: Site) -> None:
    site({"allowed_channels": "chatsite.channels.everything"})
    only("wsredis.W003")


@pytest.mark.parametrize("name", ["misspelt", "none", "refused", "missing"])
def test_a_callback_that_fails_for_visitors_is_no_finding(site: Site, name: str) -> None:
    site({"allowed_channels": f"chatsite.channels.{name}"})
    assert found() == {}


@pytest.mark.parametrize(
    ("changed", "lacks"),
    [
        ({"MIDDLEWARE": []}, "no SessionMiddleware in MIDDLEWARE, no AuthenticationMiddleware"),
        ({"MIDDLEWARE": ["no.such.Middleware"]}, "no SessionMiddleware in MIDDLEWARE"),
        ({"INSTALLED_APPS": ["wsredis.adapters.django"]}, "no 'django.contrib.sessions' in INST"),
    ],
)
def test_w004_nobody_can_be_known(site: Site, changed: dict[str, Any], lacks: str) -> None:
    site({}, **changed)
    assert lacks in only("wsredis.W004").msg
    site({"identity": "chatsite.channels.token"})
    assert found() == {}


@pytest.mark.parametrize(
    ("driver", "warned"),
    [
        ("psycopg2", True),
        ("psycopg2 with psycogreen", False),
        ("psycopg", False),
        ("MySQLdb", True),
        ("pymysql", False),
        ("oracledb", True),
    ],
)
@pytest.mark.parametrize("patched", [False, True])
def test_w005_a_driver_that_blocks_greenlets(
    site: Site, monkeypatch: pytest.MonkeyPatch, driver: str, warned: bool, patched: bool
) -> None:
    name, _, green = driver.partition(" with ")
    extensions: Any = ModuleType("psycopg2.extensions")
    extensions.get_wait_callback = lambda: green or None
    monkeypatch.setitem(sys.modules, "psycopg2", ModuleType("psycopg2"))
    monkeypatch.setitem(sys.modules, "psycopg2.extensions", extensions)
    monkeypatch.setattr(connections["default"], "Database", ModuleType(name))
    monkeypatch.setattr("gevent.monkey.is_anything_patched", lambda: patched)
    assert set(found()) == ({"wsredis.W005"} if warned and patched else set())
    assert set(found(deploy=True)) == ({"wsredis.W005"} if warned else set())
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache"):
        assert found(deploy=True) == {}


def test_w006_a_wsgi_application_without_websockets(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DjangoWebSocketMiddleware, "made", False)
    site({}, WSGI_APPLICATION="chatsite.plain_wsgi.application")
    assert "runserver" in only("wsredis.W006", deploy=True).msg
    site({}, WSGI_APPLICATION="chatsite.nowhere.application")
    assert "cannot be loaded" in found(deploy=True)["wsredis.W006"].msg
    site({}, WSGI_APPLICATION="chatsite.plain_wsgi.of_nobody")
    assert "uses neither Django's users" in found(deploy=True)["wsredis.W006"].msg
    site({}, WSGI_APPLICATION="chatsite.plain_wsgi.of_remote_users")
    assert found(deploy=True) == {}


@pytest.mark.parametrize(
    ("command", "looks"),
    [
        (["runserver", "8000"], True),
        (["check"], True),
        (["check", "--deploy"], False),  # which has the check already
        (["migrate"], False),
        ([], False),
    ],
)
def test_w006_comes_where_the_application_is_used_or_checked(
    site: Site, monkeypatch: pytest.MonkeyPatch, command: list[str], looks: bool
) -> None:
    monkeypatch.setattr(DjangoWebSocketMiddleware, "made", False)
    monkeypatch.setattr(sys, "argv", ["manage.py", *command])
    site({}, WSGI_APPLICATION="chatsite.plain_wsgi.application")
    assert set(found()) == ({"wsredis.W006"} if looks else set())


def test_w006_a_wsgi_module_that_raises(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DjangoWebSocketMiddleware, "made", False)
    site({}, WSGI_APPLICATION="chatsite.broken_wsgi.application")
    assert "raises KeyError." in found(deploy=True)["wsredis.W006"].msg


def test_w006_the_wrapper_may_be_wrapped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DjangoWebSocketMiddleware, "made", True)
    site({}, WSGI_APPLICATION="chatsite.plain_wsgi.application")
    assert found(deploy=True) == {}
    monkeypatch.setattr(DjangoWebSocketMiddleware, "made", False)
    site({}, WSGI_APPLICATION="wsredis.adapters.django.wsgi.application")
    assert found(deploy=True) == {}


def test_w007_a_broker_inside_the_process(site: Site) -> None:
    site({"redis": "memory://"})
    only("wsredis.W007", deploy=True)


def test_w008_a_database_number_does_not_separate_sites(site: Site) -> None:
    site({"redis": "redis://127.0.0.1/2"})
    assert "which is 2" in only("wsredis.W008").msg
    site({"redis": "redis://127.0.0.1/2", "key_prefix": "shop"})
    assert found() == {}
    site({"redis": {"no_such_argument": 5}})
    assert found() == {}
    site({"key_prefix": "user"})
    assert "WSREDIS['key_prefix'] = 'user' is not valid" in only("wsredis.E001").msg


def test_every_id_is_in_the_list() -> None:
    source = ours.__doc__ or ""
    errors, warnings = range(1, 5), range(1, 14)
    for identifier in (*(f"E{n:03}" for n in errors), *(f"W{n:03}" for n in warnings)):
        assert f"wsredis.{identifier}" in source
