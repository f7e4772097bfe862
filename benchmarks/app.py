"""What wsredis serves in the benchmark: websockets only, with every default."""

from __future__ import annotations

from wsredis import WebSocketMiddleware

application = WebSocketMiddleware(None)
