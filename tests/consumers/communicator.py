"""A communicator for the ASGI websocket protocol."""

from __future__ import annotations

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator


class WebsocketCommunicator(ApplicationCommunicator):
    """The server's side of a websocket."""

    def __init__(self, app: Any, path: str, subprotocols: Any = ()) -> None:
        scope = {"type": "websocket", "path": path, "subprotocols": list(subprotocols)}
        super().__init__(app, scope)

    async def connect(self) -> tuple[bool, Any]:
        await self.send_input({"type": "websocket.connect"})
        answer = await self.receive_output(5)
        if answer["type"] == "websocket.close":
            return False, answer.get("code", 1000)
        return True, answer["subprotocol"]

    async def send_to(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        event = {"type": "websocket.receive", "text": text_data, "bytes": bytes_data}
        await self.send_input(event)

    async def send_json_to(self, value: Any) -> None:
        await self.send_to(json.dumps(value))

    async def receive_from(self) -> Any:
        answer = await self.receive_output(5)
        assert answer["type"] == "websocket.send", answer
        return answer.get("text", answer.get("bytes"))

    async def receive_json_from(self) -> Any:
        return json.loads(await self.receive_from())

    async def disconnect(self, code: int = 1000) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": code})
        await self.wait(5)
