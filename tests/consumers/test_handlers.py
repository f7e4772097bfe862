"""Which method handles an event, and what is wrong with a class."""

from __future__ import annotations

from typing import Any

import pytest

from wsredis.consumers import (
    AsyncConsumer,
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    SyncConsumer,
    WebsocketConsumer,
    shared,
)
from wsredis.consumers.exceptions import UnknownEvent
from wsredis.consumers.handlers import handler_name


@pytest.mark.parametrize(
    ("event", "name"),
    [({"type": "chat.message"}, "chat_message"), ({"type": "a.b.c_d"}, "a_b_c_d")],
)
def test_the_name_of_a_handler(event: Any, name: str) -> None:
    assert handler_name(event) == name


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({}, "needs a type"),
        ({"text": "x"}, r"has the keys \['text'\]"),
        ({"type": 5}, "must be a str, not 5"),
        ({"type": None}, "must be a str, not None"),
        ({"type": ""}, "is empty"),
        ({"type": "_private"}, "begins with an underscore"),
        ({"type": ".x"}, "begins with an underscore or a period"),
    ],
)
def test_events_without_a_valid_type(event: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        handler_name(event)


@pytest.mark.parametrize(
    "base", [SyncConsumer, WebsocketConsumer, JsonWebsocketConsumer], ids=lambda base: base.__name__
)
@pytest.mark.parametrize("name", ["connect", "receive", "disconnect", "websocket_receive"])
def test_an_async_handler_in_a_synchronous_consumer_is_an_error(base: Any, name: str) -> None:
    async def handler(self: Any) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match=f"Chat.{name} must be a plain function, as Chat is no sub"):
        type("Chat", (base,), {name: handler})


@pytest.mark.parametrize(
    "base",
    [AsyncConsumer, AsyncWebsocketConsumer, AsyncJsonWebsocketConsumer],
    ids=lambda base: base.__name__,
)
@pytest.mark.parametrize("name", ["connect", "receive", "disconnect", "websocket_receive"])
def test_a_plain_handler_in_an_asynchronous_consumer_is_an_error(base: Any, name: str) -> None:
    def handler(self: Any) -> None:
        """Do nothing."""

    with pytest.raises(TypeError, match=f"Chat.{name} must be an async function, as Chat is a sub"):
        type("Chat", (base,), {name: handler})


def test_a_method_that_takes_an_event_is_a_handler() -> None:
    with pytest.raises(TypeError, match=r"Chat\.chat_message must be a plain function"):

        class Chat(WebsocketConsumer):
            async def chat_message(self, event: Any) -> None:
                """Do nothing."""

    class Helpers(WebsocketConsumer):
        async def load(self, number: int) -> None:
            """Do nothing: this is no handler."""

    assert Helpers.handlers


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("websocket_received", "websocket_receive"),
        ("websocket_closed", "websocket_"),
        ("receceive_json", "receive_json"),
        ("recieve", "receive"),
        ("on_connect", "connect"),
        ("connected", "connect"),
        ("disconnected", "disconnect"),
    ],
)
def test_a_method_that_looks_like_a_handler_is_warned_of(
    caplog: pytest.LogCaptureFixture, name: str, meant: str
) -> None:
    type("Chat", (WebsocketConsumer,), {name: lambda self: None})
    assert f"Chat.{name} is never called by a websocket: did you mean {meant}" in caplog.text


@pytest.mark.parametrize("name", ["chat_message", "user_joined", "load", "room_name", "respond"])
def test_other_methods_are_not_warned_of(caplog: pytest.LogCaptureFixture, name: str) -> None:
    type("Chat", (WebsocketConsumer,), {name: lambda self, event: None})
    assert caplog.text == ""


def test_shared_needs_a_static_or_class_method() -> None:
    def price(event: Any) -> str:
        return "5"

    async def waits(event: Any) -> str:
        return "5"

    with pytest.raises(TypeError, match="write @shared above @staticmethod"):
        shared(price)
    with pytest.raises(TypeError, match="must not be async"):
        shared(staticmethod(waits))


def test_what_a_layer_may_send(caplog: pytest.LogCaptureFixture) -> None:
    class Chat(JsonWebsocketConsumer):
        number = 5

        def chat_message(self, event: Any) -> None:
            """Do nothing."""

    refuses, find = Chat.handlers.refuses, Chat.handlers.find
    assert not refuses({"type": "websocket.receive", "text": "a"})
    assert not refuses({"type": "websocket.receive", "text": None, "bytes": b"a"})
    assert not refuses({"type": "chat.message"})
    assert find({"type": "chat.message"}) == ("chat_message", False)
    for name in (
        *("send", "close", "accept", "send_json", "dispatch", "as_asgi", "group_add", "groups"),
        *("connect", "disconnect", "receive", "websocket.connect", "websocket.disconnect"),
        *("channel_layer", "scope", "handlers", "channel_name"),
    ):
        assert refuses({"type": name}), name
    for name in ("number", "mro"):  # the second is a method of the class, not of its objects
        assert not refuses({"type": name})
        with pytest.raises(ValueError, match=f"Chat has no handler for events of type '{name}'"):
            find({"type": name})
    (record,) = caplog.records  # once a minute
    assert "an event of type 'send' was sent to a group or channel of" in record.getMessage()


@pytest.mark.parametrize("event", [{}, {"text": 1, "bytes": b"a"}, {"bytes": "a"}, {"text": None}])
def test_a_layer_may_not_send_a_message_without_text_and_bytes(
    event: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert WebsocketConsumer.handlers.refuses({"type": "websocket.receive", **event})
    assert "without a message, and is ignored: give it a str as 'text', or" in caplog.text


def test_names_that_begin_with_an_underscore_are_free_for_users() -> None:
    """The documentation advises them for methods that no event may call."""
    for base in (WebsocketConsumer, JsonWebsocketConsumer, AsyncJsonWebsocketConsumer):
        private = {
            name
            for each in base.__mro__[:-1]
            for name in (*vars(each), *vars(each).get("__annotations__", ()))
            if name[0] == "_" and not name.endswith("__")
        }
        assert private
        assert all(name.startswith("_wsredis_") for name in private), private


def test_a_type_cannot_break_a_line_of_the_log() -> None:
    class Chat(WebsocketConsumer):
        pass

    with pytest.raises(UnknownEvent) as caught:
        Chat.handlers.find({"type": "old\nnews"})
    assert r"write the method old\nnews." in str(caught.value)
