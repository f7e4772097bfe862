"""The settings: their defaults, when they are read, and errors for invalid ones."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from unittest import mock

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from ws4redis import settings
from ws4redis.configuration import callback, current_config, subscriber_class
from ws4redis.connection import client
from ws4redis.publisher import RedisPublisher
from ws4redis.wsgi_server import WebsocketWSGIServer

from wsredis.adapters.django.sessions import watch_sessions
from wsredis.exceptions import ConfigurationError


def test_every_setting_has_the_default_of_the_manual() -> None:
    with override_settings():
        del django_settings.WS4REDIS_CONNECTION
        assert settings.WS4REDIS_CONNECTION == {
            "host": "localhost",
            "port": 6379,
            "db": 0,
            "password": None,
        }
    assert settings.WEBSOCKET_URL == "/ws/"
    assert settings.WS4REDIS_PREFIX is None
    assert settings.WS4REDIS_EXPIRE == 3600
    assert settings.WS4REDIS_SUBSCRIBER == "ws4redis.subscriber.RedisSubscriber"
    assert settings.WS4REDIS_HEARTBEAT is None
    assert settings.WS4REDIS_ALLOWED_CHANNELS is None
    assert settings.WS4REDIS_PROCESS_REQUEST is None
    assert set(settings.DEFAULTS) <= set(dir(settings))


def test_settings_are_read_when_they_are_used() -> None:
    with override_settings(WS4REDIS_EXPIRE=7, WS4REDIS_PREFIX="demo"):
        assert settings.WS4REDIS_EXPIRE == current_config().expire == 7
        assert RedisPublisher(facility="x", broadcast=True)._publishers == {"demo:broadcast:x"}
    assert current_config().expire == 3600


@pytest.mark.parametrize("watch", [True, False])
def test_the_session_engine_is_replaced_unless_wsredis_says_otherwise(
    watch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(django_settings, "SESSION_ENGINE", django_settings.SESSION_ENGINE)
    with override_settings(WSREDIS={"watch_sessions": watch, "max_message_size": 7}):
        watch_sessions()  # as the application does when Django loads it
        assert current_config().max_message_size == 7
        replaced = django_settings.SESSION_ENGINE == "wsredis.adapters.django.sessions"
        assert replaced == watch


def test_what_is_assigned_to_the_module_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "WS4REDIS_HEARTBEAT", "--heartbeat--")
        assert current_config().heartbeat == "--heartbeat--"
    with override_settings(WS4REDIS_HEARTBEAT="beat"):
        assert settings.WS4REDIS_HEARTBEAT == "beat"
    with mock.patch.object(settings, "WS4REDIS_PREFIX", "demo"):
        assert RedisPublisher.get_prefix() == "demo:"
    with mock.patch.object(settings, "WS4REDIS_EXPIRE", 3600):  # what it is anyway
        assert current_config().expire == 3600
    with mock.patch.object(settings, "WS4REDIS_EXPIRE", 7), override_settings(WS4REDIS_EXPIRE=7):
        assert current_config().expire == 7
    settings.WS4REDIS_EXPIRE = 5
    assert current_config().expire == 5
    del settings.WS4REDIS_EXPIRE
    assert current_config().expire == 3600


def test_an_unknown_attribute_is_none_of_ours() -> None:
    with pytest.raises(AttributeError, match="WS4REDIS_HEARTBEET"):
        _ = settings.WS4REDIS_HEARTBEET


@pytest.mark.parametrize("expire", [0, None, -1])
def test_an_expire_of_zero_or_none_keeps_nothing(expire: int | None) -> None:
    with override_settings(WS4REDIS_EXPIRE=expire):
        assert current_config().expire == 0


def test_an_expire_of_another_type_says_what_to_write() -> None:
    with (
        override_settings(WS4REDIS_EXPIRE="7200"),
        pytest.raises(
            ConfigurationError, match=r"WS4REDIS_EXPIRE = '7200' is not valid: write whole"
        ),
    ):
        current_config()


def test_an_error_in_the_environment_is_not_one_of_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WSREDIS_OVERFLOW", "drop")
    with pytest.raises(ConfigurationError, match=r"^WSREDIS_OVERFLOW='drop' is not valid: write"):
        current_config()


@pytest.mark.parametrize(
    ("said", "kind", "kept"),
    [
        ({"unix_socket_path": "/run/redis.sock", "db": 3}, "UnixDomainSocketConnection", 3),
        ({"host": "redis.example", "ssl": True, "socket_timeout": 2}, "SSLConnection", 0),
        (
            {"host": "redis.example", "password": "secret", "decode_responses": True},
            "Connection",
            0,
        ),
    ],
)
def test_the_connection_takes_any_argument_of_redis_py(
    said: dict[str, Any], kind: str, kept: int
) -> None:
    with override_settings(WS4REDIS_CONNECTION=said):
        connection = RedisPublisher()._connection.connection_pool.make_connection()
        assert type(connection).__name__ == kind
        assert connection.db == kept
        assert current_config().redis == {**said, "decode_responses": False}


def test_publishers_of_one_setting_share_a_client() -> None:
    assert RedisPublisher()._connection is RedisPublisher()._connection is client()


@pytest.mark.parametrize("name", ["WS4REDIS_ALLOWED_CHANNELS", "WS4REDIS_PROCESS_REQUEST"])
@pytest.mark.parametrize("path", ["no.such.module", "ws4redis.names.no_such_name", "plain", 17])
def test_a_callback_that_cannot_be_had_fails_at_the_start(name: str, path: Any) -> None:
    with override_settings(**{name: path}), pytest.raises(ImproperlyConfigured, match=name):
        WebsocketWSGIServer()


@pytest.mark.parametrize("path", ["no.such.Subscriber", "ws4redis.names.channel", None])
def test_a_subscriber_that_cannot_be_had_fails_at_the_start(path: Any) -> None:
    with (
        override_settings(WS4REDIS_SUBSCRIBER=path),
        pytest.raises(ImproperlyConfigured, match="WS4REDIS_SUBSCRIBER"),
    ):
        WebsocketWSGIServer()


def test_callbacks_may_be_functions_and_subscribers_classes() -> None:
    class Subscriber:
        pass

    with override_settings(WS4REDIS_ALLOWED_CHANNELS=len, WS4REDIS_SUBSCRIBER=Subscriber):
        assert callback("WS4REDIS_ALLOWED_CHANNELS") is len
        assert subscriber_class() is Subscriber


def test_what_that_library_has_no_setting_for_comes_from_wsredis() -> None:
    more = {"origins": ["https://chat.example"], "max_message_size": 10, "redis": "redis://other"}
    with override_settings(WSREDIS=more):
        config = current_config()
    assert config.origins == ("https://chat.example",)
    assert config.max_message_size == 10
    assert isinstance(config.redis, dict)


def test_importing_everything_connects_to_nothing() -> None:
    program = """if True:
        import socket
        from django.conf import settings
        settings.configure(
            WS4REDIS_CONNECTION={"host": "127.0.0.1", "port": 1},
            INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
                            "django.contrib.sessions", "ws4redis"])
        socket.socket.connect = None
        from ws4redis import context_processors, django_runserver, exceptions, publisher
        from ws4redis import redis_store, subscriber, uwsgi_runserver, wsgi_server
        publisher.RedisPublisher(facility="x", broadcast=True)
        uwsgi_runserver.uWSGIWebsocketServer()
    """
    subprocess.run([sys.executable, "-P", "-c", program], check=True)
