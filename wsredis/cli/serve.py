"""``wsredis serve``: a development server with websockets."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any

from ..config import claimed_configs
from ..config.paths import split_path
from ..middleware import WebSocketMiddleware
from .ports import refuse_busy

__all__ = ["run_serve"]

AS_IT_IS = "{} is served as it is, because its module has made a WebSocketMiddleware already."


def _load(place: str) -> Any:
    """Return the application; an error in its own code is not caught, to show where it is."""
    try:
        module, name = split_path(place)
    except ValueError:
        raise ValueError(
            f"{place!r} is not an application: write MODULE:APP, such as mysite.wsgi:application"
        ) from None
    sys.path.insert(0, "")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        raise ValueError(
            f"cannot load {place}: there is no module {exc.name!r}; install it, or run this in the"
            " folder that contains it"
        ) from exc
    application = getattr(loaded, name, None)
    if not callable(application):
        what = f"{module} has no {name!r}"
        if application is not None:
            what = f"{module}.{name} is of type {type(application).__name__}"
        elif hasattr(loaded, name):
            what = f"{module}.{name} is None; a function that makes it must return it"
        raise ValueError(
            f"cannot load {place}: {what}; write MODULE:APP with the name of its WSGI application"
        )
    return application


def run_serve(options: argparse.Namespace) -> int:
    """Serve a WSGI application with gevent.pywsgi, for development: one process, plain HTTP.

    It is wrapped in WebSocketMiddleware unless its module has made one already.
    """
    import gevent
    from gevent.pywsgi import WSGIServer

    if options.redis is not None:
        os.environ["WSREDIS_REDIS"] = options.redis
    application = _load(options.application)
    if not isinstance(application, WebSocketMiddleware):
        if claimed_configs():  # its middleware may be inside other wrappers
            print(AS_IT_IS.format(options.application), file=sys.stderr, flush=True)
        else:
            application = WebSocketMiddleware(application)
    if options.redis not in (None, *(config.redis for config in claimed_configs())):
        raise ValueError(
            f"{options.application} sets the option redis itself, so --redis has no effect: leave"
            " --redis out"
        )
    refuse_busy(options.host, options.port)
    server = WSGIServer((options.host, options.port), application)
    server.start()
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"http://{host}:{options.port}/", flush=True)
    gevent.get_hub().NOT_ERROR += (KeyboardInterrupt,)  # Ctrl-C is the normal end: no traceback
    server.serve_forever()
    return 0
