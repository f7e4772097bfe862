"""A shared handler in a group that is so large that its members get an event in steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from wsredis.config import Config, sources
from wsredis.consumers import WebsocketConsumer, shared
from wsredis.hub import steps
from wsredis.hub.dispatch import Dispatch
from wsredis.layers import RedisChannelLayer, configure_layers, get_channel_layer

from ..gate import Gate, page
from ..servers.support import SECONDS, closed


class Prices(WebsocketConsumer):
    groups = ("all",)
    calls: list[Any]
    error: type[BaseException] = LookupError

    @shared
    @classmethod
    def price(cls, event: Any) -> Any:
        cls.calls.append(event["price"])
        if not event["price"]:
            raise cls.error
        return event["price"]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, own_redis: Any) -> Iterator[Gate]:
    monkeypatch.setattr(steps, "STEP", 1)
    monkeypatch.setattr(sources, "_current", Config(redis=own_redis.url))
    Prices.calls = []
    configure_layers({"default": RedisChannelLayer(serializer_format="json")})
    gate = Gate("threads", page, routes=[("ws/", Prices)])
    yield gate
    gate.stop()
    configure_layers(None)


def test_it_is_called_and_its_result_encoded_once_for_all_steps(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[Any] = []
    send: Callable[..., None] = Dispatch.send

    def noted(self: Dispatch, subscribers: Any, encoded: Any) -> None:
        send(self, subscribers, encoded)
        frames.append(encoded)

    monkeypatch.setattr(Dispatch, "send", noted)
    layer = get_channel_layer()
    with gate.connect("/ws/") as one, gate.connect("/ws/") as two, gate.connect("/ws/") as three:
        layer.group_send("all", {"type": "price", "price": "5"})
        assert [ws.recv(timeout=SECONDS) for ws in (one, two, three)] == ["5"] * 3
        assert Prices.calls == ["5"]
        assert len({id(encoded) for encoded in frames}) == 1
        layer.group_send("all", {"type": "price", "price": ""})
        assert [closed(ws) for ws in (one, two, three)] == [1011] * 3
        assert Prices.calls == ["5", ""]


@pytest.mark.parametrize("error", [SystemExit, gevent.GreenletExit, gevent.Timeout])
def test_no_exception_of_it_ends_the_link_to_redis(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(Prices, "error", error)
    layer = get_channel_layer()
    with gate.connect("/ws/") as ws:
        layer.group_send("all", {"type": "price", "price": ""})
        assert closed(ws) == 1011
    with gate.connect("/ws/") as ws:
        layer.group_send("all", {"type": "price", "price": "5"})
        assert ws.recv(timeout=SECONDS) == "5"
