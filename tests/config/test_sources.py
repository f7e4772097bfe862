"""Where options come from: `configure`, else the framework, else the first middleware of the
process, else the environment."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from wsredis import Publisher, WebSocketMiddleware, disconnect
from wsredis.config import (
    Config,
    claim,
    claimed_configs,
    configure,
    configure_from,
    current_config,
    release,
    sources,
)
from wsredis.exceptions import ConfigurationError
from wsredis.tickets import issue_ticket

from ..gate import Gate

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


SECRET = "a secret of the tests that has more than 32 bytes"


class Owner:
    """A middleware, as far as a claim needs one."""


def test_the_options_of_the_middleware_apply_to_a_publisher_and_a_disconnect() -> None:
    middleware = WebSocketMiddleware(None, redis="memory://claimed", key_prefix="site", expire=5)
    publisher = Publisher("news", broadcast=True)
    assert publisher.config is middleware.config
    assert publisher.channels == ("site:broadcast:news",)
    publisher.publish("hello")
    other = Publisher("news", broadcast=True, config=Config(redis="memory://claimed"))
    assert (publisher.fetch(), other.fetch()) == ("hello", None)


def test_messages_and_revocations_reach_the_websockets_of_the_process(
    gate: Callable[..., Gate],
) -> None:
    here = gate(key_prefix="site", identity=lambda request: None)
    with here.connect("/ws/news?subscribe-broadcast") as client:
        Publisher("news", broadcast=True).publish("hello")
        assert client.recv(30) == "hello"
    assert disconnect(user="alice") == 1


def test_configure_and_a_framework_come_before_the_middleware() -> None:
    middleware = WebSocketMiddleware(None, redis="memory://claimed", key_prefix="one")
    configure_from(lambda: Config(key_prefix="framework"))
    assert current_config().key_prefix == "framework"
    configure(key_prefix="configured")
    assert current_config().key_prefix == "configured"
    assert middleware.config.key_prefix == "one"


def test_a_middleware_does_not_start_from_the_options_of_another_one() -> None:
    first = WebSocketMiddleware(None, redis="memory://one", prefix="/one/", expire=5)
    second = WebSocketMiddleware(None, redis="memory://two")
    assert (second.config.prefix, second.config.expire) == ("/ws/", 0)
    assert first.config.redis == "memory://one"


def test_middleware_with_the_same_values_leaves_no_doubt() -> None:
    first = WebSocketMiddleware(None, redis="memory://one", prefix="/one/")
    second = WebSocketMiddleware(None, redis="memory://one", prefix="/two/", max_fragments=5)
    assert current_config() is first.config
    first.close()
    assert current_config() is second.config


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"redis": "memory://:hush@two"}, "differ in redis: pass config="),
        ({"key_prefix": "two"}, "differ in key_prefix: pass config="),
        ({"envelope": False}, "differ in envelope: "),
        ({"expire": 5}, "differ in expire: "),
        ({"redis": "memory://two", "key_prefix": "two"}, "differ in redis and key_prefix: "),
    ],
)
def test_between_different_middleware_the_publisher_does_not_choose(
    options: dict[str, Any], named: str
) -> None:
    one = WebSocketMiddleware(None, redis="memory://one")
    two = WebSocketMiddleware(None, **{"redis": "memory://one", **options})
    for ask in (
        lambda: Publisher("news", broadcast=True),
        lambda: disconnect(user="alice"),
        lambda: issue_ticket("alice"),
    ):
        with pytest.raises(ConfigurationError, match=named) as error:
            ask()
        assert "hush" not in str(error.value)
    for middleware in (one, two):
        assert Publisher("news", True, config=middleware.config).config is middleware.config
    two.close()
    assert current_config() is one.config


def test_only_tickets_need_the_same_secret() -> None:
    one = WebSocketMiddleware(None, redis="memory://one", secret=SECRET)
    two = WebSocketMiddleware(None, redis="memory://one", secret=SECRET[::-1])
    assert Publisher("news", broadcast=True).config is one.config
    with pytest.raises(ConfigurationError, match="differ in secret: pass config=") as error:
        issue_ticket("alice")
    assert SECRET not in str(error.value)
    assert issue_ticket("alice", config=two.config)


def test_closed_middleware_has_no_claim_until_it_serves_a_websocket_again(
    gate: Callable[..., Gate],
) -> None:
    here = gate(key_prefix="site")
    here.middleware.close()
    assert current_config().key_prefix == "ws"
    with here.connect("/ws/news?subscribe-broadcast"):
        assert current_config().key_prefix == "site"


def test_dropped_middleware_has_no_claim() -> None:
    for number in range(50):
        WebSocketMiddleware(None, redis=f"memory://{number}")
    kept = WebSocketMiddleware(None, redis="memory://kept")
    assert current_config() is kept.config


def test_dropped_middleware_in_a_reference_cycle_causes_no_error() -> None:
    gc.disable()
    try:
        for number in range(50):
            middleware: Any = WebSocketMiddleware(None, redis=f"memory://{number}")
            middleware.app = middleware
        kept = WebSocketMiddleware(None, redis="memory://kept")
        del middleware
        assert current_config() is kept.config
    finally:
        gc.enable()


def test_a_claim_is_replaced_by_a_later_one_of_the_same_owner() -> None:
    owner, other = Owner(), Owner()
    claim(owner, Config(expire=1))
    claim(owner, Config(expire=2))
    assert current_config().expire == 2
    release(other)
    assert current_config().expire == 2
    release(owner)
    release(owner)
    assert current_config().expire == 0


def test_a_repeated_claim_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads always find it, as at each first handshake of a process."""

    class Fixed(list[Any]):
        def append(self, one: Any) -> None:
            raise AssertionError("a claim was added")

        def remove(self, one: Any) -> None:
            raise AssertionError("a claim was removed")

    first, second = Owner(), Owner()
    claim(first, Config(publish_timeout=1))
    claim(second, Config(publish_timeout=2))
    with monkeypatch.context() as patch:
        patch.setattr("wsredis.config.sources._claims", Fixed(sources._claims))
        claim(first, Config(publish_timeout=3))
        assert [config.publish_timeout for config in claimed_configs()] == [3, 2]


