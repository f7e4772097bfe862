"""Fixtures for the tests of consumers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wsredis import destinations
from wsredis.consumers import handlers, routes, run
from wsredis.layers import InMemoryChannelLayer, configure_layers
from wsredis.runtime.logs import Seldom


@pytest.fixture(autouse=True)
def nothing_is_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was logged in the last minute."""
    for module in (destinations, handlers, routes, run):
        monkeypatch.setattr(module, "_seldom", Seldom())


@pytest.fixture
def layer() -> Iterator[InMemoryChannelLayer]:
    """Give the default channel layer of the process."""
    layer = InMemoryChannelLayer()
    configure_layers({"default": layer})
    yield layer
    configure_layers(None)
