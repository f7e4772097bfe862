"""The system checks of ASGI applications and channel layers; see `.checks`.

The package channels is not imported: its classes are recognized by their names and attributes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.handlers.asgi import ASGIHandler

from wsredis.asgi.application import load_application
from wsredis.config.paths import import_path

__all__ = ["layers_in_memory", "lossy_layers", "open_validator", "process_layers", "unhosted"]

Messages = Iterator[checks.CheckMessage]

WRAPPERS = 20
"""How many wrappers are searched for an `OriginValidator`."""

LAYER = (
    "Write 'BACKEND': 'wsredis.layers.RedisChannelLayer', which processes with the layer of"
    " channels_redis can share."
)


def unhosted() -> Messages:
    """Find an ``ASGI_APPLICATION`` with websockets which wsredis does not host."""
    path = getattr(settings, "ASGI_APPLICATION", None)
    if not path:
        return
    try:
        application = import_path(path)
    except (Exception, SystemExit):  # the ASGI server reports it
        return
    if _has_websockets(application):
        yield checks.Warning(
            f"ASGI_APPLICATION = {path!r} has websockets, but WSREDIS has no 'asgi', so a WSGI"
            " server serves none of them.",
            hint=f"Write WSREDIS['asgi'] = {path!r}. If an ASGI server serves these websockets,"
            " silence this check.",
            id="wsredis.W010",
        )


def _has_websockets(application: Any) -> bool:
    """Return whether an application has websockets, as far as can be seen.

    An application that is neither Django's nor a `ProtocolTypeRouter` may be a wrapper around one;
    then the site has websockets if it has installed channels or daphne.
    """
    mapping = getattr(application, "application_mapping", None)
    if isinstance(mapping, Mapping):
        return "websocket" in mapping
    if isinstance(application, ASGIHandler):
        return False
    return apps.is_installed("channels") or apps.is_installed("daphne")


def open_validator(asgi: Any) -> Messages:
    """Find an `OriginValidator` of Channels which lets in every origin."""
    application = load_application(asgi)
    mapping = getattr(application, "application_mapping", None)
    if isinstance(mapping, Mapping):
        application = mapping.get("websocket")
    for _ in range(WRAPPERS):
        if hasattr(application, "allowed_origins"):
            break
        inner = getattr(application, "inner", None)  # of a BaseMiddleware
        application = getattr(application, "application", inner)
    if "*" in getattr(application, "allowed_origins", ()):
        yield checks.Warning(
            "The OriginValidator of the ASGI application lets in every origin, as it allows '*':"
            " only the option 'origins' of wsredis refuses pages of other sites.",
            hint="List the hosts of the site, for AllowedHostsOriginValidator in ALLOWED_HOSTS.",
            id="wsredis.W012",
        )


def process_layers() -> list[str]:
    """Return the names of the channel layers whose messages do not leave the process."""
    return [name for name, path in _layers() if path.endswith(".InMemoryChannelLayer")]


def layers_in_memory() -> Messages:
    """Find channel layers whose messages do not leave the process."""
    for name in process_layers():
        yield checks.Warning(
            f"CHANNEL_LAYERS[{name!r}] is in memory: messages reach only the consumers of the"
            " process that sends them.",
            hint=LAYER,
            id="wsredis.W011",
        )


def lossy_layers() -> Messages:
    """Find channel layers that lose messages without reporting it."""
    for name, path in _layers():
        if path.endswith(".RedisPubSubChannelLayer"):
            yield checks.Warning(
                f"CHANNEL_LAYERS[{name!r}] is the pub/sub layer of channels_redis: messages that"
                " are sent while its connection to Redis is lost are missing, and consumers are not"
                " notified.",
                hint=LAYER,
                id="wsredis.W013",
            )


def _layers() -> Iterator[tuple[str, str]]:
    """Yield the name of each channel layer, and the path of its class."""
    layers = getattr(settings, "CHANNEL_LAYERS", None)
    if not isinstance(layers, Mapping):
        return
    for name, options in layers.items():
        path = options.get("BACKEND") if isinstance(options, Mapping) else None
        if isinstance(path, str):  # else Channels reports it itself
            yield str(name), path
