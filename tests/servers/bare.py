"""A process for websockets only; all clients may publish to all."""

from __future__ import annotations

from typing import Any

from wsredis import WebSocketMiddleware


def everything(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    """Grant what is asked for."""
    return requested


application = WebSocketMiddleware(None, allowed_channels=everything)
