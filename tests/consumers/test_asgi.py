"""Consumers as ASGI applications, with the communicator of Channels in place of a server."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wsredis.consumers import (
    AcceptConnection,
    AsyncConsumer,
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    DenyConnection,
    JsonWebsocketConsumer,
    StopConsumer,
    SyncConsumer,
    WebsocketConsumer,
    shared,
)
from wsredis.exceptions import MessagesLost
from wsredis.layers import InMemoryChannelLayer

from .communicator import WebsocketCommunicator

pytestmark = pytest.mark.usefixtures("layer")


@pytest.fixture(params=[True, False], ids=["asgiref", "no-asgiref"])
def has_asgiref(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Say whether asgiref is in use in the process, as with Django."""
    if not request.param:
        monkeypatch.delitem(sys.modules, "asgiref.sync")
    return bool(request.param)


class Sync(JsonWebsocketConsumer):
    groups = ("all",)

    def connect(self) -> None:
        match self.scope["path"]:
            case "/deny":
                raise DenyConnection
            case "/close":
                self.close()
            case "/raise":
                raise AcceptConnection
            case _:
                self.group_add("more")
                self.accept("chat", headers=[(b"x-name", b"value")])

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        match content:
            case "stop":
                raise StopConsumer
            case "close":
                self.send_json("last", close=4001)
            case "leave":
                self.group_discard("more")
                self.send_json("left")
            case "binary":
                self.send(bytes_data=b"\x00")
            case "name":
                self.send_json(self.channel_name)
            case _:
                self.group_send("more", {"type": "say", "content": content})

    def say(self, event: Any) -> None:
        self.send_json(event["content"])

    @shared
    @staticmethod
    def price(event: Any) -> str:
        return json.dumps(event["price"])


class Async(AsyncJsonWebsocketConsumer):
    groups = ("all",)

    async def connect(self) -> None:
        match self.scope["path"]:
            case "/deny":
                raise DenyConnection
            case "/close":
                await self.close()
            case "/raise":
                raise AcceptConnection
            case _:
                await self.group_add("more")
                await self.accept("chat", headers=[(b"x-name", b"value")])

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        match content:
            case "stop":
                raise StopConsumer
            case "close":
                await self.send_json("last", close=4001)
            case "leave":
                await self.group_discard("more")
                await self.send_json("left")
            case "binary":
                await self.send(bytes_data=b"\x00")
            case "name":
                await self.send_json(self.channel_name)
            case _:
                await self.group_send("more", {"type": "say", "content": content})

    async def say(self, event: Any) -> None:
        await self.send_json(event["content"])

    @shared
    @staticmethod
    def price(event: Any) -> str:
        return json.dumps(event["price"])


BOTH = pytest.mark.parametrize("consumer", [Sync, Async], ids=["sync", "async"])
Run = Callable[[WebsocketCommunicator], Awaitable[None]]


def run(consumer: Any, test: Run, path: str = "/room") -> None:
    async def main() -> None:
        communicator = WebsocketCommunicator(consumer.as_asgi(), path, subprotocols=["chat"])
        await test(communicator)
        if not communicator.future.done():
            await communicator.disconnect()

    asyncio.run(main())


@BOTH
def test_a_conversation(consumer: Any, has_asgiref: bool) -> None:
    async def test(communicator: WebsocketCommunicator) -> None:
        assert await communicator.connect() == (True, "chat")
        await communicator.send_json_to({"number": 1})
        assert await communicator.receive_json_from() == {"number": 1}
        await communicator.send_json_to("binary")
        assert await communicator.receive_from() == b"\x00"
        await communicator.send_json_to("leave")
        assert await communicator.receive_json_from() == "left"
        await communicator.send_json_to("not heard")
        await communicator.send_json_to("close")
        assert await communicator.receive_json_from() == "last"
        assert await communicator.receive_output() == {"type": "websocket.close", "code": 4001}

    run(consumer, test)


@BOTH
@pytest.mark.parametrize(
    ("path", "answer"),
    [("/deny", (False, 1000)), ("/close", (False, 1000)), ("/raise", (True, None))],
)
def test_answers(consumer: Any, path: str, answer: Any) -> None:
    async def test(communicator: WebsocketCommunicator) -> None:
        assert await communicator.connect() == answer

    run(consumer, test, path)


