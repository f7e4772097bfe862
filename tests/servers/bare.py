"""A process that holds websockets and nothing else; everybody may talk to everybody."""

from __future__ import annotations

from typing import Any

from wsredis import WebSocketMiddleware


def everything(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    """Grant what is asked for."""
    return requested


application = WebSocketMiddleware(None, allowed_channels=everything)
