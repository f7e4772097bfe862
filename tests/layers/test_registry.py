"""The channel layers of a process by their aliases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from wsredis import Config, ConfigurationError
from wsredis.config import sources
from wsredis.layers import (
    InMemoryChannelLayer,
    RedisChannelLayer,
    configure_layers,
    get_channel_layer,
    registry,
)

MEMORY = "wsredis.layers.InMemoryChannelLayer"


@pytest.fixture(autouse=True)
def nothing_is_configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_source", None)
    configure_layers(None)
    yield
    configure_layers(None)


@pytest.mark.parametrize(("key_prefix", "prefix"), [("", "asgi"), ("site", "site:asgi")])
def test_the_default_layer(monkeypatch: pytest.MonkeyPatch, key_prefix: str, prefix: str) -> None:
    monkeypatch.setattr(sources, "_current", Config(redis="memory://r", key_prefix=key_prefix))
    layer = get_channel_layer()
    assert isinstance(layer, RedisChannelLayer)
    assert layer.prefix == prefix
    assert layer._codec.encode({"type": "x"}) == b'{"type": "x"}'
    assert get_channel_layer() is layer
    with pytest.raises(ConfigurationError, match="no channel layer 'other', as none is configured"):
        get_channel_layer("other")


def test_layers_and_their_descriptions() -> None:
    own = InMemoryChannelLayer()
    described = {"BACKEND": MEMORY, "CONFIG": {"capacity": 7}}
    by_class = {"BACKEND": InMemoryChannelLayer}
    configure_layers({"default": own, "described": described, "by_class": by_class})
    assert get_channel_layer() is own
    layer = get_channel_layer("described")
    assert isinstance(layer, InMemoryChannelLayer)
    assert layer.capacity == 7
    assert get_channel_layer("described") is layer
    assert isinstance(get_channel_layer("by_class"), InMemoryChannelLayer)
    with pytest.raises(ConfigurationError, match="no channel layer 'defualt': did you mean 'def"):
        get_channel_layer("defualt")


def test_those_of_a_framework_come_after_those_that_are_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "_current", Config(redis="memory://r"))
    registry.set_source(lambda: {"default": {"BACKEND": MEMORY}})
    assert isinstance(get_channel_layer(), InMemoryChannelLayer)
    own = InMemoryChannelLayer()
    configure_layers({"default": own})
    assert get_channel_layer() is own
    configure_layers(None)
    registry.set_source(lambda: None)
    assert isinstance(get_channel_layer(), RedisChannelLayer)


@pytest.mark.parametrize("source", [None, {}])
def test_no_layers_at_all_are_the_default_one(monkeypatch: pytest.MonkeyPatch, source: Any) -> None:
    monkeypatch.setattr(sources, "_current", Config(redis="memory://r"))
    registry.set_source(lambda: source)
    configure_layers({})
    layer = get_channel_layer()
    assert isinstance(layer, RedisChannelLayer)


@pytest.mark.parametrize(("length", "fits"), [(45, True), (46, False)])
def test_the_longest_key_prefix(monkeypatch: pytest.MonkeyPatch, length: int, fits: bool) -> None:
    config = Config(redis="memory://r", key_prefix="p" * length)
    monkeypatch.setattr(sources, "_current", config)
    if fits:
        assert len(get_channel_layer().new_channel().result()) < 100
    else:
        with pytest.raises(ConfigurationError) as info:
            get_channel_layer()
        assert str(info.value) == (
            f"key_prefix='{'p' * 46}' is too long for the default channel layer: write at most 45"
            " characters, or configure a layer with a prefix of its own."
        )


@pytest.mark.parametrize("value", [[], ["default"], "default", 5])
def test_settings_that_are_no_dict(value: Any) -> None:
    for use in (lambda: configure_layers(value), get_channel_layer):
        registry.set_source(lambda: value)
        with pytest.raises(ConfigurationError, match="are described by a dict, not a"):
            use()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"default": None}, "the channel layer 'default' is not valid: write"),
        ({"default": {"BACKEND": MEMORY, "CONFIG": {"size": 5}}}, "dict with arguments of <class"),
        ({"default": {"BACKEND": MEMORY, "CONFIG": []}}, "the CONFIG of the channel layer 'def"),
        ({"default": {}}, "the channel layer 'default' is not valid: write"),
        ({"default": {"CONFIG": {}}}, "the channel layer 'default' is not valid: write"),
        ({"default": {"BACKEND": "no.such.module"}}, "'no.such.module' of the channel layer"),
        ({"default": {"BACKEND": "no path"}}, "cannot be imported (ValueError)"),
        ({"default": {"BACKEND": None}}, "the channel layer 'default' has no BACKEND"),
    ],
)
def test_descriptions_that_are_not_valid(value: Any, says: str) -> None:
    def configure() -> None:
        configure_layers(value)
        get_channel_layer()

    with pytest.raises(ConfigurationError) as info:
        configure()
    assert says in str(info.value)


def test_all_threads_get_one_layer() -> None:
    configure_layers({"default": {"BACKEND": MEMORY}})
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(get_channel_layer())) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
