"""`websockets`: one Redis subscription and `broadcast()` to the sockets of a channel."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import redis.asyncio
from websockets.asyncio.server import ServerConnection, broadcast, serve

channels: dict[str, set[ServerConnection]] = {}


async def main() -> None:
    redis_port = int(os.environ["REDIS_PORT"])
    feed = redis.asyncio.Redis(port=redis_port).pubsub()
    await feed.subscribe("-")  # a feed without subscriptions cannot be read

    # Publishers wait for a free connection; redis-py's default pool would raise an error.
    pool = redis.asyncio.BlockingConnectionPool(port=redis_port, max_connections=20, timeout=None)
    store = redis.asyncio.Redis(connection_pool=pool)

    async def handle(socket: ServerConnection) -> None:
        assert socket.request
        path = socket.request.path[1:]
        if path.startswith("publish-"):
            async for message in socket:
                await store.publish(path.removeprefix("publish-"), message)
            return
        names = path.split(",")
        for name in names:
            if name not in channels:
                channels[name] = set()
                await feed.subscribe(name)
            channels[name].add(socket)
        try:
            await socket.wait_closed()
        finally:
            for name in names:
                channels[name].discard(socket)

    async def deliver(message: dict[str, Any]) -> None:
        sockets = channels.get(message["channel"].decode(), ())
        broadcast(sockets, message["data"].decode())

    port = int(os.environ["PORT"])
    async with serve(handle, "127.0.0.1", port, backlog=4096):
        async for message in feed.listen():
            if message["type"] == "message":
                await deliver(message)


asyncio.run(main())
