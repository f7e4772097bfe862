"""The consumers of a chat room: an asynchronous one and a synchronous one, with the same messages.

Both join the same group, so that the pages of a room see each other with either.
"""

import time
from typing import Any

from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer

MAX_NAME = 24
MAX_TEXT = 2000
"""Maximum lengths, in characters."""


def event_from(content: Any, user: Any) -> dict[str, Any] | None:
    """Return the event for a group, made from what a page has sent; None if there is no text.

    Its type is fixed, because it selects the method of the consumer that is called. A user who is
    logged in cannot choose another name.
    """
    fields = content if isinstance(content, dict) else {}
    text = str(fields.get("text", "")).strip()[:MAX_TEXT]
    name = user.username or str(fields.get("from", "")).strip()[:MAX_NAME] or "guest"
    at = int(time.time() * 1000)
    return {"type": "chat.message", "from": name, "text": text, "at": at} if text else None


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """A member of a room."""

    async def connect(self) -> None:
        self.group = f"chat.{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        if event := event_from(content, self.scope["user"]):
            await self.channel_layer.group_send(self.group, event)

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send_json(event)


class SyncChatConsumer(JsonWebsocketConsumer):
    """A member of a room, in synchronous code."""

    def connect(self) -> None:
        self.group = f"chat.{self.scope['url_route']['kwargs']['room']}"
        async_to_sync(self.channel_layer.group_add)(self.group, self.channel_name)
        self.accept()

    def disconnect(self, code: int) -> None:
        async_to_sync(self.channel_layer.group_discard)(self.group, self.channel_name)

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        if event := event_from(content, self.scope["user"]):
            async_to_sync(self.channel_layer.group_send)(self.group, event)

    def chat_message(self, event: dict[str, Any]) -> None:
        self.send_json(event)
