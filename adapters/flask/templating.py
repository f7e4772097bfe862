"""The functions for templates: the address of a websocket, and the script that opens it.

::

    <body data-news="{{ websocket_uri('news', 'subscribe-broadcast') }}">
    {{ websocket_script() }}
    <script src="{{ url_for('static', filename='news.js') }}"></script>

and in news.js ``new WSRedis(document.body.dataset.news)``. There is no inline script, so the
content security policy can be ``script-src 'self'; connect-src 'self'``.
"""

from __future__ import annotations

from urllib.parse import quote

from flask import has_request_context, request, url_for
from markupsafe import Markup

from wsredis.version import VERSION

from .conf import NAME, current_options
from .identity import session_key

__all__ = ["websocket_script", "websocket_uri"]


def websocket_uri(facility: object = "", *keys: str) -> str:
    """Return ``ws://HOST/SCRIPT/PREFIX/FACILITY?KEY&KEY``, or ``wss://`` for a secure request.

    ``subscribe-session`` and ``publish-session`` give the session a key; see `session_key`. Without
    a request the result is a path, which the browser client completes.

    Args:
        facility: the topic of the websocket, a string or an object that is converted to one.
        keys: the keys of the query string, such as ``subscribe-broadcast`` and ``echo``.
    """
    path = current_options().config.prefix + quote(str(facility), safe="/~")
    query = "?" + "&".join(keys) if keys else ""
    if not has_request_context():
        return path + query
    if any(key.endswith("-session") for key in keys):
        session_key()
    scheme = "wss" if request.is_secure else "ws"
    return f"{scheme}://{request.host}{request.script_root}{path}{query}"


def websocket_script(nonce: object = "") -> Markup:
    """Return the script element of the browser client, with a nonce if one is given.

    Args:
        nonce: a string, or an object that is converted to one; None and "" mean none.
    """
    source = url_for(f"{NAME}.static", filename="wsredis.js", v=VERSION)
    if nonce is not None and (nonce := str(nonce)) != "":
        return Markup('<script src="{}" nonce="{}"></script>').format(source, nonce)
    return Markup('<script src="{}"></script>').format(source)
