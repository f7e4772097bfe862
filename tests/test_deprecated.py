"""The deprecated public names: each works, and warns at the line that uses it."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import wsredis.channels
import wsredis.frames
from wsredis import (
    Config,
    ConfigurationError,
    Endpoint,
    PubSubEndpoint,
    WebSocketMiddleware,
    configure,
)
from wsredis.access.requests import parse_channel_request
from wsredis.adapters.flask import WSRedis
from wsredis.config import configure_from, current_config
from wsredis.deprecated import (
    ENDPOINT_MEMBERS,
    MODULES,
    OPTIONS,
    STATISTICS,
    Statistics,
    renamed_option,
    renamed_options,
)
from wsredis.hub.hub import Hub
from wsredis.naming import Audience

from .place import CHANNEL, Client, Place, Recorder

pytestmark = pytest.mark.usefixtures("nothing_is_configured")

CHANGELOG = Path(__file__).parent.parent / "CHANGELOG.md"


@contextmanager
def deprecated(old: str, new: str, times: int = 1) -> Iterator[None]:
    """Expect a warning about a name, at a line of this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    shown = [(each.category, each.filename, str(each.message)) for each in caught]
    text = f"{old} is deprecated: write {new}."
    assert shown == [(DeprecationWarning, __file__, text)] * times


# What there is


def test_these_are_the_old_names() -> None:
    assert OPTIONS == {"max_outbox": "max_send_buffer"}
    assert ENDPOINT_MEMBERS == {"wants_kept": "wants_retained"}
    assert STATISTICS == {
        "dropped": "slow_consumers",
        "flooding": "over_limit",
        "outbox_bytes": "send_buffer_bytes",
        "shed": "messages_dropped",
    }
    assert {module: set(names) for module, names in MODULES.items()} == {
        "wsredis.channels": {
            "WISHES",
            "Audience",
            "Wishes",
            "channel_name",
            "encode_name",
            "identity_channels",
            "loggable",
            "parse_wishes",
        },
        "wsredis.frames": {"PING", "CloseCode", "Receiver", "encode_close", "encode_message"},
    }


def test_the_changelog_lists_them() -> None:
    text = CHANGELOG.read_text(encoding="utf-8")
    for old, new in {**OPTIONS, **STATISTICS, **ENDPOINT_MEMBERS}.items():
        assert f"`{old}` | `{new}`" in text
    for module, names in MODULES.items():
        (home,) = [line for line in text.splitlines() if line.startswith(f"| module | `{module}`")]
        for old, new in names.items():
            if new != f"{home.split('`')[3]}.{old}":
                assert f"`{module}.{old}` | `{new}`" in text


# Options


def test_an_option_may_have_its_old_name() -> None:
    with deprecated("The option 'max_outbox'", "'max_send_buffer'"):
        config = Config(max_outbox=5)
    assert config == Config(max_send_buffer=5)
    with deprecated("The option 'max_outbox'", "'max_send_buffer'"):
        config = Config.make(max_outbox=6)
    assert config.max_send_buffer == 6
    with deprecated("The option 'max_outbox'", "'max_send_buffer'"):
        config = Config.make(Config(expire=60), max_outbox=7)
    assert (config.expire, config.max_send_buffer) == (60, 7)
    with deprecated("The option 'max_outbox'", "'max_send_buffer'"):
        configure(max_outbox=8)
    assert current_config().max_send_buffer == 8
    with deprecated("The option 'max_outbox'", "'max_send_buffer'"):
        middleware = WebSocketMiddleware(None, max_outbox=9)
    assert middleware.config.max_send_buffer == 9


def test_the_names_of_today_do_not_warn() -> None:
    config = Config.make(Config(max_send_buffer=5), expire=60)
    assert dataclasses.replace(config, max_send_buffer=6).max_send_buffer == 6
    assert renamed_option("expire") == "expire"
    assert renamed_options({"expire": 60}) == {"expire": 60}
    assert "max_outbox" not in repr(config)


