"""The consumer of a chat room: a class with a method for each event of a websocket."""

import time
from typing import Any

from wsredis.consumers import JsonWebsocketConsumer, shared

MAX_NAME = 24
MAX_TEXT = 2000
"""Maximum lengths, in characters."""


class ChatConsumer(JsonWebsocketConsumer):
    """A member of a room."""

    def connect(self) -> None:
        self.group = f"chat.{self.scope['url_route']['kwargs']['room']}"
        self.group_add(self.group)
        self.accept()

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        if event := event_from(content, self.scope["user"]):
            self.group_send(self.group, event)

    @shared  # called once for all members: they get the same message
    @classmethod
    def chat_message(cls, event: dict[str, Any]) -> str:
        return cls.encode_json(event)


def event_from(content: Any, user: Any) -> dict[str, Any] | None:
    """Return the event for a group, made from what a page has sent; None if there is no text.

    Its type is fixed, because it selects the method of the consumer that is called. A user who is
    logged in cannot choose another name.
    """
    fields = content if isinstance(content, dict) else {}
    text = str(fields.get("text", "")).strip()[:MAX_TEXT]
    name = user.get_username() or str(fields.get("from", "")).strip()[:MAX_NAME] or "guest"
    at = int(time.time() * 1000)
    return {"type": "chat.message", "from": name, "text": text, "at": at} if text else None
