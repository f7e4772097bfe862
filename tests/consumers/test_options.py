"""Routes and layers that turn out not to be valid at a handshake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from wsredis.config import sources
from wsredis.consumers import WebsocketConsumer
from wsredis.layers import configure_layers, registry

from ..gate import Gate, page, status


@pytest.fixture(autouse=True)
def no_layer_is_configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_source", None)  # that of a Django site in this process
    configure_layers(None)
    yield
    configure_layers(None)


def refused(gate: Gate, path: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as info, gate.connect(path):
        pass
    return status(info)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"routes": "no.such.routes"}, "routes='no.such.routes' cannot be imported (ModuleNotFou"),
        (
            {"routes": [("ws/<str:word>", WebsocketConsumer), "no.such.routes"]},
            "routes='no.such.routes' cannot be imported (ModuleNotFoundError): write a list",
        ),
        (
            {"routes": [("ws/<str:word>", WebsocketConsumer)], "key_prefix": "x" * 46},
            "is too long for the default channel layer: write at most 45 characters, or configure",
        ),
    ],
)
def test_an_option_that_is_not_valid_is_logged_once(
    options: Any, says: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate("threads", page, **options)
    monkeypatch.setattr(sources, "_current", gate.middleware.config)
    try:
        for _ in range(3):
            assert refused(gate, "/ws/ok")[0] == 500
            assert gate.get("/page") == (200, "the page /page")
    finally:
        gate.stop()
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert says in record.getMessage()
    assert "Until this is corrected, handshakes get 500" in record.getMessage()


def test_a_layer_that_is_not_configured_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Other(WebsocketConsumer):
        channel_layer_alias = "other"

    gate = Gate("threads", page, routes=[("ws/<str:word>", Other)])
    try:
        for _ in range(3):
            assert refused(gate, "/ws/ok")[0] == 500
    finally:
        gate.stop()
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "there is no channel layer 'other', as none is configured" in record.getMessage()
