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
    with pytest.raises(
        ConfigurationError, match="write one of prefix, asgi_prefix, redis, key_prefix"
    ):
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
        ("HEARTBEAT", "None", None),
        ("ORIGINS", "none", None),
        ("MAX_CONNECTIONS", "NONE", None),
        ("MAX_CONNECTIONS_PER_USER", "none", None),
        ("MAX_CONNECTIONS_PER_ADDRESS", "None", None),
        ("MAX_MESSAGES_PER_SECOND", "none", None),
        ("MAX_BYTES_PER_SECOND", "none", None),
        ("SECRET", "none", None),
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


def optional() -> list[str]:
    """Return the options that may be None, as their types say."""
    return [field.name for field in dataclasses.fields(Config) if "| None" in str(field.type)]


@pytest.mark.parametrize("name", optional())
def test_each_option_that_may_be_none_is_told_so_in_a_variable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"WSREDIS_{name.upper()}", "none")
    assert getattr(Config.make(), name) is None
    monkeypatch.setenv(f"WSREDIS_{name.upper()}", "")
    if name == "origins":  # an empty list, which allows no origin
        monkeypatch.setenv("WSREDIS_ORIGINS", "example.com")
    with pytest.raises(ConfigurationError, match="or none"):
        Config.make()


@pytest.mark.filterwarnings("ignore:.*MAX_OUTBOX:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("EXPIRE", "-1", "WSREDIS_EXPIRE='-1' is not valid: write whole seconds"),
        ("OVERFLOW", "drop", "WSREDIS_OVERFLOW='drop' is not valid: write 'close', 'drop-oldest'"),
        (
            "ORIGINS",
            "example.com",
            "WSREDIS_ORIGINS='example.com' is not valid: write origins in full, without wildcards,"
            " like 'https://example.com,capacitor://localhost', or '*' for every origin, or none"
            " for the same origin only.",
        ),
        (
            "TRUSTED_PROXIES",
            "nginx",
            "WSREDIS_TRUSTED_PROXIES='nginx' is not valid: write addresses and networks of your"
            " proxies like '127.0.0.1,10.0.0.0/8', and 'unix' for a proxy on a Unix socket.",
        ),
        (
            "SUBPROTOCOLS",
            "a/b",
            "WSREDIS_SUBPROTOCOLS='a/b' is not valid: write names like 'chat.v1,chat.v2' (RFC 6455,"
            " 1.9), or '*' for every name.",
        ),
        (
            "REDIS",
            "redis://:hush@",
            "WSREDIS_REDIS='redis://***@' is not valid: write a URL like"
            " 'redis://:password@host:6379/0', 'rediss://host', 'unix:///run/redis.sock' or"
            " 'memory://'.",
        ),
        ("SECRET", "hush", "WSREDIS_SECRET=*** is not valid: write at least 32 random characters"),
        ("PONG_TIMEOUT", "26", "WSREDIS_PONG_TIMEOUT='26' is not valid: write seconds above 0, at"),
        ("MAX_OUTBOX", "0", "WSREDIS_MAX_OUTBOX='0' is not valid: write bytes above 0."),
        ("PING_INTERVAL", "5", "pong_timeout=20.0 is not valid: write seconds above 0, at most"),
    ],
)
def test_an_invalid_variable_is_refused_by_its_name_and_in_its_form(
    name: str, text: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"WSREDIS_{name}", text)
    with pytest.raises(ConfigurationError) as refused:
        Config.make()
    assert str(refused.value).startswith(says)
    assert "hush" not in str(refused.value)


def test_an_argument_that_overrides_a_variable_is_refused_by_its_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WSREDIS_EXPIRE", "60")
    with pytest.raises(ConfigurationError, match=r"^expire=-1 is not valid: write whole") as error:
        Config.make(expire=-1)
    assert error.value.option == "expire"


def test_an_error_about_a_variable_is_not_one_about_an_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WSREDIS_EXPIRE", "-1")
    with pytest.raises(ConfigurationError) as error:
        Config.make()
    assert error.value.option is None


def test_a_short_secret_is_refused_in_two_sentences() -> None:
    with pytest.raises(ConfigurationError) as error:
        Config(secret="hush")
    assert str(error.value) == (
        "secret=*** is not valid: write at least 32 random characters, the same in all processes,"
        " or None. Generate them with python -c 'import secrets; print(secrets.token_hex())'."
    )


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


@pytest.mark.parametrize(
    "name",
    [
        "PORT",
        "SECRET_PORT",
        "SECRET_PORT_6379_TCP",
        "SECRET_PORT_6379_TCP_ADDR",
        "SECRET_SERVICE_HOST",
        "REDIS_PORT",
        "REDIS_SERVICE_PORT",
        "REDIS_SERVICE_PORT_HTTP",
        "PREFIX_PORT",
        "ORIGINS_PORT",
        "BINARY_PORT",
    ],
)
def test_variables_of_a_kubernetes_service_are_ignored(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Config.make()
    monkeypatch.setenv(f"WSREDIS_{name}", "tcp://10.0.0.1:6379")
    assert Config.make() == before
