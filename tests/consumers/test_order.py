"""The order of what a consumer sends and of what a shared handler sends for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from wsredis.consumers import WebsocketConsumer, native, shared
from wsredis.layers import InMemoryChannelLayer, configure_layers
from wsredis.layers.members import copier

from ..gate import Gate, page
from ..servers.support import SECONDS


class Both(WebsocketConsumer):
    groups = ("all",)

    def plain(self, event: Any) -> None:
        self.send(text_data=event["text"])

    @shared
    @staticmethod
    def price(event: Any) -> str:
        text: str = event["text"]
        return text


@pytest.fixture
def gate() -> Iterator[Gate]:
    configure_layers({"default": InMemoryChannelLayer()})
    gate = Gate("threads", page, routes=[("ws/", Both)])
    yield gate
    gate.stop()
    configure_layers(None)


def test_a_shared_message_does_not_overtake_one_that_a_thread_has_sent(gate: Gate) -> None:
    with gate.connect("/ws/") as ws:
        process = gate.middleware._process
        host = process._shared[native.ConsumerHost]
        (run,) = host.runs

        def busy_loop() -> None:
            """Hold the loop until the handler has returned, so that its message is on its way."""
            run.on_event({"type": "plain", "text": "first"})
            until = time.monotonic() + SECONDS
            while run._scheduled and time.monotonic() < until:
                time.sleep(0.001)
            run.kind.deliver((run,), copier({"type": "price", "text": "second"}))

        process.loop.run(busy_loop)
        assert [ws.recv(timeout=SECONDS), ws.recv(timeout=SECONDS)] == ["first", "second"]
