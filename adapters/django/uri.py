"""The address of a websocket as a page of the site must name it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.urls import get_script_prefix

from .conf import current_config

__all__ = ["websocket_uri"]


def websocket_uri(request: Any, facility: object = "", *keys: str) -> str:
    """Return ``ws://HOST/SCRIPT/PREFIX/FACILITY?KEY&KEY``, or ``wss://`` for a secure request.

    Args:
        request: the Django request whose host and scheme it gets; without one (None) it is a path,
            which the browser client completes.
        facility: what the websocket is about, a string or what has one, such as a number.
        keys: such as ``subscribe-broadcast`` and ``echo``.
    """
    path = (
        get_script_prefix().rstrip("/") + current_config().prefix + quote(str(facility), safe="/~")
    )
    query = "?" + "&".join(keys) if keys else ""
    if request is None:
        return path + query
    scheme = "wss" if request.is_secure() else "ws"
    return f"{scheme}://{request.get_host()}{path}{query}"