def test_claims_from_many_threads_are_all_kept_and_all_released() -> None:
    owners = [Owner() for _ in range(200)]

    def work(some: list[Owner]) -> None:
        for owner in some:
            claim(owner, Config(key_prefix="site"))
        for owner in some[1:]:
            release(owner)

    threads = [threading.Thread(target=work, args=(owners[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for owner in owners[:8]:
        assert current_config().key_prefix == "site"
        release(owner)
    assert current_config().key_prefix == "ws"


def test_a_claim_that_another_thread_has_removed_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Raced(list[Any]):
        def remove(self, one: Any) -> None:
            super().remove(one)
            super().remove(one)

    monkeypatch.setattr("wsredis.config.sources._claims", Raced())
    owner = Owner()
    claim(owner, Config(expire=5))
    release(owner)
    assert current_config().expire == 0


def test_a_forked_child_has_the_options_of_the_middleware() -> None:
    program = """if True:
        import os
        from wsredis import Publisher, WebSocketMiddleware
        middleware = WebSocketMiddleware(None, redis="memory://here", key_prefix="site")
        child = os.fork()
        if child == 0:
            found = Publisher("news", True).channels
            middleware.close()
            os._exit(0 if (found, Publisher("news", True).channels) == (
                ("site:broadcast:news",), ("ws:broadcast:news",)
            ) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert Publisher("news", True).channels == ("site:broadcast:news",)
    """
    ran = subprocess.run([sys.executable, "-P", "-c", program], timeout=60, check=False)
    assert ran.returncode == 0


def test_configure_warns_if_the_middleware_has_other_values_already(
    caplog: pytest.LogCaptureFixture,
) -> None:
    middleware = WebSocketMiddleware(None, redis="memory://one", key_prefix="one")
    configure(redis="memory://one", key_prefix="one", prefix="/live/")
    assert not caplog.records
    configure(redis="memory://two", key_prefix="two")
    (record,) = caplog.records
    assert "set another redis and key_prefix than a WebSocketMiddleware" in record.getMessage()
    assert middleware.config.key_prefix == "one"
