"""Consumers with named events, as in Socket.IO."""

from secrets import token_hex
from typing import Any

from wsredis.consumers import JsonWebsocketConsumer


class EventConsumer(JsonWebsocketConsumer):
    """A consumer whose clients send ``[name, data]``, or ``[name, data, number]`` for an answer.

    The method ``on_NAME`` handles an event. What it returns is the answer, which is sent as
    ``["ack", answer, number]``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sid = token_hex(8)

    def receive_json(self, content: Any) -> None:
        name, data, *number = content
        answer = getattr(self, f"on_{name}")(data)
        if number:
            self.send_json(["ack", answer, *number])

    def emit(self, name: str, data: Any, to: str | None = None, include_self: bool = True) -> None:
        """Send an event to this client, or to the members of a group."""
        if to is None:
            self.send_json([name, data])
        else:
            skip = None if include_self else self.sid
            event = {"type": "room.event", "name": name, "data": data, "skip": skip}
            self.group_send(to, event)

    def room_event(self, event: dict[str, Any]) -> None:
        if event["skip"] != self.sid:
            self.send_json([event["name"], event["data"]])
