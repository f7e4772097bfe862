"""The order of what a consumer sends and of what a shared handler sends for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from wsredis.consumers import WebsocketConsumer, shared
from wsredis.consumers import host as host_module
from wsredis.layers import InMemoryChannelLayer, configure_layers
from wsredis.layers.members import copier

from ..gate import Gate, page
from ..servers.support import SECONDS

SIZE = 600_000
"""Bytes of messages of which a send buffer does not take two."""


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
    (run,) = process._shared[host_module.ConsumerHost].runs
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


def test_a_shared_message_does_not_overtake_one_of_a_thread_of_the_consumer(gate: Gate) -> None:
    with gate.connect("/ws/") as ws:
        process, run = process_and_run(gate)

        def share(text: str) -> None:
            run.kind.deliver((run,), copier({"type": "price", "text": text}))

        def send_and_share() -> None:
            """Hold the loop while a thread sends, so that its message is on its way."""
            event = {"type": "websocket.send", "text": "second"}
            thread = threading.Thread(target=run.send, args=(event,))
            thread.start()
            thread.join(SECONDS)
            share("third")

        process.loop.run(share, "first")
        assert ws.recv(timeout=SECONDS) == "first"
        assert run.client is not None
        process.loop.run(send_and_share)
        assert [ws.recv(timeout=SECONDS), ws.recv(timeout=SECONDS)] == ["second", "third"]


def test_a_shared_message_does_not_overtake_one_that_waits_for_room(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "is_module_patched", lambda name: True)
    with gate.connect("/ws/", max_queue=1) as ws:
        process, run = process_and_run(gate)

        def share(text: str) -> None:
            run.kind.deliver((run,), copier({"type": "price", "text": text}))

        def send_and_share() -> int:
            """Send more than the client reads, as handlers of one event after the other do."""
            sent = 0
            while not run._endpoint._unsent:
                run._has_sent = False
                run.send({"type": "websocket.send", "text": chr(sent) * SIZE})
                sent += 1
            share("last")
            return sent

        process.loop.run(share, "first")
        assert ws.recv(timeout=SECONDS) == "first"
        assert run.client is not None
        for number in range(process.loop.run(send_and_share)):
            assert str(ws.recv(timeout=SECONDS))[0] == chr(number)
        assert ws.recv(timeout=SECONDS) == "last"
