"""The options: their defaults, the environment, and the values that an error may show."""

from __future__ import annotations

import dataclasses
import resource
from typing import Any

import pytest

from wsredis.config import Config
from wsredis.exceptions import ConfigurationError

pytestmark = pytest.mark.usefixtures("nothing_is_configured")


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


def test_an_unknown_option_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigurationError, match=r"no option 'orgins': did you mean 'origins'\?"):
        Config.make(orgins=["*"])


def test_an_option_like_no_other_is_refused_with_all_there_are() -> None:
    with pytest.raises(ConfigurationError, match="write one of prefix, redis, key_prefix"):
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
def test_an_invalid_variable_is_refused_by_its_name(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"WSREDIS_{name}", text)
    with pytest.raises(ConfigurationError, match=rf"^WSREDIS_{name}='{text}' .*: write "):
        Config.make()


def test_an_invalid_variable_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
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
