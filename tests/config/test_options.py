from __future__ import annotations

import dataclasses
import resource
from typing import Any

import pytest

from wsredis.config import Config, configure, configure_from, current_config
from wsredis.config.validation import _CHECKS
from wsredis.exceptions import ConfigurationError

pytestmark = pytest.mark.usefixtures("nothing_is_configured")

SENSIBLE: list[tuple[str, Any]] = [
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
    ("expire", 0),
    ("expire", 3600),
    ("heartbeat", "--heartbeat--"),
    ("heartbeat_interval", 0.5),
    ("origins", ["https://example.com", "http://localhost:3000", "http://[::1]:8000"]),
    ("origins", ["*"]),
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
]

SENSELESS: list[tuple[str, Any]] = [
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
    ("expire", -1),
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
    ("origins", ["null"]),
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
    ("redis_deadline", None),
]


@pytest.mark.parametrize(("name", "value"), SENSIBLE)
def test_a_sensible_value_is_taken(name: str, value: Any) -> None:
    taken = getattr(Config.make(**{name: value}), name)
    assert taken == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(("name", "value"), SENSELESS)
def test_a_senseless_value_is_refused_with_what_to_write(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name}=.* is not valid: write .+\.$"):
        Config.make(**{name: value})


def test_every_option_has_a_sensible_default_and_a_check() -> None:
    names = {field.name for field in dataclasses.fields(Config)}
    assert names == set(_CHECKS)
    assert Config() == Config.make()


def test_the_defaults_are_safe() -> None:
    config = Config()
    assert config.origins is None
    assert config.max_message_size == config.max_send_buffer == 2**20
    assert config.expire == 0


def test_an_error_of_an_option_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="expire"):
        Config(expire=-1)


@pytest.mark.parametrize(
    "where",
    [
        "redis://alice:secret@localhost:99999/0",
        "redis://:sec@ret@localhost:99999",
        "http://:secret@localhost",
        {"password": "secret", 1: 2},
    ],
)
def test_an_error_never_shows_the_password(where: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Config(redis=where)
    assert "secret" not in str(refused.value)
    assert "sec@ret" not in str(refused.value)
    assert "***" in str(refused.value)


def test_an_unknown_option_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"no option 'orgins': did you mean 'origins'\?"):
        Config.make(orgins=["*"])


def test_an_option_like_no_other_is_refused_with_all_there_are() -> None:
    with pytest.raises(ConfigurationError, match="known are prefix, redis, key_prefix"):
        Config.make(zzz=1)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().expire = 5  # type: ignore[misc]


def test_options_are_laid_over_a_base_and_leave_it_as_it_is() -> None:
    base = Config(expire=60, key_prefix="site")
    made = Config.make(base, expire=5)
    assert (made.expire, made.key_prefix, base.expire) == (5, "site", 60)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PREFIX", "/live/", "/live/"),
        ("REDIS", "redis://redis.example/1", "redis://redis.example/1"),
        ("EXPIRE", "60", 60),
        ("HEARTBEAT", "beat", "beat"),
        ("HEARTBEAT_INTERVAL", "2.5", 2.5),
        ("ORIGINS", "https://a.example, https://b.example", ("https://a.example", "https://b.example")),
        ("SUBPROTOCOLS", "chat.v1 chat.v2", ("chat.v1", "chat.v2")),
        ("MAX_CONNECTIONS", "100", 100),
        ("COMPRESSION", "no", False),
        ("COMPRESSION", "TRUE", True),
        ("BINARY", "0", False),
        ("BINARY", "", False),
        ("PING_INTERVAL", "30", 30.0),
    ],
)  # fmt: skip
def test_an_option_comes_from_the_environment(
    name: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"WSREDIS_{name}", text)
    assert getattr(Config.make(), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("EXPIRE", "soon"), ("COMPRESSION", "perhaps"), ("PING_INTERVAL", "25s"), ("BINARY", "2")],
)
def test_an_unreadable_variable_is_refused_by_its_name(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"WSREDIS_{name}", text)
    with pytest.raises(ConfigurationError, match=rf"^WSREDIS_{name}='{text}' .*: write "):
        Config.make()


def test_a_senseless_variable_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSREDIS_EXPIRE", "-1")
    with pytest.raises(ConfigurationError, match="expire=-1"):
        Config.make()


def test_what_the_caller_says_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSREDIS_EXPIRE", "60")
    monkeypatch.setenv("WSREDIS_KEY_PREFIX", "site")
    made = Config.make(expire=5)
    assert (made.expire, made.key_prefix) == (5, "site")


def test_a_given_config_does_not_ask_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Config()
    monkeypatch.setenv("WSREDIS_EXPIRE", "60")
    assert Config.make(base).expire == 0
    assert Config().expire == 0


def test_the_environment_is_read_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert current_config().expire == 0
    monkeypatch.setenv("WSREDIS_EXPIRE", "60")
    assert current_config().expire == 60


def test_what_is_configured_holds_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSREDIS_EXPIRE", "60")
    monkeypatch.setenv("WSREDIS_KEY_PREFIX", "site")
    made = configure(expire=5)
    assert current_config() is made
    assert (made.expire, made.key_prefix) == (5, "site")


def test_a_whole_config_can_be_configured() -> None:
    assert configure(Config(expire=5), key_prefix="site") == Config(expire=5, key_prefix="site")


def test_a_refused_configuration_changes_nothing() -> None:
    before = configure(expire=5)
    with pytest.raises(ConfigurationError):
        configure(expire=-5)
    assert current_config() is before


def test_a_frameworks_settings_are_asked_each_time_and_give_way_to_what_is_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WSREDIS_EXPIRE", "60")
    seconds = iter([1, 2])
    configure_from(lambda: Config(expire=next(seconds)))
    assert (current_config().expire, current_config().expire) == (1, 2)
    made = configure(expire=5)
    assert current_config() is made


def test_without_a_limit_the_descriptors_of_the_process_are_the_limit() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert Config().connection_limit() == max(16, soft - 128)
    assert Config(max_connections=7).connection_limit() == 7


def test_few_descriptors_still_leave_some_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 64))
    assert Config().connection_limit() == 16


def test_a_config_does_not_show_the_password_of_redis() -> None:
    assert "hush" not in repr(Config(redis="redis://:hush@127.0.0.1"))


def test_neither_a_config_nor_an_error_shows_the_secret() -> None:
    assert "hush" not in repr(Config(secret="hush" * 8))
    with pytest.raises(ConfigurationError) as error:
        Config(secret="hush")
    assert "hush" not in str(error.value)
