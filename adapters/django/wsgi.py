"""A ready WSGI application: ``WSGI_APPLICATION = "wsredis.adapters.django.wsgi.application"``.

For ``runserver`` and for servers, where wsgi.py of the site would hold nothing else.
"""

from .application import get_websocket_application

__all__ = ["application"]

application = get_websocket_application()
