"""Consumers whose clients get the numbers of a group, and pages that send them and count members.

The path selects a class and the group. With LAYER=memory in the environment, the channel layer is
that in memory.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import threading
from typing import Any

import greenlet

from wsredis import WebSocketMiddleware
from wsredis.consumers import AsyncWebsocketConsumer, WebsocketConsumer, shared
from wsredis.consumers.host import ConsumerHost
from wsredis.layers import InMemoryChannelLayer, configure_layers, get_channel_layer

logging.basicConfig(
    level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"
)

if os.environ.get("LAYER") == "memory":
    configure_layers({"default": InMemoryChannelLayer()})


class Sync(WebsocketConsumer):
    """A member of a group, which sends what its client says to all members."""

    def connect(self) -> None:
        self.group = self.scope["url_route"]["kwargs"]["group"]
        self.group_add(self.group)
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.group_send(self.group, {"type": "number", "text": text_data})

    def number(self, event: Any) -> None:
        self.send(text_data=event["text"])


class Shared(Sync):
    """The same, with a handler that runs once for all members."""

    @shared
    @staticmethod
    def number(event: Any) -> str:
        text: str = event["text"]
        return text


class Async(AsyncWebsocketConsumer):
    """The same, asynchronous."""

    async def connect(self) -> None:
        self.group = self.scope["url_route"]["kwargs"]["group"]
        await self.group_add(self.group)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.group_send(self.group, {"type": "number", "text": text_data})

    async def number(self, event: Any) -> None:
        await self.send(text_data=event["text"])


def stats() -> dict[str, int]:
    """Return the counters of this process, and what it has for consumers."""
    process = application._process_here()
    layer: Any = get_channel_layer()
    native = process._shared.get(ConsumerHost)
    tables = ("_channels", "_feeds", "_readers", "_groups", "_members", "_own")
    gc.collect()
    return {
        **application.stats(),
        "pid": os.getpid(),
        "dropped": layer.dropped,
        "in layer": sum(len(getattr(layer, name, ())) for name in tables),
        "consumers": sum(len(host._runs) for host in process._hosts.values())
        + (0 if native is None else len(native.runs)),
        "greenlets": sum(isinstance(o, greenlet.greenlet) and bool(o) for o in gc.get_objects()),
        "threads": sum(each.name.startswith("wsredis") for each in threading.enumerate()),
    }


def pages(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer plain HTTP: ``/stats``, ``/send/GROUP/TEXT`` and a page."""
    _, kind, *words = environ.get("PATH_INFO", "/").split("/")
    body = b"the page"
    if kind == "stats":
        body = json.dumps(stats()).encode()
    elif kind == "send":
        get_channel_layer().group_send(words[0], {"type": "number", "text": words[1]})
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = WebSocketMiddleware(
    pages,
    routes=[
        ("sync/<str:group>", Sync),
        ("shared/<str:group>", Shared),
        ("async/<str:group>", Async),
    ],
)
