"""The server for uWSGI's starters, ``wsgi.py`` and ``wsgi_websocket.py``."""

from __future__ import annotations

from .wsgi_server import WebsocketWSGIServer

__all__ = ["uWSGIWebsocketServer"]


class uWSGIWebsocketServer(WebsocketWSGIServer):
    """The websockets under uWSGI, and under every other server that wsredis knows."""
