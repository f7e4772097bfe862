"""Websockets on the live server of a site's own tests.

Django's ``LiveServerTestCase`` calls the site's views but not its wsgi.py, so a wrapper there has
no effect. The application calls `serve_websockets` itself when a test class changes a setting,
as every ``LiveServerTestCase`` does before it starts its server. If you start a live server in
another way, call it first.
"""

from __future__ import annotations

from typing import Any

from django.core.servers.basehttp import ThreadedWSGIServer
from django.test.testcases import LiveServerThread

from .application import DjangoWebSocketMiddleware

__all__ = ["LiveServer", "serve_websockets"]


class LiveServer(ThreadedWSGIServer):
    """A live server that wraps its first application; one that a test sets later is not wrapped."""

    _gate: DjangoWebSocketMiddleware | None = None

    def set_app(self, application: Any) -> None:
        if self._gate is None:
            application = self._gate = DjangoWebSocketMiddleware(application)
        super().set_app(application)

    def server_close(self) -> None:
        super().server_close()
        if self._gate is not None:
            self._gate.close()


def serve_websockets() -> None:
    """Let all live servers that this process starts from now on serve websockets."""
    if LiveServerThread.server_class is ThreadedWSGIServer:
        LiveServerThread.server_class = LiveServer
