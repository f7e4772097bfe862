"""The setting ``WSREDIS``: its valid values, and when it is read."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

import wsredis
from wsredis import ConfigurationError
from wsredis.adapters.django import Publisher, conf, get_websocket_application, identity_of
from wsredis.layers import InMemoryChannelLayer, get_channel_layer

Site = Callable[..., None]


def test_without_a_setting_the_defaults_hold() -> None:
    with override_settings(WSREDIS=None):
        options = conf.options()
    assert options.config.prefix == "/ws/"
    assert options.identity is identity_of
    assert (options.endpoint, options.asgi) == (None, None)


def test_names_may_be_written_in_upper_case() -> None:
    with override_settings(WSREDIS={"PREFIX": "/live/", "expire": 5, "ALLOWED_CHANNELS": len}):
        options = conf.options()
    assert (options.config.prefix, options.config.expire) == ("/live/", 5)
    assert options.allowed_channels is len


def test_the_environment_says_what_the_setting_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSREDIS_EXPIRE", "7")
    monkeypatch.setenv("WSREDIS_PREFIX", "/from-the-environment/")
    with override_settings(WSREDIS={"prefix": "/from-the-setting/"}):
        config = conf.current_config()
    assert (config.expire, config.prefix) == (7, "/from-the-setting/")


def test_channel_layers_are_those_of_the_setting_while_it_is_overridden() -> None:
    memory = {"BACKEND": "wsredis.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 7}}
    with override_settings(CHANNEL_LAYERS={"default": memory, "other": memory}):
        first = get_channel_layer()
        assert isinstance(first, InMemoryChannelLayer)
        assert first.capacity == 7
    with override_settings(CHANNEL_LAYERS={"default": {**memory, "CONFIG": {}}}):
        assert get_channel_layer().capacity == 100
        with pytest.raises(ConfigurationError, match="there is no channel layer 'other'"):
            get_channel_layer("other")


@pytest.mark.parametrize("mark", [".", ":"])
def test_a_callback_is_a_callable_or_its_path(mark: str) -> None:
    from chatsite import channels

    given = {
        "identity": channels.token,
        "allowed_channels": f"chatsite.channels{mark}members",
        "endpoint": f"chatsite.channels{mark}Shouting",
        "asgi": f"chatsite.asgi{mark}application",
    }
    with override_settings(WSREDIS=given):
        options = conf.options()
    assert options.identity is channels.token
    assert options.allowed_channels is channels.members
    assert options.endpoint is channels.Shouting
    assert options.asgi == f"chatsite.asgi{mark}application"


def test_an_error_in_the_environment_is_not_one_of_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WSREDIS_OVERFLOW", "drop")
    with pytest.raises(ConfigurationError, match=r"^WSREDIS_OVERFLOW='drop' is not valid: write"):
        conf.options()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("redis://localhost", "WSREDIS must be a dict of options, not str: write WSREDIS = {"),
        ({"heartbaet": "x"}, "WSREDIS has no option 'heartbaet': did you mean 'heartbeat'?"),
        ({"allowed_chanels": "x"}, "did you mean 'allowed_channels'?"),
        ({"Prefix": "/ws/"}, "did you mean 'prefix'?"),
        ({3: "/ws/"}, "WSREDIS has no option 3: write one of prefix, asgi_prefix, "),
        ({"prefix": "/a/", "PREFIX": "/b/"}, "WSREDIS sets 'prefix' twice: leave 'PREFIX' out."),
        ({"prefix": "ws"}, "WSREDIS['prefix'] = 'ws' is not valid: write an ASCII path that"),
        ({"redis": "localhost:6379"}, "write a URL like"),
        ({"identity": "nowhere.at.all"}, "'nowhere.at.all' cannot be imported"),
        ({"identity": "chatsite.channels.tokn"}, "such as 'mysite.channels.identity'"),
        ({"identity": "chatsite.broken.token"}, "(ModuleNotFoundError, 'no_such_module')"),
        ({"allowed_channels": "plain"}, "write the path of a callable"),
        (
            {"allowed_channels": "chatsite.channels.not_callable"},
            "is not callable: write a callable",
        ),
        ({"endpoint": 5}, "WSREDIS['endpoint'] = 5 is not callable"),
        ({"identity": "chatsite.channels.Resolver"}, "write a function, or an instance of it"),
    ],
)
def test_an_invalid_setting_is_refused_with_a_correction(setting: Any, says: str) -> None:
    with override_settings(WSREDIS=setting):
        with pytest.raises(ConfigurationError) as refused:
            conf.options()
        assert says in str(refused.value)
        with pytest.raises(ConfigurationError):
            get_websocket_application()


def test_publishers_use_an_overridden_setting_at_once(site: Site) -> None:
    assert Publisher("news", broadcast=True).channels == ("ws:broadcast:news",)
    with override_settings(WSREDIS={"key_prefix": "other"}):
        assert Publisher("news", broadcast=True).channels == ("other:broadcast:news",)
    assert Publisher("news", broadcast=True).channels == ("ws:broadcast:news",)


def test_the_publisher_and_the_middleware_of_the_core_use_the_setting_too() -> None:
    with override_settings(WSREDIS={"key_prefix": "other", "prefix": "/live/"}):
        publisher = wsredis.Publisher("news", broadcast=True)
        middleware = wsredis.WebSocketMiddleware(None)
    assert publisher.channels == ("other:broadcast:news",)
    assert middleware.config.prefix == "/live/"


def test_nothing_connects_before_it_is_used() -> None:
    with override_settings(WSREDIS={"redis": "redis://127.0.0.1:1"}):
        application = get_websocket_application()
        Publisher("news", broadcast=True)
        importlib.reload(importlib.import_module("chatsite.wsgi"))
    assert application.stats()["connections"] == 0


@pytest.mark.parametrize(
    ("django", "says"),
    [
        (None, "pip install 'wsredis[django]'"),
        ("VERSION = (3, 2, 25, 'final', 0)\n__version__ = '3.2.25'", "3.2.25 is installed"),
    ],
)
def test_a_missing_or_old_django_names_the_extra(django: str | None, says: str) -> None:
    fake = "None" if django is None else "types.ModuleType('django')"
    program = f"""if True:
        import sys, types
        sys.modules["django"] = {fake}
        exec({django or ""!r}, vars(sys.modules["django"]) if {django is not None} else {{}})
        from wsredis import ConfigurationError
        try:
            import wsredis.adapters.django
        except ConfigurationError as exc:
            print(exc)
    """
    found = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert says in found.stdout
    assert "wsredis[django]" in found.stdout
