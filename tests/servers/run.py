"""Start an application on a server that has no command line, or too few options.

``python run.py KIND PORT FILE [CERTIFICATE KEY]``, where KIND is pywsgi, gevent-websocket,
cheroot, werkzeug, wsgiref, wsgiref-plain or waitress.

FILE may also be the name of a module.
"""

from __future__ import annotations

import importlib
import importlib.util
import socketserver
import sys
import traceback
from contextlib import suppress
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server


class PlainWSGIServer(WSGIServer):
    """wsgiref's server, which writes each error to the log at once, as threads would mix them."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        sys.stderr.write(traceback.format_exc())


class ThreadedWSGIServer(socketserver.ThreadingMixIn, PlainWSGIServer):
    """A wsgiref server with a thread for each request."""

    daemon_threads = True
    request_queue_size = 128


def load(path: str) -> Any:
    """Return the ``application`` of a file or a module."""
    if not path.endswith(".py"):
        return importlib.import_module(path).application
    spec = importlib.util.spec_from_file_location("application_under_test", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.application


def main(kind: str, port: int, path: str, *pem: str) -> None:
    """Serve until a signal."""
    application = load(path)
    if kind == "gevent-websocket":
        from gevent.pywsgi import WSGIServer as PyWSGIServer
        from geventwebsocket.handler import WebSocketHandler

        site = ("127.0.0.1", port), application
        PyWSGIServer(*site, handler_class=WebSocketHandler).serve_forever()
    elif kind == "pywsgi":
        from gevent.pywsgi import WSGIServer as PyWSGIServer

        tls = dict(zip(("certfile", "keyfile"), pem, strict=False))
        PyWSGIServer(("127.0.0.1", port), application, **tls).serve_forever()
    elif kind == "werkzeug":
        from werkzeug.serving import make_server as make_werkzeug

        site = ("127.0.0.1", port, application)
        make_werkzeug(*site, threaded=True, ssl_context=pem or None).serve_forever()
    elif kind == "cheroot":
        from cheroot.wsgi import Server

        server = Server(("127.0.0.1", port), application)
        try:
            server.start()
        finally:
            server.stop()
    elif kind == "waitress":
        from waitress import serve

        serve(application, host="127.0.0.1", port=port)
    else:
        cls = ThreadedWSGIServer if kind == "wsgiref" else PlainWSGIServer
        make_server("127.0.0.1", port, application, server_class=cls).serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
