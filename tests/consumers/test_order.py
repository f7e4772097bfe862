"""The order of what a consumer sends and of what a shared handler sends for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from wsredis.consumers import WebsocketConsumer, native, shared
from wsredis.layers import InMemoryChannelLayer, configure_layers
from wsredis.layers.members import copier

from ..gate import Gate, page
from ..servers.support import SECONDS

SIZE, COUNT = 600_000, 40
"""Bytes of messages, and their number, that neither the system nor a send buffer takes at once."""


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


def process_and_run(gate: Gate) -> tuple[Any, Any]:
    process = gate.middleware._process
    (run,) = process._shared[native.ConsumerHost].runs
    return process, run


def test_a_shared_message_does_not_overtake_one_that_a_thread_has_sent(gate: Gate) -> None:
    with gate.connect("/ws/") as ws:
        process, run = process_and_run(gate)

        def busy_loop() -> None:
            """Hold the loop until the handler has returned, so that its message is on its way."""
            run.on_event({"type": "plain", "text": "first"})
            until = time.monotonic() + SECONDS
            while run._scheduled and time.monotonic() < until:
                time.sleep(0.001)
            run.kind.deliver((run,), copier({"type": "price", "text": "second"}))

        process.loop.run(busy_loop)
        assert [ws.recv(timeout=SECONDS), ws.recv(timeout=SECONDS)] == ["first", "second"]


def test_a_shared_message_does_not_overtake_one_that_a_greenlet_has_sent(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "is_module_patched", lambda name: True)
    with gate.connect("/ws/", max_queue=1) as ws:
        process, run = process_and_run(gate)

        def share(text: str) -> None:
            run.kind.deliver((run,), copier({"type": "price", "text": text}))

        def send_and_share() -> None:
            """Send more than the client reads, in a greenlet that the consumer has started."""
            for number in range(COUNT):
                event = {"type": "websocket.send", "text": chr(number) * SIZE}
                gevent.spawn(run.send, event)
            gevent.sleep(0)
            share("last")

        process.loop.run(share, "first")
        assert ws.recv(timeout=SECONDS) == "first"
        assert run.client is not None
        process.loop.run(process.loop.spawn, send_and_share)
        for number in range(COUNT):
            assert str(ws.recv(timeout=SECONDS))[0] == chr(number)
        assert ws.recv(timeout=SECONDS) == "last"