@pytest.mark.parametrize("options", [{"max_outbox": 1, "max_send_buffer": 2}, {}])
@pytest.mark.parametrize("make", [Config.make, configure])
def test_an_option_under_both_names_is_refused(
    make: Callable[..., Any], options: dict[str, int]
) -> None:
    options = options or {"max_send_buffer": 2, "max_outbox": 1}
    with (
        deprecated("The option 'max_outbox'", "'max_send_buffer'"),
        pytest.raises(
            ConfigurationError,
            match=r"^'max_send_buffer' is given twice: leave 'max_outbox' out\.$",
        ),
    ):
        make(**options)


def test_a_copy_may_be_made_with_the_old_name() -> None:
    with deprecated("The option 'max_outbox'", "'max_send_buffer'"):
        assert dataclasses.replace(Config(), max_outbox=5).max_send_buffer == 5  # type: ignore[call-arg]


def test_a_bad_value_is_refused_under_the_name_of_today() -> None:
    with (
        deprecated("The option 'max_outbox'", "'max_send_buffer'"),
        pytest.raises(ConfigurationError, match=r"^max_send_buffer=0 is not valid: write bytes"),
    ):
        Config(max_outbox=0)


def test_an_attribute_of_a_config_may_have_its_old_name() -> None:
    config = Config(max_send_buffer=5)
    with deprecated("Config.max_outbox", "max_send_buffer"):
        assert config.max_outbox == 5  # type: ignore[attr-defined]
    with pytest.raises((AttributeError, TypeError)):  # frozen, as any attribute of it is
        config.max_outbox = 6  # type: ignore[attr-defined]
    assert config.max_send_buffer == 5


def test_a_variable_may_have_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSREDIS_MAX_OUTBOX", "5")
    with deprecated("The option 'max_outbox'", "'max_send_buffer'", times=2):
        configs = Config.make(), current_config()
    assert [config.max_send_buffer for config in configs] == [5, 5]
    assert Config().max_send_buffer == 2**20  # which does not ask the environment


