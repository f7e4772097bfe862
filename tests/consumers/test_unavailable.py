"""Asynchronous consumers, and other hosted applications, whose channel layer is unavailable."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidStatus

from wsredis.consumers import AsyncWebsocketConsumer
from wsredis.exceptions import BrokerUnavailable
from wsredis.layers import InMemoryChannelLayer, configure_layers

from ..gate import Gate, page, status
from ..servers.support import closed


class Unavailable(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        if self.scope["path"] == "/ws/early":
            raise BrokerUnavailable("Redis at HOST:PORT: refused")
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        raise BrokerUnavailable("Redis at HOST:PORT: refused")


def test_its_client_is_asked_to_come_back(caplog: pytest.LogCaptureFixture) -> None:
    configure_layers({"default": InMemoryChannelLayer()})
    gate = Gate("threads", page, routes=[("ws/<str:word>", Unavailable)])
    try:
        with pytest.raises(InvalidStatus) as info, gate.connect("/ws/early"):
            pass
        assert status(info)[0] == 503
        with gate.connect("/ws/late") as ws:
            ws.send("x")
            assert closed(ws) == 1013
    finally:
        gate.stop()
        configure_layers(None)
    assert "cannot use its channel layer: Redis at HOST:PORT: refused" in caplog.text
    assert "Traceback" not in caplog.text
