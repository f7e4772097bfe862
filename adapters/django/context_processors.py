"""A context processor for the setting ``TEMPLATES``."""

from __future__ import annotations

from typing import Any

from .conf import current_config
from .uri import websocket_uri

__all__ = ["websocket"]


def websocket(request: Any) -> dict[str, Any]:
    """Return ``WEBSOCKET_URI``, to which templates append a facility, and ``WEBSOCKET_HEARTBEAT``.

    The heartbeat is a str or None: pass it to a script with ``json_script`` or in an attribute.
    """
    return {
        "WEBSOCKET_URI": websocket_uri(request),
        "WEBSOCKET_HEARTBEAT": current_config().heartbeat,
    }
