"""``wsredis serve``: a development server with websockets."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any

from ..middleware import WebSocketMiddleware
from .ports import refuse_busy

__all__ = ["run_serve"]


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    if not module or not name:
        raise ValueError(f"{place!r} is not an application: write MODULE:APP, like site.wsgi:app")
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as exc:
        raise ValueError(f"cannot load {place}: {exc}") from exc


def run_serve(options: argparse.Namespace) -> int:
    """Serve a WSGI application with gevent.pywsgi, wrapped in the middleware if it is not yet.

    For development: one process, plain HTTP.
    """
    from gevent.pywsgi import WSGIServer

    if options.redis:
        os.environ["WSREDIS_REDIS"] = options.redis
    application = _load(options.application)
    if not isinstance(application, WebSocketMiddleware):
        application = WebSocketMiddleware(application)
    refuse_busy(options.host, options.port)
    server = WSGIServer((options.host, options.port), application)
    server.start()
    print(f"http://{options.host}:{options.port}/", flush=True)
    server.serve_forever()
    return 0
