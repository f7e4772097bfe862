"""The system checks of ASGI applications and channel layers."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from django.conf import settings
from django.db import connections

from wsredis.adapters.django import DjangoWebSocketMiddleware

from .support import Site, found, only

ASGI = {"asgi": "chatsite.asgi.application"}
ROUTES: dict[str, Any] = {"routes": []}
USES = pytest.mark.parametrize("use", [ASGI, ROUTES], ids=["asgi", "routes"])
MEMORY = ["channels.layers.InMemoryChannelLayer", "wsredis.layers.InMemoryChannelLayer"]
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
GOOD = "wsredis.layers.RedisChannelLayer"


def layers(*paths: Any) -> dict[str, Any]:
    return {f"layer{number}": {"BACKEND": path} for number, path in enumerate(paths)}


def test_a_good_site_has_no_warning(site: Site) -> None:
    site(ASGI, ASGI_APPLICATION="chatsite.asgi.application", CHANNEL_LAYERS=layers(GOOD))
    assert found(deploy=True) == {}


@pytest.mark.parametrize("path", ["chatsite.asgi.application", "chatsite.asgi:application"])
def test_w010_websockets_that_are_not_hosted(site: Site, path: str) -> None:
    site({}, ASGI_APPLICATION=path)
    assert found() == {}
    warning = only("wsredis.W010", deploy=True)
    assert warning.hint.startswith(f"Write WSREDIS['asgi'] = {path!r}.")
    site({"asgi": path}, ASGI_APPLICATION=path)
    assert found(deploy=True) == {}


@pytest.mark.parametrize(
    ("application", "apps", "warned"),
    [
        ("chatsite.asgi.only_pages", ["channels"], False),
        ("chatsite.asgi.pages", ["channels"], False),
        ("chatsite.asgi.wrapper", [], False),
        ("chatsite.asgi.wrapper", ["channels"], True),
        ("chatsite.no_such_module.application", ["channels"], False),
        ("chatsite.broken_wsgi.application", ["channels"], False),
        ("chatsite.exits.application", ["channels"], False),
        (None, ["channels"], False),
    ],
)
def test_w010_is_about_websockets_only(
    site: Site, application: str | None, apps: list[str], warned: bool
) -> None:
    site({}, ASGI_APPLICATION=application, INSTALLED_APPS=[*settings.INSTALLED_APPS, *apps])
    assert set(found(deploy=True)) == ({"wsredis.W010"} if warned else set())


@pytest.mark.parametrize(
    ("command", "looks"),
    [(["runserver"], True), (["check"], True), (["migrate"], False)],
)
def test_asgi_applications_are_imported_where_they_are_served_or_checked(
    site: Site, monkeypatch: pytest.MonkeyPatch, command: list[str], looks: bool
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", *command])
    site({}, ASGI_APPLICATION="chatsite.asgi.application")
    assert set(found()) == ({"wsredis.W010"} if looks else set())
    site({"asgi": "chatsite.asgi.no_such_name"})
    assert set(found()) == ({"wsredis.E002"} if looks else set())


@pytest.mark.parametrize(
    ("asgi", "says"),
    [
        ("chatsite.asgi.no_such_name", "cannot be imported (AttributeError"),
        ("chatsite.broken_wsgi.application", "cannot be imported (KeyError"),
        ("chatsite.plain_wsgi.application", "takes 2 arguments, like a WSGI application"),
    ],
)
def test_e002_an_asgi_application_that_cannot_be_used(site: Site, asgi: str, says: str) -> None:
    site({"asgi": asgi})
    error = only("wsredis.E002", deploy=True)
    assert error.msg.startswith("WSREDIS['asgi'] = ")
    assert says in error.msg
    assert error.hint.startswith("Write an ASGI 3 application")


def test_e002_what_is_no_path_is_found_without_an_import(site: Site) -> None:
    site({"asgi": "mysite/asgi.py"})
    assert "WSREDIS['asgi'] = 'mysite/asgi.py' is not a path" in only("wsredis.E002").msg


@pytest.mark.parametrize(
    ("routes", "says"),
    [
        ("chatsite.asgi.no_such_name", "cannot be imported (AttributeError"),
        ("chatsite.broken_wsgi.application", "cannot be imported (KeyError"),
        ("chatsite.asgi.wrapper", "is not valid"),
    ],
)
def test_e002_routes_that_cannot_be_used(site: Site, routes: str, says: str) -> None:
    site({"routes": routes})
    assert found() == {}
    error = only("wsredis.E002", deploy=True)
    assert error.msg.startswith("WSREDIS['routes'] = ")
    assert says in error.msg
    assert error.hint.startswith("Write a list such as")


def test_websockets_of_routes_may_also_be_those_of_an_asgi_server(site: Site) -> None:
    site(ROUTES, ASGI_APPLICATION="chatsite.asgi.application")
    assert found(deploy=True) == {}


@USES
@pytest.mark.parametrize("path", MEMORY)
def test_w011_layers_inside_the_process(site: Site, path: str, use: Any) -> None:
    site(use, CHANNEL_LAYERS=layers(GOOD, path))
    assert found() == {}
    assert "CHANNEL_LAYERS['layer1']" in only("wsredis.W011", deploy=True).msg
    site({}, CHANNEL_LAYERS=layers(path))
    assert found(deploy=True) == {}


@pytest.mark.parametrize(
    ("paths", "processes", "use", "warned"),
    [
        ([GOOD, MEMORY[0]], True, ASGI, True),
        ([GOOD, MEMORY[0]], True, ROUTES, True),
        ([GOOD, MEMORY[0]], False, ASGI, False),
        ([GOOD, MEMORY[0]], True, {}, False),
        ([GOOD], True, ASGI, False),
    ],
)
def test_layers_inside_one_of_several_processes_are_warned_of_once(
    site: Site,
    caplog: pytest.LogCaptureFixture,
    paths: list[str],
    processes: bool,
    use: Any,
    warned: bool,
) -> None:
    site(use, CHANNEL_LAYERS=layers(*paths))
    application = DjangoWebSocketMiddleware(None)
    for _ in range(2):
        environ: dict[str, Any] = {"PATH_INFO": "/ws/x", "wsgi.multiprocess": processes}
        setup_testing_defaults(environ)
        application(environ, lambda status, headers: None)
    lines = [line for line in caplog.messages if line.startswith("CHANNEL_LAYERS['layer1'] is in")]
    assert len(lines) == warned


@pytest.mark.parametrize(
    ("name", "warned"), [("careless", True), ("validator", True), ("careful", False)]
)
def test_w012_a_validator_of_every_origin(site: Site, name: str, warned: bool) -> None:
    site({"asgi": f"chatsite.asgi.{name}"})
    assert found() == {}
    assert set(found(deploy=True)) == ({"wsredis.W012"} if warned else set())


@USES
def test_w013_layers_that_lose_messages_in_silence(site: Site, use: Any) -> None:
    site(use, CHANNEL_LAYERS=layers(PUBSUB, GOOD))
    assert "CHANNEL_LAYERS['layer0']" in only("wsredis.W013").msg
    site({}, CHANNEL_LAYERS=layers(PUBSUB))
    assert found() == {}


@pytest.mark.parametrize("setting", [None, [], {"default": {}}, {"default": None}, layers(5)])
def test_layers_that_channels_refuses_are_its_own_matter(site: Site, setting: Any) -> None:
    site(ASGI, CHANNEL_LAYERS=setting)
    assert found(deploy=True) == {}


def test_w005_handlers_may_use_a_database(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = "django.contrib.sessions.backends.cache"
    monkeypatch.setattr(connections["default"], "Database", ModuleType("MySQLdb"))
    site({}, SESSION_ENGINE=cache)
    assert found(deploy=True) == {}
    site(ASGI, SESSION_ENGINE=cache)
    warning = only("wsredis.W005", deploy=True)
    assert warning.msg.startswith("The ASGI application may use a database, and while mysqlclient")
    assert "sessions" not in warning.hint
    site(ROUTES, SESSION_ENGINE=cache)
    assert only("wsredis.W005", deploy=True).msg.startswith("Consumers may use a database")


def test_invalid_options_are_found_once(site: Site) -> None:
    site({**ASGI, "prefix": "ws"}, CHANNEL_LAYERS=layers(PUBSUB, MEMORY[0]))
    assert set(found(deploy=True)) == {"wsredis.E001"}
