"""The websocket application for uWSGI, used in ``wsgi.py`` and ``wsgi_websocket.py``."""

from __future__ import annotations

from .wsgi_server import WebsocketWSGIServer

__all__ = ["uWSGIWebsocketServer"]


class uWSGIWebsocketServer(WebsocketWSGIServer):
    """The websocket application for uWSGI, and for all other servers that wsredis supports."""
