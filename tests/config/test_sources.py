"""Where options come from: `configure`, else the framework, else the environment."""

from __future__ import annotations

import pytest

from wsredis.config import Config, configure, configure_from, current_config
from wsredis.exceptions import ConfigurationError

pytestmark = pytest.mark.usefixtures("nothing_is_configured")


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
