"""The channel layers of this process, by their aliases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from ..config import current_config
from ..config.names import suggestion
from ..config.paths import import_path
from ..exceptions import ConfigurationError
from .base import ChannelLayer
from .redis import MAX_PREFIX, RedisChannelLayer

__all__ = ["DEFAULT_CHANNEL_LAYER", "configure_layers", "get_channel_layer", "set_source"]

DEFAULT_CHANNEL_LAYER = "default"

Settings = Mapping[str, Mapping[str, Any] | ChannelLayer]

WRITE = (
    'write {"default": {"BACKEND": "wsredis.layers.RedisChannelLayer", "CONFIG": {...}}}, or a'
    " layer in place of the inner dict."
)

_lock = threading.Lock()
_layers: dict[str, ChannelLayer] = {}
_settings: Settings | None = None
_source: Callable[[], Any] | None = None


def configure_layers(settings: Settings | None) -> None:
    """Set the channel layers of this process; earlier ones are forgotten.

    Args:
        settings: for each alias a dict of ``BACKEND``, a class or its path, and ``CONFIG``, its
            arguments; or a layer. None, or an empty dict, for the layers of the framework, or the
            one default layer.

    Raises:
        ConfigurationError: it is no such dict.
    """
    global _settings
    checked = _checked(settings)
    with _lock:
        _settings = checked
        _layers.clear()


def set_source(source: Callable[[], Any]) -> None:
    """Set the function that returns the settings of a framework, called at the first use."""
    global _source
    _source = source


def get_channel_layer(alias: str = DEFAULT_CHANNEL_LAYER) -> ChannelLayer:
    """Return the channel layer with a name.

    If no layer is configured, the default one is a `RedisChannelLayer` on the Redis server of the
    option ``redis``; its messages are JSON, and its names begin with the option ``key_prefix``.

    Raises:
        ConfigurationError: there is no such layer, or its settings are not valid.
    """
    layer = _layers.get(alias)
    if layer is not None:
        return layer
    settings = _settings
    if settings is None and _source is not None:
        settings = _checked(_source())
    if settings is None:
        if alias != DEFAULT_CHANNEL_LAYER:
            raise ConfigurationError(
                f"there is no channel layer {alias!r}, as none is configured: pass it to"
                " wsredis.layers.configure_layers."
            )
        layer = _default()
    elif alias in settings:
        value = settings[alias]
        layer = value if isinstance(value, ChannelLayer) else _make(alias, value)
    else:
        hint = suggestion(alias, [*settings])
        raise ConfigurationError(f"there is no channel layer {alias!r}: {hint}")
    with _lock:
        return _layers.setdefault(alias, layer)


def _checked(settings: Any) -> Settings | None:
    """Return the settings of layers; None if there are none.

    Raises:
        ConfigurationError: they are not valid.
    """
    if settings is None or settings == {}:
        return None
    if not isinstance(settings, Mapping):
        kind = type(settings).__name__
        raise ConfigurationError(f"channel layers are described by a dict, not a {kind}: {WRITE}")
    for alias, value in settings.items():
        described = isinstance(value, Mapping) and "BACKEND" in value
        if not (described or isinstance(value, ChannelLayer)):
            raise ConfigurationError(f"the channel layer {alias!r} is not valid: {WRITE}")
    return settings


def _default() -> ChannelLayer:
    """Return the layer of a process in which none is configured."""
    key_prefix = current_config().key_prefix
    prefix = f"{key_prefix}:asgi" if key_prefix else "asgi"
    if len(prefix) > MAX_PREFIX:
        raise ConfigurationError(
            f"key_prefix={key_prefix!r:.100} is too long for the default channel layer: write at"
            f" most {MAX_PREFIX - len(':asgi')} characters, or configure a layer with a prefix of"
            " its own."
        )
    return RedisChannelLayer(prefix=prefix, serializer_format="json")


def _make(alias: str, settings: Mapping[str, Any]) -> ChannelLayer:
    backend = settings["BACKEND"]
    if isinstance(backend, str):
        try:
            backend = import_path(backend)
        except Exception as exc:
            raise ConfigurationError(
                f"the BACKEND {backend!r} of the channel layer {alias!r} cannot be imported"
                f" ({type(exc).__name__}): {WRITE}"
            ) from exc
    if not callable(backend):
        raise ConfigurationError(f"the channel layer {alias!r} has no BACKEND: {WRITE}")
    try:
        layer: ChannelLayer = backend(**settings.get("CONFIG", {}))
    except TypeError as exc:
        raise ConfigurationError(
            f"the CONFIG of the channel layer {alias!r} is not valid: write a dict with arguments"
            f" of {backend!r:.100}."
        ) from exc
    return layer