@BOTH
def test_events_of_the_layer(
    consumer: Any, layer: InMemoryChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(communicator: WebsocketCommunicator) -> None:
        await communicator.connect()
        await layer.group_send("all", {"type": "close"})
        await layer.group_send("all", {"type": "price", "price": 5})
        assert await communicator.receive_json_from() == 5
        await communicator.send_json_to("name")
        name = await communicator.receive_json_from()
        await layer.send(name, {"type": "say", "content": "only you"})
        assert await communicator.receive_json_from() == "only you"

    run(consumer, test)
    assert "an event of type 'close' was sent to a group or channel of" in caplog.text


@BOTH
def test_an_event_without_a_handler_raises(consumer: Any, layer: InMemoryChannelLayer) -> None:
    async def test(communicator: WebsocketCommunicator) -> None:
        await communicator.connect()
        await layer.group_send("all", {"type": "old.news"})
        with pytest.raises(ValueError, match="write the method old_news"):
            await communicator.wait()

    run(consumer, test)


@BOTH
@pytest.mark.parametrize(
    ("data", "code"), [({"text_data": "{"}, 1007), ({"bytes_data": b"{}"}, 1003)]
)
def test_what_is_not_json_closes_the_websocket(consumer: Any, data: Any, code: int) -> None:
    async def test(communicator: WebsocketCommunicator) -> None:
        await communicator.connect()
        await communicator.send_to(**data)
        assert (await communicator.receive_output())["code"] == code

    run(consumer, test)


@BOTH
def test_it_can_stop(consumer: Any) -> None:
    async def test(communicator: WebsocketCommunicator) -> None:
        await communicator.connect()
        await communicator.send_json_to("stop")
        await communicator.wait()

    run(consumer, test)


@BOTH
def test_it_leaves_its_groups(consumer: Any, layer: InMemoryChannelLayer) -> None:
    async def test(communicator: WebsocketCommunicator) -> None:
        await communicator.connect()
        assert layer._groups["all"]
        await communicator.disconnect()
        assert "all" not in layer._groups

    run(consumer, test)


class SyncEndless(SyncConsumer):
    """Handles its end as any other event."""

    ends: list[int]

    def websocket_connect(self, message: Any) -> None:
        self.send({"type": "websocket.accept"})

    def websocket_disconnect(self, message: Any) -> None:
        self.ends.append(message["code"])


class AsyncEndless(AsyncConsumer):
    """The same, asynchronous."""

    ends: list[int]

    async def websocket_connect(self, message: Any) -> None:
        await self.send({"type": "websocket.accept"})

    async def websocket_disconnect(self, message: Any) -> None:
        self.ends.append(message["code"])


@pytest.mark.parametrize("consumer", [SyncEndless, AsyncEndless], ids=["sync", "async"])
def test_it_ends_with_its_websocket(consumer: Any) -> None:
    """Without StopConsumer, too: a server may give the last event again and again."""
    consumer.ends = []
    events: list[Any] = [
        {"type": "websocket.connect"},
        *[{"type": "websocket.disconnect", "code": 1001}] * 3,
    ]

    async def receive() -> Any:
        return events.pop(0)

    async def send(event: Any) -> None:
        """Accept it."""

    asyncio.run(consumer.as_asgi()({"type": "websocket", "path": "/"}, receive, send))
    assert consumer.ends == [1001]


class SyncLate(WebsocketConsumer):
    """Sends to a client that has gone, and at the end; or fails in another way."""

    ends: list[int]

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "fail":
            raise ConnectionError("of another service")
        self.send("too late")

    def disconnect(self, code: int) -> None:
        self.ends.append(code)
        self.send("far too late")


class AsyncLate(AsyncWebsocketConsumer):
    """The same, asynchronous."""

    ends: list[int]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "fail":
            raise ConnectionError("of another service")
        await self.send("too late")

    async def disconnect(self, code: int) -> None:
        self.ends.append(code)
        await self.send("far too late")


@pytest.mark.parametrize("consumer", [SyncLate, AsyncLate], ids=["sync", "async"])
@pytest.mark.parametrize(("text", "ends"), [("send", [1001]), ("fail", [])])
def test_its_end_is_handled_although_it_sends_to_a_client_that_has_gone(
    consumer: Any, text: str, ends: list[int], has_asgiref: bool
) -> None:
    events: list[Any] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": text},
        {"type": "websocket.disconnect", "code": 1001},
    ]

    async def receive() -> Any:
        return events.pop(0) if len(events) > 1 else events[0]

    async def send(event: Any) -> None:
        if event["type"] == "websocket.send":
            raise OSError("the client has gone")

    consumer.ends = []
    with pytest.raises(OSError, match="the client has gone" if ends else "of another service"):
        asyncio.run(consumer.as_asgi()({"type": "websocket"}, receive, send))
    assert consumer.ends == ends


@BOTH
def test_a_gap_closes_the_websocket(consumer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = [MessagesLost("the link was lost")]
    receive = InMemoryChannelLayer.receive

    async def loses(self: Any, channel: str) -> Any:
        if lost:
            raise lost.pop()
        return await receive(self, channel)

    monkeypatch.setattr(InMemoryChannelLayer, "receive", loses)

    async def test(communicator: WebsocketCommunicator) -> None:
        await communicator.send_input({"type": "websocket.connect"})
        kinds = {(await communicator.receive_output())["type"] for _ in range(2)}
        assert kinds == {"websocket.accept", "websocket.close"}

    run(consumer, test)


@pytest.mark.parametrize("base", [WebsocketConsumer, AsyncWebsocketConsumer])
def test_a_class_as_an_application(base: Any) -> None:
    class Chat(base):  # type: ignore[misc]
        """The documentation."""

        def __init__(self, number: int = 0) -> None:
            self.number = number  # without super().__init__()

    app = Chat.as_asgi(number=5)
    assert (app.consumer_class, app.consumer_initkwargs) == (Chat, {"number": 5})
    assert (app.__name__, app.__doc__) == ("Chat", "The documentation.")

    async def main() -> None:
        communicator = WebsocketCommunicator(app, "/x")
        assert await communicator.connect() == (True, None)
        await communicator.send_to(text_data="ignored")
        await communicator.disconnect()

    asyncio.run(main())


def test_handlers_run_in_a_thread_of_asgiref_if_it_is_in_use(has_asgiref: bool) -> None:
    threads: list[str] = []

    class Chat(WebsocketConsumer):
        def connect(self) -> None:
            threads.append(threading.current_thread().name)
            self.accept()

    async def test(communicator: WebsocketCommunicator) -> None:
        assert await communicator.connect() == (True, None)

    run(Chat, test)
    (name,) = threads
    assert name != threading.main_thread().name
    assert name.startswith("asyncio_") is not has_asgiref
