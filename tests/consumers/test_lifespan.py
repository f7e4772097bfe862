"""The lifespan scope of an ASGI server, which asks each application for its startup."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wsredis.consumers import AsyncWebsocketConsumer, WebsocketConsumer
from wsredis.layers import InMemoryChannelLayer, configure_layers


@pytest.mark.parametrize("consumer", [WebsocketConsumer, AsyncWebsocketConsumer])
def test_no_channel_is_opened_for_a_server_that_starts(consumer: Any) -> None:
    opened = []

    class Layer(InMemoryChannelLayer):
        async def new_channel(self, prefix: str = "specific") -> str:  # type: ignore[override]
            opened.append(prefix)
            return "specific.inmemory!1"

    async def never() -> Any:
        raise AssertionError("nothing is received or sent")

    configure_layers({"default": Layer()})
    try:
        with pytest.raises(ValueError, match="lifespan"):
            asyncio.run(consumer.as_asgi()({"type": "lifespan"}, never, never))
    finally:
        configure_layers(None)
    assert opened == []
