"""picows: one Redis subscription, and `send()` to each socket of a channel."""

from __future__ import annotations

import asyncio
import os

import redis.asyncio
import uvloop
from picows import WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

channels: dict[str, set[WSTransport]] = {}
wanted: asyncio.Queue[str] = asyncio.Queue()


class Listener(WSListener):
    def __init__(self, names: list[str]) -> None:
        self.names = names

    def on_ws_connected(self, transport: WSTransport) -> None:
        for name in self.names:
            if name not in channels:
                channels[name] = set()
                wanted.put_nowait(name)
            channels[name].add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        for name in self.names:
            channels[name].discard(transport)


def listener(request: WSUpgradeRequest) -> Listener:
    return Listener(request.path.decode()[1:].split(","))


async def main() -> None:
    feed = redis.asyncio.Redis(port=int(os.environ["REDIS_PORT"])).pubsub()
    await feed.subscribe("-")  # a feed without subscriptions cannot be read

    async def subscribe() -> None:
        while True:
            await feed.subscribe(await wanted.get())

    task = asyncio.create_task(subscribe())
    port = int(os.environ["PORT"])
    await ws_create_server(listener, "127.0.0.1", port, backlog=4096, enable_auto_ping=True)
    async for message in feed.listen():
        if message["type"] == "message":
            for transport in channels.get(message["channel"].decode(), ()):
                transport.send(WSMsgType.TEXT, message["data"])
    await task


uvloop.run(main())
