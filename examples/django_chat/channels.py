"""What a browser may ask for, and what is done with what it sends."""

import json
import time
from typing import Any
from uuid import uuid4

from wsredis import PubSubEndpoint

MAX_TEXT = 2000
"""Characters of one message."""


def allowed_channels(request: Any, requested: tuple[str, ...]) -> list[str]:
    """Let everybody listen, and let those who have logged in speak to everybody in the hall.

    To one person or to a group one writes by a view: only there it is known to whom.
    """
    allowed = [key for key in requested if key.startswith("subscribe-")]
    if request.user.is_authenticated and request.path_info == "/ws/hall":
        allowed.append("publish-broadcast")
    return allowed


def signed(name: str, text: str, **more: str) -> dict[str, object]:
    """Return a message as the pages understand it; who wrote it the server says, not the browser.

    By its ``id`` a page knows a message that it has already got, as after a reconnect.
    """
    return {"id": uuid4().hex, "from": name, "text": text, "at": int(time.time() * 1000), **more}


class SignedEndpoint(PubSubEndpoint):
    """Publish what a socket sends under the name of its user."""

    __slots__ = ("_name",)

    def __init__(self, request: Any, context: Any) -> None:
        super().__init__(request, context)
        self._name = request.identity.user

    def received(self, connection: Any, message: Any) -> None:
        text = message.strip()[:MAX_TEXT]
        if text:
            super().received(connection, json.dumps(signed(self._name, text)))
