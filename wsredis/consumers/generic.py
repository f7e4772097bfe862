"""Consumers with methods for the stages of a websocket: connect, receive, disconnect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..protocol.closing import INVALID_JSON, JSON_ONLY
from .base import AsyncConsumer, SyncConsumer
from .events import Event, Headers, accept_event, close_event, message_event, received_data
from .exceptions import AcceptConnection, DenyConnection, InvalidMessage, StopConsumer

__all__ = [
    "AsyncJsonWebsocketConsumer",
    "AsyncWebsocketConsumer",
    "JsonWebsocketConsumer",
    "WebsocketConsumer",
]


class WebsocketConsumer(SyncConsumer):
    """A consumer for one websocket.

    Attributes:
        groups: groups that it is a member of from before `connect` until the end.
    """

    groups: Sequence[str] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.groups is None:
            self.groups = []

    def websocket_connect(self, message: Event) -> None:
        """Join the groups, and answer the handshake with `connect`."""
        for group in self.groups or ():
            self.group_add(group)
        try:
            self.connect()
        except AcceptConnection:
            self.accept()
        except DenyConnection:
            self.close()

    def connect(self) -> None:
        """Answer the handshake with `accept` or `close`; accept it by default."""
        self.accept()

    def accept(self, subprotocol: str | None = None, headers: Headers | None = None) -> None:
        """Open the websocket.

        Args:
            subprotocol: one of those that the client offers (``scope["subprotocols"]``).
            headers: additional headers of the response.
        """
        super().send(accept_event(subprotocol, headers))

    def websocket_receive(self, message: Event) -> None:
        """Handle a message of the client with `receive`."""
        self.receive(**received_data(message))

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle a message of the client: text or bytes."""

    def send(
        self,
        text_data: Any = None,
        bytes_data: bytes | None = None,
        close: bool | int = False,
    ) -> None:
        """Send a message to the client.

        Args:
            text_data: a text message.
            bytes_data: a binary message, if there is no text.
            close: True, or a close code, to close the websocket afterwards.

        Raises:
            OSError: the client has gone.
            RuntimeError: the websocket is not open.
            ValueError: there is no message, or one of the wrong type.
        """
        super().send(message_event(text_data, bytes_data))
        if close:
            self.close(close)

    def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the websocket, or refuse the handshake with 403.

        Args:
            code: the close code; 1000 by default.
            reason: the close reason.
        """
        super().send(close_event(code, reason))

    def websocket_disconnect(self, message: Event) -> None:
        """Leave the groups, and call `disconnect`."""
        for group in self.groups or ():
            self.group_discard(group)
        self.disconnect(message["code"])
        raise StopConsumer

    def disconnect(self, code: int) -> None:
        """Handle the end of the websocket, also of one that was never accepted.

        Args:
            code: the close code.
        """


class JsonWebsocketConsumer(WebsocketConsumer):
    """A consumer whose messages are JSON texts."""

    def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """Decode a message and handle it with `receive_json`.

        Raises:
            InvalidMessage: it is not JSON.
        """
        self.receive_json(_decoded(self.decode_json, text_data, bytes_data), **kwargs)

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Handle the decoded message of the client."""

    def send_json(self, content: Any, close: bool | int = False) -> None:
        """Encode a value and send it to the client; ``close`` is that of `send`."""
        self.send(text_data=self.encode_json(content), close=close)

    @classmethod
    def decode_json(cls, text_data: str) -> Any:
        """Return the value of a JSON text."""
        return json.loads(text_data)

    @classmethod
    def encode_json(cls, content: Any) -> str:
        """Return the JSON text of a value."""
        return json.dumps(content)


class AsyncWebsocketConsumer(AsyncConsumer):
    """An asynchronous consumer for one websocket; its methods are those of `WebsocketConsumer`.

    Attributes:
        groups: groups that it is a member of from before `connect` until the end.
    """

    groups: Sequence[str] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.groups is None:
            self.groups = []

    async def websocket_connect(self, message: Event) -> None:
        """Join the groups, and answer the handshake with `connect`."""
        for group in self.groups or ():
            await self.group_add(group)
        try:
            await self.connect()
        except AcceptConnection:
            await self.accept()
        except DenyConnection:
            await self.close()

    async def connect(self) -> None:
        """Answer the handshake with `accept` or `close`; accept it by default."""
        await self.accept()

    async def accept(self, subprotocol: str | None = None, headers: Headers | None = None) -> None:
        """Open the websocket; see `WebsocketConsumer.accept`."""
        await super().send(accept_event(subprotocol, headers))

    async def websocket_receive(self, message: Event) -> None:
        """Handle a message of the client with `receive`."""
        await self.receive(**received_data(message))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle a message of the client: text or bytes."""

    async def send(
        self,
        text_data: Any = None,
        bytes_data: bytes | None = None,
        close: bool | int = False,
    ) -> None:
        """Send a message to the client; see `WebsocketConsumer.send`."""
        await super().send(message_event(text_data, bytes_data))
        if close:
            await self.close(close)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the websocket, or refuse the handshake; see `WebsocketConsumer.close`."""
        await super().send(close_event(code, reason))

    async def websocket_disconnect(self, message: Event) -> None:
        """Leave the groups, and call `disconnect`."""
        for group in self.groups or ():
            await self.group_discard(group)
        await self.disconnect(message["code"])
        raise StopConsumer

    async def disconnect(self, code: int) -> None:
        """Handle the end of the websocket, also of one that was never accepted."""


class AsyncJsonWebsocketConsumer(AsyncWebsocketConsumer):
    """An asynchronous consumer whose messages are JSON texts."""

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """Decode a message and handle it with `receive_json`.

        Raises:
            InvalidMessage: it is not JSON.
        """
        try:
            content = await self.decode_json(_text(text_data, bytes_data))
        except (ValueError, RecursionError) as exc:
            raise _invalid(exc) from exc
        await self.receive_json(content, **kwargs)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Handle the decoded message of the client."""

    async def send_json(self, content: Any, close: bool | int = False) -> None:
        """Encode a value and send it to the client; ``close`` is that of `send`."""
        await self.send(text_data=await self.encode_json(content), close=close)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        """Return the value of a JSON text."""
        return json.loads(text_data)

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        """Return the JSON text of a value."""
        return json.dumps(content)


# JSON


def _text(text_data: str | None, bytes_data: bytes | None) -> str:
    if text_data is None:
        raise InvalidMessage("the message is binary, not JSON", JSON_ONLY.code, JSON_ONLY.reason)
    return text_data


def _decoded(decode: Any, text_data: str | None, bytes_data: bytes | None) -> Any:
    text = _text(text_data, bytes_data)
    try:
        return decode(text)
    except (ValueError, RecursionError) as exc:
        raise _invalid(exc) from exc


def _invalid(exc: Exception) -> InvalidMessage:
    if isinstance(exc, InvalidMessage):
        return exc
    return InvalidMessage(f"the message is not JSON: {exc}", INVALID_JSON.code, INVALID_JSON.reason)
