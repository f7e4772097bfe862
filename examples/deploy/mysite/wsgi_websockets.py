"""The same site's websockets only, for a separate process."""

from __future__ import annotations

from wsgi import allowed_channels

from wsredis import WebSocketMiddleware

application = WebSocketMiddleware(None, allowed_channels=allowed_channels)
