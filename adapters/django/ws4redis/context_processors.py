"""The context processor for ``{{ WEBSOCKET_URI }}`` and ``{{ WS4REDIS_HEARTBEAT }}``."""

from __future__ import annotations

import json
from typing import Any

from django.utils.safestring import SafeString, mark_safe

from . import settings
from .names import websocket_url

__all__ = ["default"]

_ESCAPES = {ord(char): f"\\u{ord(char):04X}" for char in "<>&'`="}


def default(request: Any) -> dict[str, Any]:
    """Return both variables for a page.

    ``WEBSOCKET_URI`` ends with a slash; templates append a facility. ``WS4REDIS_HEARTBEAT`` is a
    JavaScript literal: a quoted string, or ``null``.
    """
    scheme = "wss" if request.is_secure() else "ws"
    return {
        "WEBSOCKET_URI": f"{scheme}://{request.get_host()}{websocket_url()}",
        "WS4REDIS_HEARTBEAT": _literal(settings.WS4REDIS_HEARTBEAT or None),
    }


def _literal(value: str | None) -> SafeString:
    """Return a literal that can neither end the script element nor break out of an attribute."""
    text = json.dumps(value)
    if value is not None:
        text = '"' + text[1:-1].replace('\\"', "\\u0022").translate(_ESCAPES) + '"'
    return mark_safe(text)