@pytest.mark.parametrize("names", [("OUTBOX", "SEND_BUFFER"), ("SEND_BUFFER", "OUTBOX")])
def test_of_a_variable_under_both_names_that_of_today_counts(
    names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in names:
        monkeypatch.setenv(f"WSREDIS_MAX_{name}", "old" if name == "OUTBOX" else "6")
    with deprecated("The option 'max_outbox'", "'max_send_buffer'"):
        assert Config.make().max_send_buffer == 6


def test_an_unreadable_variable_is_refused_by_the_name_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WSREDIS_MAX_OUTBOX", "much")
    with (
        deprecated("The option 'max_outbox'", "'max_send_buffer'"),
        pytest.raises(ConfigurationError, match=r"^WSREDIS_MAX_OUTBOX='much' is not valid: write "),
    ):
        Config.make()


def test_what_the_caller_says_goes_before_an_old_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSREDIS_MAX_OUTBOX", "5")
    with deprecated("The option 'max_outbox'", "'max_send_buffer'"):
        assert Config.make(max_send_buffer=6).max_send_buffer == 6


def test_a_source_of_options_may_use_an_old_name() -> None:
    configure_from(lambda: Config.make(max_outbox=5))
    with deprecated("The option 'max_outbox'", "'max_send_buffer'"):
        assert current_config().max_send_buffer == 5


def test_a_setting_of_flask_may_have_its_old_name() -> None:
    def options() -> Config:
        app = Flask("site")
        app.config["WSREDIS_MAX_OUTBOX"] = 5
        WSRedis(app)
        config: Config = app.extensions["wsredis"].config
        return config

    with pytest.warns(DeprecationWarning, match="'max_outbox' is deprecated") as caught:
        config = options()
    assert config.max_send_buffer == 5
    assert {each.filename for each in caught} == {__file__}


DJANGO = """
import warnings
from django.conf import settings

settings.configure(WSREDIS={"%s": 5})
from wsredis.adapters.django.conf import current_config

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(current_config().max_send_buffer, *[str(each.message) for each in caught])
"""


@pytest.mark.parametrize("name", ["max_outbox", "MAX_OUTBOX"])
def test_a_setting_of_django_may_have_its_old_name(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DJANGO % name]
    # Elsewhere than in the tree, whose folders Python would take for the installed packages.
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    shown = ran.stdout
    assert shown == "5 The option 'max_outbox' is deprecated: write 'max_send_buffer'.\n"


def test_a_class_and_its_objects_may_both_have_the_old_name() -> None:
    with deprecated("Without.wants_kept", "wants_retained"):

        class Without(Recorder):
            wants_kept = False

    class Child(Without):
        def __init__(self, wants: bool) -> None:
            super().__init__()
            self.wants_kept = wants

    for wants in (True, False):
        with deprecated("Without.wants_kept", "wants_retained"):
            endpoint = Child(wants)
        assert endpoint.wants_retained is wants
    assert Without().wants_retained is False


def test_an_endpoint_may_have_another_base_that_takes_arguments_for_its_class() -> None:
    class Tagged:
        tag = 0

        def __init_subclass__(cls, tag: int = 0, **more: Any) -> None:
            super().__init_subclass__(**more)
            cls.tag = tag

    class Mine(PubSubEndpoint, Tagged, tag=3): ...

    assert Mine.tag == 3


def test_what_is_requested_can_be_read_under_its_old_name() -> None:
    with deprecated("ChannelRequest.asked", "requested"):
        request: Any = parse_channel_request("subscribe-broadcast")
        assert request.asked == ("subscribe-broadcast",)


# Statistics


def test_statistics_can_be_read_under_their_old_names() -> None:
    numbers = {name: number for number, name in enumerate(Hub.NUMBERS)}
    stats = Statistics(numbers)
    assert dict(stats) == numbers
    for old, new in STATISTICS.items():
        with deprecated(f"stats()[{old!r}]", repr(new)):
            assert stats[old] == numbers[new]
        with deprecated(f"stats()[{old!r}]", repr(new)):
            assert stats.get(old) == numbers[new]
        assert stats[new] == stats.get(new) == numbers[new]
        assert old in stats
        assert old not in list(stats)  # nobody who goes through them meets one twice
    assert len(stats) == len(numbers)


def test_an_unknown_number_is_no_number() -> None:
    stats = Statistics(connections=0)
    with pytest.raises(KeyError, match=r"^'outbox'$"):
        stats["outbox"]
    assert stats.get("outbox") is None
    assert stats.get("outbox", -1) == -1
    assert stats.get("connections", -1) == 0


def test_a_middleware_shows_them_before_and_after_its_first_websocket() -> None:
    middleware = WebSocketMiddleware(None, redis="memory://deprecated")
    for _ in range(2):
        with deprecated("stats()['dropped']", "'slow_consumers'"):
            assert middleware.stats()["dropped"] == 0
        middleware._process_here()
    middleware.close()


# Endpoints


def hears_what_is_retained(place: Place, endpoint: Endpoint) -> bool:
    """Tell whether a websocket with this endpoint gets the retained message of its channel."""
    connection = place.websocket(endpoint)
    place.join(connection, [CHANNEL])
    near, far = place.pair()
    place.run(connection.open, near.detach())
    place.publish("live")
    return Client(far).read()[1] == b"retained"


def test_an_endpoint_may_set_the_old_name_in_its_class(place: Place) -> None:
    place.publish("retained", expire=60)
    assert hears_what_is_retained(place, Recorder())
    with deprecated("Without.wants_kept", "wants_retained"):

        class Without(Recorder):
            wants_kept = False

    assert Without.wants_retained is False
    assert not hears_what_is_retained(place, Without())

    class Child(Without):
        """A class that inherits it, and does not warn again."""

    assert Child().wants_retained is False

    class Again(Without):
        wants_retained = True

    assert Again().wants_retained is True

    class Grandchild(Again):
        """A class whose nearest parent counts."""

    assert Grandchild().wants_retained is True


def test_an_endpoint_may_have_the_old_name_as_a_property(place: Place) -> None:
    place.publish("retained", expire=60)
    with deprecated("Choosy.wants_kept", "wants_retained"):

        class Choosy(Recorder):
            def __init__(self, wants: bool) -> None:
                super().__init__()
                self.wants = wants

            @property
            def wants_kept(self) -> bool:
                return self.wants

    assert [hears_what_is_retained(place, Choosy(wants)) for wants in (True, False)] == [
        True,
        False,
    ]


def test_an_endpoint_may_have_the_old_name_from_another_base() -> None:
    class WithoutRetained:
        wants_kept = False

    with deprecated("Mixed.wants_kept", "wants_retained"):

        class Mixed(WithoutRetained, PubSubEndpoint): ...

    assert Mixed.wants_retained is False


def test_an_endpoint_for_two_releases_may_have_both_names() -> None:
    class Both(Recorder):
        wants_kept = True
        wants_retained = False

    assert Both().wants_retained is False


def test_an_endpoint_may_set_and_read_the_old_name_of_an_object(place: Place) -> None:
    place.publish("retained", expire=60)
    endpoint: Any = Recorder()
    with deprecated("Endpoint.wants_kept", "wants_retained"):
        assert endpoint.wants_kept is True
    with deprecated("Endpoint.wants_kept", "wants_retained"):
        endpoint.wants_kept = False
    assert endpoint.wants_retained is False
    assert not hears_what_is_retained(place, endpoint)
    with deprecated("Endpoint.wants_kept", "wants_retained"):
        assert endpoint.wants_kept is False


# Modules


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in MODULES for name in MODULES[module]]
)
def test_a_name_is_found_in_its_old_module(module: str, name: str) -> None:
    new = MODULES[module][name]
    home, _, attribute = new.rpartition(".")
    today = getattr(importlib.import_module(home), attribute)
    with deprecated(f"{module}.{name}", new):
        assert getattr(importlib.import_module(module), name) is today
    found: dict[str, Any] = {}
    with pytest.warns(DeprecationWarning, match=f"^{module}.{name} is deprecated: write {new}.$"):
        exec(f"from {module} import {name}", found)
    assert found[name] is today


