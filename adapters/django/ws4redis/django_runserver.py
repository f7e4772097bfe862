"""``WSGI_APPLICATION = "ws4redis.django_runserver.application"``: pages and websockets together.

It is for ``manage.py runserver`` and for tests on a live server; uWSGI can serve it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.wsgi import get_path_info
from django.core.wsgi import get_wsgi_application

from .names import is_websocket
from .wsgi_server import WebsocketWSGIServer

__all__ = ["WebsocketRunServer", "application"]


class WebsocketRunServer(WebsocketWSGIServer):
    """The websocket application for Django's development server."""


_django_app = get_wsgi_application()
_websocket_app = WebsocketRunServer()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer one request, for a page or for a websocket."""
    if is_websocket(get_path_info(environ)):
        return _websocket_app(environ, start_response)
    return _django_app(environ, start_response)
