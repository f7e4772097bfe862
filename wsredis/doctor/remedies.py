"""The remedies: directives to write for nginx, Apache, uWSGI, gunicorn and wsredis."""

from __future__ import annotations

from collections.abc import Sequence

from .report import Remedy

__all__ = [
    "client_script",
    "for_proxy",
    "http_1_1",
    "http2_off",
    "javascript",
    "keep_deflate",
    "longer",
    "no_login",
    "pass_host",
    "pass_upgrade",
    "uwsgi_harakiri",
    "uwsgi_router",
    "whole_prefix",
]

GUNICORN = 'pip install "gunicorn[gevent]"'
"""How to install gunicorn with what its gevent worker needs."""

BACKEND = "127.0.0.1:8000"
"""A placeholder for the address that the WSGI server listens on."""


def for_proxy(server: str, nginx: Remedy, apache: Remedy, *others: Remedy) -> tuple[Remedy, ...]:
    """Return the remedy for the proxy that the Server header names, or all remedies."""
    name = server.lower()
    if "nginx" in name or "openresty" in name:
        return (nginx,)
    if "apache" in name:
        return (apache,)
    return (nginx, apache, *others)


def _nginx(prefix: str, *lines: str) -> Remedy:
    return Remedy(f"nginx, in `location {prefix}`", lines)


def _apache(*lines: str) -> Remedy:
    return Remedy("Apache 2.4.47 or newer, in the virtual host", lines)


def _proxy_pass(prefix: str, option: str = "upgrade=websocket") -> str:
    return f'ProxyPass "{prefix}" "http://{BACKEND}{prefix}" {option}'


def pass_upgrade(server: str, prefix: str) -> tuple[Remedy, ...]:
    """Return how to forward the headers that request a websocket."""
    nginx = _nginx(
        prefix,
        "proxy_http_version 1.1;",
        "proxy_set_header Upgrade $http_upgrade;",
        'proxy_set_header Connection "upgrade";',
    )
    return for_proxy(server, nginx, _apache(_proxy_pass(prefix)))


def http_1_1(prefix: str) -> Remedy:
    """Return how to make the proxy use HTTP/1.1 with the WSGI server."""
    return _nginx(prefix, "proxy_http_version 1.1;")


def whole_prefix(server: str, prefix: str) -> tuple[Remedy, ...]:
    """Return how to forward the path unchanged."""
    nginx = _nginx(prefix, f"proxy_pass http://{BACKEND};  # no path after the port, not even /")
    return for_proxy(server, nginx, _apache(_proxy_pass(prefix)))


def pass_host(server: str, prefix: str) -> tuple[Remedy, ...]:
    """Return how to forward the Host header of the browser."""
    nginx = _nginx(prefix, "proxy_set_header Host $http_host;")
    return for_proxy(server, nginx, _apache("ProxyPreserveHost On"))


def longer(server: str, prefix: str, seconds: float) -> tuple[Remedy, ...]:
    """Return how to raise the proxy's timeout, or to ping often enough.

    Args:
        server: the proxy's name in the Server header.
        prefix: path of the location.
        seconds: seconds after which an idle websocket was ended.
    """
    nginx = _nginx(prefix, "proxy_read_timeout 75s;")
    apache = _apache(_proxy_pass(prefix, "upgrade=websocket timeout=75"))
    router = Remedy("uWSGI's router", ("http-timeout = 75",))
    pings = Remedy(
        "or the options of wsredis", (f"WebSocketMiddleware(app, {_interval(seconds)})",)
    )
    return (*for_proxy(server, nginx, apache, router), pings)


def _interval(seconds: float) -> str:
    """Return options for a timeout; pong_timeout must not be longer than ping_interval."""
    interval = max(1, int(seconds / 2))
    return f"ping_interval={interval}" + (f", pong_timeout={interval}" if interval < 20 else "")


def uwsgi_router() -> Remedy:
    """Return how to make uWSGI's router forward frames."""
    return Remedy("uWSGI, beside `http = ...`", ("http-websockets = true",))


def uwsgi_harakiri() -> Sequence[Remedy]:
    """Return how to keep the worker alive: killing it for a slow request ends its websockets."""
    return (
        Remedy(
            "uWSGI, if its log says HARAKIRI",
            ("harakiri = 120  # more than the slowest request takes",),
        ),
        Remedy("gunicorn, if its log says WORKER TIMEOUT", ("--timeout 120",)),
    )


def no_login(server: str, prefix: str) -> tuple[Remedy, ...]:
    """Return how to require no password for websockets."""
    nginx = _nginx(prefix, "auth_basic off;")
    apache = Remedy(
        "Apache, in the virtual host",
        (f'<Location "{prefix}">', "    AuthType None", "    Require all granted", "</Location>"),
    )
    return for_proxy(server, nginx, apache)


def keep_deflate(server: str, prefix: str) -> tuple[Remedy, ...]:
    """Return how to forward, or remove, Sec-WebSocket-Extensions in both directions."""
    nginx = _nginx(
        prefix,
        'proxy_set_header Sec-WebSocket-Extensions "";'
        "  # or remove the line that hides or sets this header",
    )
    apache = Remedy(
        "Apache, in the virtual host",
        (
            "RequestHeader unset Sec-WebSocket-Extensions"
            "  # or remove the line that unsets or sets this header",
        ),
    )
    off = Remedy("or the options of wsredis", ("WebSocketMiddleware(app, compression=False)",))
    return (*for_proxy(server, nginx, apache), off)


def http2_off() -> Remedy:
    """Return how to offer HTTP/1.1 to browsers as well."""
    return Remedy("nginx, in `server`", ("listen 80;  # without the word http2",))


def client_script(prefix: str) -> tuple[Remedy, ...]:
    """Return how to serve the script of the browser client."""
    return (
        Remedy("the options of wsredis", ("WebSocketMiddleware(app, serve_client=True)",)),
        Remedy("and the page", (f'<script src="{prefix}wsredis.js"></script>',)),
        Remedy(
            "or, with Django, in a shell on the server",
            ("python manage.py collectstatic  # and let a server or WhiteNoise serve it",),
        ),
        Remedy("or uWSGI", ("static-map = /static=FOLDER-OF-STATIC-FILES",)),
        Remedy("or nginx, in `server`", ("location /static/ { alias FOLDER-OF-STATIC-FILES/; }",)),
    )


def javascript(server: str) -> tuple[Remedy, ...]:
    """Return how to give scripts their content type."""
    nginx = Remedy("nginx, in `http`", ("include mime.types;", "types { text/javascript js mjs; }"))
    apache = Remedy("Apache, in the virtual host", ("AddType text/javascript .js .mjs",))
    return for_proxy(server, nginx, apache)