def test_an_import_from_an_old_module_warns_at_its_line() -> None:
    with deprecated("wsredis.channels.channel_name", "wsredis.naming.channel_name"):
        from wsredis.channels import channel_name
    assert channel_name("ws", Audience.USER, "news", "alice") == "ws:user:alice:news"
    with deprecated(
        "wsredis.channels.parse_wishes", "wsredis.access.requests.parse_channel_request"
    ):
        from wsredis.channels import parse_wishes
    assert parse_wishes("subscribe-user&echo").requested == ("subscribe-user",)
    with deprecated("wsredis.frames.CloseCode", "wsredis.protocol.closing.CloseCode"):
        from wsredis.frames import CloseCode
    assert CloseCode.NORMAL_CLOSURE == 1000
    with deprecated("wsredis.frames.encode_message", "wsredis.protocol.frames.encode_message"):
        assert wsredis.frames.encode_message(b"hello") == b"\x81\x05hello"


@pytest.mark.parametrize("module", [wsredis.channels, wsredis.frames])
def test_an_unknown_name_is_in_no_old_module(module: Any) -> None:
    name = module.__name__
    with pytest.raises(AttributeError, match=f"^module '{name}' has no attribute 'nothing'$"):
        _ = module.nothing
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec(f"from {name} import nothing", {})
    assert not hasattr(module, "__path__")


def test_a_module_with_a_name_like_one_of_ours_is_told_where_it_uses_an_old_name() -> None:
    source = "from wsredis import Config\nConfig(max_outbox=5)"
    for name in ("abcd", "typing_tools.settings", "wsredis_site"):
        code = compile(source, f"{name}.py", "exec")
        with pytest.warns(DeprecationWarning, match="max_outbox") as caught:
            exec(code, {"__name__": name})
        assert [(each.filename, each.lineno) for each in caught] == [(f"{name}.py", 2)]
