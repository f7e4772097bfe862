"""The address of a websocket, for the pages of a site."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.urls import get_script_prefix

from .conf import current_config

__all__ = ["websocket_uri"]


def websocket_uri(request: Any, facility: object = "", *keys: str) -> str:
    """Return ``ws://HOST/SCRIPT/PREFIX/FACILITY?KEY&KEY``, or ``wss://`` for a secure request.

    Args:
        request: the Django request whose host and scheme it gets; with None the result is a path,
            which the browser client completes.
        facility: the topic of the websocket, a string or an object that is converted to one.
        keys: the keys of the query string, such as ``subscribe-broadcast`` and ``echo``.
    """
    path = (
        get_script_prefix().rstrip("/") + current_config().prefix + quote(str(facility), safe="/~")
    )
    query = "?" + "&".join(keys) if keys else ""
    if request is None:
        return path + query
    scheme = "wss" if request.is_secure() else "ws"
    return f"{scheme}://{request.get_host()}{path}{query}"
