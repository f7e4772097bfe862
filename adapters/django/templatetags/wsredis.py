"""``{% load wsredis %}``: the address of a websocket and the script that opens it.

::

    <body data-news="{% websocket_uri 'news' 'subscribe-broadcast' %}">
    {% websocket_script %}
    <script src="{% static 'news.js' %}"></script>

and in news.js ``new WSRedis(document.body.dataset.news)``. There is no inline script, so the
content security policy can be ``script-src 'self'; connect-src 'self'``.
"""

from __future__ import annotations

from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html

from ..uri import websocket_uri as address

__all__ = ["register"]

register = template.Library()


@register.simple_tag(takes_context=True)
def websocket_uri(context: Any, facility: object = "", *keys: str) -> str:
    """Return the address of a websocket; only its path if the context has no request."""
    return address(getattr(context, "request", None) or context.get("request"), facility, *keys)


@register.simple_tag
def websocket_script(nonce: object = "") -> str:
    """Return the script element of the browser client, with a nonce if one is given.

    Args:
        nonce: a string, or a lazy one such as ``request.csp_nonce`` of django-csp, which is false
            until it is used; None and "" mean none.
    """
    source = static("wsredis/wsredis.js")
    if nonce is not None and (nonce := str(nonce)) != "":
        return format_html('<script src="{}" nonce="{}"></script>', source, nonce)
    return format_html('<script src="{}"></script>', source)
