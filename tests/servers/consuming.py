"""Consumers that behave in all possible ways; the path selects a class and a word for it.

``application`` runs them on a WSGI server, and ``routes`` is an ASGI application for uvicorn.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from wsredis import WebSocketMiddleware
from wsredis.consumers import (
    AsyncConsumer,
    AsyncWebsocketConsumer,
    DenyConnection,
    JsonWebsocketConsumer,
    StopConsumer,
    SyncConsumer,
    WebsocketConsumer,
    shared,
)
from wsredis.consumers.routing import URLRouter
from wsredis.layers import get_channel_layer

SECRET = "the session store has a secret problem"

ended: dict[str, list[int]] = {}
"""The close codes that the consumers of each word have been given."""


class Chat(WebsocketConsumer):
    """A member of a group, which is named as the others of Channels do it."""

    def connect(self) -> None:
        self.word = self.scope["url_route"]["kwargs"]["word"]
        self.channel_layer.group_add(self.word, self.channel_name)
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if bytes_data is not None:
            self.send(bytes_data=bytes_data)
        elif text_data == "name":
            self.send(self.channel_name)
        else:
            self.group_send(self.word, {"type": "chat.message", "text": text_data})

    def chat_message(self, event: Any) -> None:
        self.send(text_data=event["text"])

    @shared
    @staticmethod
    def price(event: Any) -> str:
        return f"price {event['price']}"

    def disconnect(self, code: int) -> None:
        ended.setdefault(self.word, []).append(code)


class AsyncChat(AsyncWebsocketConsumer):
    """The same, asynchronous."""

    async def connect(self) -> None:
        self.word = self.scope["url_route"]["kwargs"]["word"]
        await self.group_add(self.word)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if bytes_data is not None:
            await self.send(bytes_data=bytes_data)
        elif text_data == "name":
            await self.send(self.channel_name)
        else:
            await self.group_send(self.word, {"type": "chat.message", "text": text_data})

    async def chat_message(self, event: Any) -> None:
        await self.send(text_data=event["text"])

    @shared
    @staticmethod
    def price(event: Any) -> str:
        return f"price {event['price']}"

    async def disconnect(self, code: int) -> None:
        ended.setdefault(self.word, []).append(code)


class Early(WebsocketConsumer):
    """Sends an event to its group before it accepts."""

    def connect(self) -> None:
        word = self.scope["url_route"]["kwargs"]["word"]
        self.group_add(word)
        self.group_send(word, {"type": "chat.message", "text": "early"})
        self.accept()

    def chat_message(self, event: Any) -> None:
        self.send(text_data=event["text"])


class AsyncEarly(AsyncWebsocketConsumer):
    """The same, asynchronous."""

    async def connect(self) -> None:
        word = self.scope["url_route"]["kwargs"]["word"]
        await self.group_add(word)
        await self.group_send(word, {"type": "chat.message", "text": "early"})
        await self.accept()

    async def chat_message(self, event: Any) -> None:
        await self.send(text_data=event["text"])


PAYMENT = (
    {"type": "websocket.http.response.start", "status": 402, "headers": [(b"x-name", b"value")]},
    {"type": "websocket.http.response.body", "body": b"pay "},
    {"type": "websocket.http.response.body", "body": b"first"},
)
"""A refusal with a response of the consumer."""


class Payment(SyncConsumer):
    """Refuses with 402."""

    def websocket_connect(self, message: Any) -> None:
        for event in PAYMENT:
            self.send({**event, "more_body": event.get("body") == b"pay "})

    def websocket_disconnect(self, message: Any) -> None:
        raise StopConsumer


class AsyncPayment(AsyncConsumer):
    """The same, asynchronous."""

    async def websocket_connect(self, message: Any) -> None:
        for event in PAYMENT:
            await self.send({**event, "more_body": event.get("body") == b"pay "})

    async def websocket_disconnect(self, message: Any) -> None:
        raise StopConsumer


class Last(WebsocketConsumer):
    """Needs some time for its end, of which it leaves the close code in a file."""

    def disconnect(self, code: int) -> None:
        time.sleep(0.2)
        Path(self.scope["query_string"].decode()).write_text(str(code))


class AsyncLast(AsyncWebsocketConsumer):
    """The same, asynchronous."""

    async def disconnect(self, code: int) -> None:
        await asyncio.sleep(0.2)
        Path(self.scope["query_string"].decode()).write_text(str(code))


class Acts(JsonWebsocketConsumer):
    """Does what the path says in `connect`, and what a message says later."""

    def connect(self) -> None:
        self.word = self.scope["url_route"]["kwargs"]["word"].partition("-")[2]
        self.act(self.scope["url_route"]["kwargs"]["word"].partition("-")[0])

    def disconnect(self, code: int) -> None:
        ended.setdefault(self.word, []).append(code)

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        self.act(content)

    def act(self, word: str) -> None:
        match word:
            case "deny":
                raise DenyConnection
            case "raise":
                raise LookupError(SECRET)
            case "stop":
                raise StopConsumer
            case "exit":
                raise SystemExit(SECRET)
            case "close":
                self.close(4001, "bye")
            case "last":
                self.accept()
                self.close(4001, "bye")
            case "after":
                self.close(4001, "bye")
                self.send("late")
            case "unknown":
                self.accept("not-offered")
            case "silent":
                """Say nothing."""
            case "block":
                self.accept()
                self.send("blocked")
                time.sleep(0.3)
                self.send("free")
            case "early":
                self.send("too early")
            case "pour":
                for number in range(100):
                    self.send(bytes_data=bytes([number]) * 100_000)
                self.send("all")
            case "surrogate":
                self.send("\ud800")
            case _:
                self.accept(self.scope["subprotocols"][0] if self.scope["subprotocols"] else None)


ROUTES = [
    ("ws/chat/<str:word>", Chat),
    ("ws/async/<str:word>", AsyncChat),
    ("ws/acts/<str:word>", Acts),
    ("ws/early/<str:word>", Early),
    ("ws/async-early/<str:word>", AsyncEarly),
    ("ws/payment", Payment),
    ("ws/async-payment", AsyncPayment),
    ("ws/last", Last),
    ("ws/async-last", AsyncLast),
]

routes = URLRouter(ROUTES)


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer as `application` does, on an ASGI server."""
    if scope["type"] == "http":
        status, body = await asyncio.to_thread(page, scope["path"])
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})
    elif scope["type"] == "websocket":
        await routes(scope, receive, send)


def page(path: str) -> tuple[int, bytes]:
    """Return a page: ``/ended/WORD``, or ``/push/WORD/TEXT``, or any other."""
    _, kind, *words = path.split("/")
    if kind == "ended":
        return 200, json.dumps(ended.get(words[0], [])).encode()
    if kind == "push":
        event = {"type": "chat.message", "text": words[1]}
        get_channel_layer().group_send(words[0], event)
    if kind == "bad":
        get_channel_layer().group_send(words[0], {"type": "chat.message"})
    if kind == "price":
        get_channel_layer().group_send(words[0], {"type": "price", "price": 5})
    return 200, b"the page"


def pages(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer plain HTTP."""
    status, body = page(environ.get("PATH_INFO", ""))
    start_response(f"{status} OK", [("Content-Type", "text/plain")])
    return [body]


application = WebSocketMiddleware(pages, routes=ROUTES)
