"""What wsredis serves in the benchmark: every default, a header that names the user, a plain page.

The header stands for whatever a site knows its users by; nothing is looked up for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wsredis import Identity, WebSocketMiddleware


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def identify(request: Any) -> Identity | None:
    user = request.environ.get("HTTP_X_BENCH_USER")
    groups = request.environ.get("HTTP_X_BENCH_GROUPS")
    if user is None and groups is None:
        return None
    return Identity(user=user, groups=tuple(groups.split(",")) if groups else ())


def allow(request: Any, requested: tuple[str, ...]) -> tuple[str, ...]:
    return requested


application = WebSocketMiddleware(page, identity=identify, allowed_channels=allow)
