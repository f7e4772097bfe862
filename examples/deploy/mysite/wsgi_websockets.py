"""The same site's websockets and nothing else, for a process of their own."""

from __future__ import annotations

from wsgi import allowed_channels

from wsredis import WebSocketMiddleware

application = WebSocketMiddleware(None, allowed_channels=allowed_channels)
