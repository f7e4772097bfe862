"""ASGI applications that forward the messages of groups: two consumers of Channels, and a bare one.

The path selects one: `/bench` joins the group of that name with an asynchronous consumer,
`/sync.bench` and `/bare.bench` with the others. The variable CHANNEL_LAYER chooses the layer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import django
from django.conf import settings

BACKENDS = {
    "channels_redis": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [("127.0.0.1", int(os.environ["REDIS_PORT"]))]},
    },
    "wsredis": {"BACKEND": "wsredis.layers.RedisChannelLayer"},  # of the option `redis`
}

settings.configure(
    SECRET_KEY="not used",
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": BACKENDS[os.environ["CHANNEL_LAYER"]]},
)
django.setup()

import asyncio  # noqa: E402

from asgiref.sync import async_to_sync  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402


class Subscriber(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.names = self.scope["path"][1:].split(",")
        for name in self.names:
            await self.channel_layer.group_add(name, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        for name in self.names:
            await self.channel_layer.group_discard(name, self.channel_name)

    async def bench_message(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


class SyncSubscriber(WebsocketConsumer):
    def connect(self) -> None:
        self.names = self.scope["path"][1:].split(",")
        for name in self.names:
            async_to_sync(self.channel_layer.group_add)(name, self.channel_name)
        self.accept()

    def disconnect(self, code: int) -> None:
        for name in self.names:
            async_to_sync(self.channel_layer.group_discard)(name, self.channel_name)

    def bench_message(self, event: dict[str, Any]) -> None:
        self.send(text_data=event["text"])


async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Forward the messages without any class of Channels."""
    layer: Any = get_channel_layer()
    channel = await layer.new_channel()
    names = scope["path"][1:].split(",")
    for name in names:
        await layer.group_add(name, channel)
    await receive()
    await send({"type": "websocket.accept"})

    async def forward() -> None:
        while True:
            event = await layer.receive(channel)
            await send({"type": "websocket.send", "text": event["text"]})

    task = asyncio.create_task(forward())
    while (await receive())["type"] != "websocket.disconnect":
        pass
    task.cancel()
    with suppress(asyncio.CancelledError, OSError):  # OSError: sent after the client has gone
        await task
    for name in names:
        await layer.group_discard(name, channel)


consumers = {"": Subscriber.as_asgi(), "sync": SyncSubscriber.as_asgi(), "bare": bare}


async def selected(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await consumers[scope["path"][1:].rpartition(".")[0]](scope, receive, send)


application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": AllowedHostsOriginValidator(selected)}
)
