"""What every template gets, where ``TEMPLATES`` names it."""

from __future__ import annotations

from typing import Any

from .conf import current_config
from .uri import websocket_uri

__all__ = ["websocket"]


def websocket(request: Any) -> dict[str, Any]:
    """Give templates ``WEBSOCKET_URI``, to which a facility is added, and ``WEBSOCKET_HEARTBEAT``.

    The heartbeat is a str or None: hand it to a script by ``json_script`` or an attribute.
    """
    return {
        "WEBSOCKET_URI": websocket_uri(request),
        "WEBSOCKET_HEARTBEAT": current_config().heartbeat,
    }
