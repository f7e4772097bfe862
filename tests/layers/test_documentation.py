"""docs/layers.md lists the methods and options that there are, with their defaults."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import wsredis.layers
from wsredis import Config, ConfigurationError
from wsredis.config import sources
from wsredis.layers import (
    InMemoryChannelLayer,
    RedisChannelLayer,
    configure_layers,
    get_channel_layer,
)
from wsredis.layers import registry as registry_module
from wsredis.layers.base import METHODS

from .support import ROOT

PAGE = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_every_option_is_documented_with_its_default() -> None:
    documented = {}
    for names, default in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+?) \|", PAGE, re.MULTILINE):
        for name in re.findall(r"\w+", names):
            documented[name] = default.strip("`")
    real = inspect.signature(RedisChannelLayer).parameters
    assert documented.pop("hosts") == "the option `redis"
    assert documented == {
        name: "none" if option.default is None else repr(option.default).replace("'", '"')
        for name, option in real.items()
        if name != "hosts"
    }


def test_the_options_of_the_memory_layer_are_documented() -> None:
    options = [f"`{name}`" for name in inspect.signature(InMemoryChannelLayer).parameters]
    listed = f"{', '.join(options[:-1])} and {options[-1]}"
    assert f"`InMemoryChannelLayer` has {listed}." in PAGE


@pytest.mark.parametrize("kind", [InMemoryChannelLayer, RedisChannelLayer])
def test_every_method_is_documented_with_its_arguments(kind: type) -> None:
    documented = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", PAGE, re.MULTILINE))
    assert set(documented) == set(METHODS)
    for name, arguments in documented.items():
        signature = inspect.signature(getattr(kind, name))
        real = [str(each.replace(annotation=each.empty)) for each in signature.parameters.values()]
        assert arguments.replace('"', "'") == ", ".join(real[1:]).replace(" = ", "=")


def test_the_exceptions_are_documented() -> None:
    for name in wsredis.layers.__all__:
        assert name in PAGE


@pytest.fixture
def registry(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the process have no layers, no framework, and the options of a job."""
    monkeypatch.setattr(sources, "_current", Config(redis=redis_url))
    monkeypatch.setattr(registry_module, "_source", None)
    configure_layers(None)
    yield
    configure_layers(None)


@pytest.mark.usefixtures("registry")
def test_the_default_layer_has_names_of_its_own(redis_client: redis.Redis) -> None:
    layer = get_channel_layer()
    assert layer is get_channel_layer()
    (named,) = re.findall(r"`(\S+__group__chat)`", PAGE)
    subscriber: Any = redis_client.pubsub()
    subscriber.subscribe(named)
    assert subscriber.get_message(timeout=30)["type"] == "subscribe"
    exec(BLOCKS[1])
    message = subscriber.get_message(timeout=30)
    subscriber.close()
    assert message["data"] == b'{"type": "chat.message", "text": "hello"}'


@pytest.mark.usefixtures("registry")
def test_configured_layers() -> None:
    exec(BLOCKS[2])
    assert get_channel_layer().capacity == 200
    assert get_channel_layer("other").prefix == "other"  # type: ignore[attr-defined]
    assert isinstance(get_channel_layer("tests"), InMemoryChannelLayer)
    with pytest.raises(ConfigurationError, match="did you mean 'default'"):
        get_channel_layer("defualt")
    configure_layers(None)
    with pytest.raises(ConfigurationError, match="as none is configured"):
        get_channel_layer("other")


@pytest.mark.usefixtures("registry")
def test_the_setting_of_a_framework_is_used_until_layers_are_configured() -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS[0], names)
    registry_module.set_source(lambda: names["CHANNEL_LAYERS"])
    found: Any = get_channel_layer()
    assert (found.capacity, found.prefix) == (200, "asgi")
    configure_layers({"default": InMemoryChannelLayer()})
    assert isinstance(get_channel_layer(), InMemoryChannelLayer)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"default": {"CONFIG": {}}}, "the channel layer 'default' is not valid"),
        ({"default": {"BACKEND": "no.such.Layer"}}, "'no.such.Layer' of the channel layer"),
        ({"default": {"BACKEND": 7}}, "the channel layer 'default' has no BACKEND"),
    ],
)
@pytest.mark.usefixtures("registry")
def test_settings_that_are_not_valid(settings: Any, says: str) -> None:
    def use() -> None:
        configure_layers(settings)
        get_channel_layer()

    with pytest.raises(ConfigurationError, match=says):
        use()
