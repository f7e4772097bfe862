"""The validation of each option: valid values, and the errors for others."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from wsredis.config import Config
from wsredis.config.validation import _CHECKS, is_valid
from wsredis.exceptions import ConfigurationError

pytestmark = pytest.mark.usefixtures("nothing_is_configured")

VALID: list[tuple[str, Any]] = [
    ("prefix", "/"),
    ("prefix", "/live/ws/"),
    ("redis", "redis://:secret@redis.example:6380/3"),
    ("redis", "rediss://redis.example"),
    ("redis", "redis://[::1]:6379/0"),
    ("redis", "unix:///run/redis.sock?db=2"),
    ("redis", "memory://"),
    ("redis", "memory://tests"),
    ("redis", {"host": "localhost", "port": 6379}),
    ("key_prefix", ""),
    ("key_prefix", "my.site-1"),
    ("key_prefix", "users"),
    ("expire", 0),
    ("expire", 3600),
    ("expire", 2**31 - 1),
    ("heartbeat", "--heartbeat--"),
    ("heartbeat_interval", 0.5),
    ("origins", ["https://example.com", "http://localhost:3000", "http://[::1]:8000"]),
    ("origins", ["*"]),
    ("origins", ["null", "file://", "capacitor://localhost", "ionic://localhost"]),
    ("origins", ["tauri://localhost", "chrome-extension://abcdefghijklmnop", "app://my.App:8080"]),
    ("origins", []),
    ("trusted_proxies", []),
    ("trusted_proxies", ["unix", "127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"]),
    ("subprotocols", ["chat.v1", "chat.v2"]),
    ("subprotocols", ["*"]),
    ("envelope", False),
    ("max_message_size", 1),
    ("max_connections", 10),
    ("ping_interval", 60),
    ("pong_timeout", 25.0),
    ("compression", False),
    ("secret", "0123456789abcdef0123456789abcdef"),
    ("redis_deadline", 1),
    ("publish_timeout", 0.5),
]

INVALID: list[tuple[str, Any]] = [
    ("prefix", ""),
    ("prefix", "ws/"),
    ("prefix", "/ws"),
    ("prefix", "/ws//"),
    ("prefix", "/ws\n/"),
    ("prefix", "/größe/"),
    ("prefix", None),
    ("redis", ""),
    ("redis", "localhost:6379"),
    ("redis", "http://localhost"),
    ("redis", "redis://"),
    ("redis", "redis://localhost:99999"),
    ("redis", "redis://localhost:port"),
    ("redis", "unix://"),
    ("redis", None),
    ("redis", {1: 2}),
    ("key_prefix", "a:b"),
    ("key_prefix", "a b"),
    ("key_prefix", "a\xa0b"),
    ("key_prefix", "a*"),
    ("key_prefix", "100%"),
    ("key_prefix", None),
    ("key_prefix", b"ws"),
    *(("key_prefix", word) for word in ("broadcast", "user", "group", "session")),
    *(("key_prefix", word) for word in ("ticket", "wsredis")),
    ("expire", -1),
    ("expire", 2**31),
    ("expire", 1.5),
    ("expire", True),
    ("expire", None),
    ("expire", "60"),
    ("heartbeat", ""),
    ("heartbeat", b"beat"),
    ("heartbeat", "\ud800"),
    ("heartbeat_interval", 0),
    ("heartbeat_interval", "4"),
    ("origins", "https://example.com"),
    ("origins", 5),
    ("origins", [5]),
    ("origins", [None]),
    ("origins", ["example.com"]),
    ("origins", ["https://example.com/"]),
    ("origins", ["https://example.com/path"]),
    ("origins", ["https://example.com?"]),
    ("origins", ["https://*.example.com"]),
    ("origins", ["https://alice@example.com"]),
    ("origins", ["https://example.com,https://example.org"]),
    ("origins", ["https://exämple.com"]),
    ("origins", ["https://example.com:0"]),
    ("origins", ["ftp://example.com"]),
    ("origins", ["ws://example.com"]),
    ("origins", ["wss://example.com"]),
    ("origins", ["NULL"]),
    ("origins", ["file:"]),
    ("origins", ["file:///"]),
    ("origins", ["capacitor:localhost"]),
    ("origins", ["capacitor://"]),
    ("origins", ["capacitor://localhost/"]),
    ("origins", ["Capacitor://localhost"]),
    ("origins", ["chrome-extension://*"]),
    ("origins", ["*://localhost"]),
    ("origins", ["*.example.com"]),
    ("origins", ["//localhost"]),
    ("origins", [""]),
    ("trusted_proxies", "127.0.0.1"),
    ("trusted_proxies", None),
    ("trusted_proxies", ["*"]),
    ("trusted_proxies", ["nginx.example"]),
    ("trusted_proxies", ["127.0.0.1:8000"]),
    ("trusted_proxies", ["10.0.0.1/8"]),
    ("trusted_proxies", ["0.0.0.0/0"]),
    ("trusted_proxies", ["::/0"]),
    ("trusted_proxies", ["/run/nginx.sock"]),
    ("trusted_proxies", [""]),
    ("trusted_proxies", [2130706433]),
    ("subprotocols", "chat"),
    ("subprotocols", None),
    ("subprotocols", ["two words"]),
    ("subprotocols", ["chat\r\nX-Evil: 1"]),
    ("subprotocols", [""]),
    ("subprotocols", [1]),
    ("max_message_size", 0),
    ("max_fragments", 0),
    ("max_send_buffer", 0),
    ("envelope", None),
    ("binary", 1),
    ("binary", None),
    ("ping_interval", 0),
    ("ping_interval", float("nan")),
    ("ping_interval", float("inf")),
    ("ping_interval", 10**400),
    ("ping_interval", True),
    ("pong_timeout", 25.1),
    ("pong_timeout", 0),
    ("close_timeout", -1),
    ("max_connections", 0),
    ("max_connections", 1.0),
    ("compression", "yes"),
    ("secret", "too short"),
    ("secret", b"0123456789abcdef0123456789abcdef"),
    ("redis_deadline", 0),
    ("publish_timeout", 0),
    ("publish_timeout", None),
    ("redis_deadline", None),
]


@pytest.mark.parametrize(("name", "value"), VALID)
def test_a_valid_value_is_taken(name: str, value: Any) -> None:
    taken = getattr(Config.make(**{name: value}), name)
    assert taken == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(("name", "value"), INVALID)
def test_an_invalid_value_is_refused_with_a_correction(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name}=.* is not valid: write .+\.$"):
        Config.make(**{name: value})


def test_every_option_has_a_valid_default_and_a_check() -> None:
    names = {field.name for field in dataclasses.fields(Config)}
    assert names == set(_CHECKS)
    assert Config() == Config.make()


def test_a_value_may_depend_on_the_others() -> None:
    config = Config(ping_interval=5, pong_timeout=5)
    assert is_valid("pong_timeout", config, 5)
    assert not is_valid("pong_timeout", config, 5.1)
    assert is_valid("pong_timeout", Config(), 5.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ping_interval", 10**400), ("prefix", ""), ("origins", [5]), ("redis", "redis://[")],
)
def test_a_value_that_cannot_even_be_checked_is_not_valid(name: str, value: Any) -> None:
    assert is_valid(name, Config(), value) is False
