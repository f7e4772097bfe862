"""The channels that a browser is granted, and the endpoint that publishes its messages."""

import json
import time
from typing import Any
from uuid import uuid4

from wsredis import PubSubEndpoint

MAX_TEXT = 2000
"""The maximum length of a message, in characters."""


def allowed_channels(request: Any, requested: tuple[str, ...]) -> list[str]:
    """Let all clients subscribe, and let logged-in users publish in the hall.

    Messages to a user or to a group are published by a view, which knows the recipient.
    """
    allowed = [key for key in requested if key.startswith("subscribe-")]
    if request.user.is_authenticated and request.path_info == "/ws/hall":
        allowed.append("publish-broadcast")
    return allowed


def signed(name: str, text: str, **more: str) -> dict[str, object]:
    """Return a message for the pages, whose sender's name comes from the server, not the browser.

    By its ``id`` a page recognizes a message that it already has, for instance after a reconnect.
    """
    return {"id": uuid4().hex, "from": name, "text": text, "at": int(time.time() * 1000), **more}


class SignedEndpoint(PubSubEndpoint):
    """An endpoint that publishes a websocket's messages under the name of its user."""

    __slots__ = ("_name",)

    def __init__(self, request: Any, context: Any) -> None:
        super().__init__(request, context)
        self._name = request.identity.user

    def received(self, connection: Any, message: Any) -> None:
        text = message.strip()[:MAX_TEXT]
        if text:
            super().received(connection, json.dumps(signed(self._name, text)))
