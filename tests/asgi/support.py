"""A middleware in this process that hosts an application, with its loop in a thread or greenlet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from wsredis.asgi import loop as loop_module

from ..gate import Gate, page, status
from ..servers import hosted as app_module
from ..servers.hosted import hosted
from ..servers.support import eventually

__all__ = ["KINDS", "ended", "gate", "kind", "refused", "set_kind"]

KINDS = {"thread": "threads", "greenlet": "greenlets"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Say where the asyncio loop runs: in a thread, or as in a patched process."""
    return set_kind(request.param, monkeypatch)


def set_kind(kind: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Choose where the asyncio loop runs; return the kind of the server for it."""
    patched = kind == "greenlet"
    monkeypatch.setattr(loop_module, "is_module_patched", lambda name: patched)
    return KINDS[kind]


@pytest.fixture
def gate(kind: str) -> Iterator[Callable[..., Gate]]:
    gates: list[Gate] = []

    def make(app: Any = hosted, **options: Any) -> Gate:
        gates.append(Gate(kind, page, asgi=app, **options))
        return gates[-1]

    yield make
    for made in gates:
        made.stop()


def ended(word: str) -> list[Any]:
    """Return what the application has seen, once it has returned."""
    eventually(lambda: "end" in app_module.seen.get(word, []), "the application has returned")
    return app_module.seen[word]


def refused(gate: Gate, path: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as info, gate.connect(path):
        pass
    return status(info)
