"""Consumers of wsredis, with all defaults; those that the benchmark compares with Channels.

The path selects one and is its group: `/bench` a synchronous consumer, `/async.bench` an
asynchronous one, `/shared.bench` one with a shared handler, and `/block` one whose handler blocks.
Below `/ws/` there is the pub/sub of wsredis.
"""

from __future__ import annotations

import threading
from typing import Any

from app import page

from wsredis import WebSocketMiddleware
from wsredis.consumers import AsyncWebsocketConsumer, WebsocketConsumer, shared

free = threading.Event()


class Subscriber(WebsocketConsumer):
    def connect(self) -> None:
        self.group_add(self.scope["path"][1:])
        self.accept()

    def bench_message(self, event: dict[str, Any]) -> None:
        self.send(text_data=event["text"])


class AsyncSubscriber(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.group_add(self.scope["path"][1:])
        await self.accept()

    async def bench_message(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


class SharedSubscriber(WebsocketConsumer):
    def connect(self) -> None:
        self.group_add(self.scope["path"][1:])
        self.accept()

    @shared
    @staticmethod
    def bench_message(event: dict[str, Any]) -> str:
        text: str = event["text"]
        return text


class Blocking(WebsocketConsumer):
    """A consumer that blocks on `block` until another one receives `free`."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "block":
            free.clear()
            self.send(text_data="blocks")
            free.wait()
        else:
            free.set()
        self.send(text_data="is free")


application = WebSocketMiddleware(
    page,
    routes=[
        ("bench", Subscriber),
        ("async.bench", AsyncSubscriber),
        ("shared.bench", SharedSubscriber),
        ("block", Blocking),
    ],
    allowed_channels=lambda request, requested: requested,
)
